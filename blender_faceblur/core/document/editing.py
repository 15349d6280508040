# SPDX-License-Identifier: GPL-3.0-or-later
"""An editor's changes to tracks (keys, ends, splitting, merging, switching), and merging a new analysis with them.

The functions change tracks or documents in place, and raise FaceBlurError with one line of text where they cannot.
Ellipses are faces without the safety margin; frames are source frames.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from ..types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    ReviewItem,
    ReviewReason,
    Sample,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackKind,
    TrackStatus,
)
from .matching import is_same_track
from .naming import choose_free_name


@dataclass(frozen=True, slots=True)
class EditingSettings:
    """When a new track continues one that an editor changed, and when a face lies in a region that is never blurred."""

    same_place_semi_axes: float = 0.6
    """Distance up to which two ellipses are at the same place, as a multiple of the smaller one's mean semi-axis.
    Raising it lets more new tracks continue old ones, including other people's. Origin not recorded."""
    inside_frames_share: float = 0.8
    """Share (0..1) of a track's frames that must lie in such a region for the track to stay uncovered. Raising it
    covers more of the people who walk past. Origin not recorded."""
    inside_width_ratio: float = 1.2
    """How many times wider than the region the face may be. Raising it leaves larger faces uncovered there. Origin not
    recorded."""


EDITING = EditingSettings()


def copy_document(document: TrackDocument) -> TrackDocument:
    """An independent copy of the document. Both share the samples, which are immutable."""

    def copy(tracks: list[Track]) -> list[Track]:
        return [replace(track, samples=list(track.samples), off=list(track.off)) for track in tracks]

    return replace(
        document,
        models=list(document.models),
        shots=list(document.shots),
        tracks=copy(document.tracks),
        review_items=list(document.review_items),
        notes=list(document.notes),
        uncovered=copy(document.uncovered),
        reviewed=list(document.reviewed),
        analysed=list(document.analysed),
        people_notes=list(document.people_notes),
    )


def get_track(document: TrackDocument, name: str) -> Track:
    """The covered track with that name. Raises FaceBlurError where there is none."""
    for track in document.tracks:
        if track.name == name:
            return track
    raise FaceBlurError(f"There is no covered track '{name}'.")


def get_sample(track: Track, source_frame: int) -> Sample | None:
    """The track's sample at a frame; None in its gaps and beyond its ends."""
    at = bisect_left(track.samples, source_frame, key=lambda s: s.source_frame)
    found = at < len(track.samples) and track.samples[at].source_frame == source_frame
    return track.samples[at] if found else None


def list_locked_frames(track: Track) -> list[int]:
    return [s.source_frame for s in track.samples if s.evidence is Evidence.LOCKED]


def set_key(track: Track, source_frame: int, face: Ellipse, reach: int) -> None:
    """Lock the face's place at a frame. The samples within `reach` frames move with it, the less the farther away.

    Other locked keys stay, and so do the samples beyond them. Where the track has a gap or an end at most `reach`
    frames away, the frames in between are interpolated.
    """
    if min(face.rx, face.ry) <= 0:
        raise FaceBlurError("A cover needs a size above zero.")
    known = {s.source_frame: s for s in track.samples}
    _fill_towards(known, source_frame, face, reach)
    old = known.get(source_frame)
    if old is not None:
        locked = [f for f, s in known.items() if s.evidence is Evidence.LOCKED and f != source_frame]
        before = max((f for f in locked if f < source_frame), default=source_frame - reach - 1)
        after = min((f for f in locked if f > source_frame), default=source_frame + reach + 1)
        for frame in range(max(before, source_frame - reach) + 1, min(after, source_frame + reach)):
            sample = known.get(frame)
            if sample is None or frame == source_frame or sample.evidence is Evidence.LOCKED:
                continue
            limit = (
                source_frame - max(before, source_frame - reach)
                if frame < source_frame
                else (min(after, source_frame + reach) - source_frame)
            )
            part = 1 - abs(frame - source_frame) / limit
            known[frame] = replace(sample, ellipse=_shift(sample.ellipse, old.ellipse, face, part))
    known[source_frame] = Sample(source_frame, face, Evidence.LOCKED, 1.0)
    track.samples = [known[frame] for frame in sorted(known)]


def _fill_towards(known: dict[int, Sample], source_frame: int, face: Ellipse, reach: int) -> None:
    if source_frame in known:
        return
    for nearest in (
        max((f for f in known if f < source_frame), default=None),
        min((f for f in known if f > source_frame), default=None),
    ):
        if nearest is None or abs(nearest - source_frame) > reach:
            continue
        end = known[nearest].ellipse
        step = 1 if nearest < source_frame else -1
        for frame in range(nearest + step, source_frame, step):
            part = (frame - nearest) / (source_frame - nearest)
            known[frame] = Sample(frame, blend(end, face, part), Evidence.INTERPOLATED, 0.0)


def blend(one: Ellipse, other: Ellipse, part: float) -> Ellipse:
    """The ellipse between two, at the share `part` (0..1) of the way. The angle turns in the shorter direction."""
    return _shift(one, one, other, part)


def _shift(ellipse: Ellipse, old: Ellipse, new: Ellipse, part: float) -> Ellipse:
    """An ellipse, changed by the share `part` of the difference between `old` and `new`."""
    turn = (new.angle - old.angle + math.pi / 2) % math.pi - math.pi / 2
    return Ellipse(
        ellipse.cx + part * (new.cx - old.cx),
        ellipse.cy + part * (new.cy - old.cy),
        ellipse.rx * (new.rx / old.rx) ** part,
        ellipse.ry * (new.ry / old.ry) ** part,
        ellipse.angle + part * turn,
    )


def clear_key(track: Track, source_frame: int) -> None:
    """Unlock a key. It stays in place until something moves it."""
    sample = get_sample(track, source_frame)
    if sample is None or sample.evidence is not Evidence.LOCKED:
        raise FaceBlurError(f"'{track.name}' has no locked key in this frame.")
    _put(track, [replace(sample, evidence=Evidence.INTERPOLATED)])


def extend(track: Track, source_frame: int) -> None:
    """Extrapolate the track from its nearer end up to and including that frame."""
    if not track.samples:
        raise FaceBlurError(f"'{track.name}' has no frames, so it cannot be extended.")
    first, last = track.samples[0], track.samples[-1]
    if first.source_frame <= source_frame <= last.source_frame:
        raise FaceBlurError(
            f"'{track.name}' already includes this frame: it lasts from frame {first.source_frame} to "
            f"{last.source_frame}."
        )
    end, frames = (
        (first, range(source_frame, first.source_frame))
        if source_frame < first.source_frame
        else (last, range(last.source_frame + 1, source_frame + 1))
    )
    _put(track, [Sample(frame, end.ellipse, Evidence.EXTRAPOLATED, 0.0) for frame in frames])


def trim(track: Track, start: int, stop: int) -> None:
    """Keep only the frames start..stop (half-open)."""
    kept = [s for s in track.samples if start <= s.source_frame < stop]
    if not kept:
        raise FaceBlurError(f"'{track.name}' would have no frames left; delete the track instead.")
    track.samples = kept


def split(document: TrackDocument, name: str, source_frame: int) -> tuple[Track, Track]:
    """Split a track in two. The frames from `source_frame` on become a new track with a new name."""
    track = get_track(document, name)
    before = [s for s in track.samples if s.source_frame < source_frame]
    after = [s for s in track.samples if s.source_frame >= source_frame]
    if not before or not after:
        raise FaceBlurError(f"'{name}' can be split only between its first and its last frame.")
    track.samples = before
    rest = Track(
        choose_free_name(document, track.kind),
        after,
        track.kind,
        track.locked,
        list(track.off),
        sharpness=track.sharpness,
    )
    document.tracks.append(rest)
    return track, rest


def merge(document: TrackDocument, names: Collection[str]) -> Track:
    """Merge tracks into the earliest one. Where they share a frame, the locked or more certain sample remains.

    Raises FaceBlurError where two tracks are apart in the same frame, since one of these places would be uncovered.
    """
    tracks = sorted((get_track(document, name) for name in names), key=lambda t: t.samples[0].source_frame)
    if len(tracks) < 2:
        raise FaceBlurError("Choose two or more tracks to merge.")
    order = list(Evidence)
    known: dict[int, Sample] = {}
    for sample in (s for track in tracks for s in track.samples):
        other = known.get(sample.source_frame)
        if other is not None and not _is_same_place(sample.ellipse, other.ellipse):
            raise FaceBlurError(
                f"In frame {sample.source_frame} these tracks are at different places, so they cannot be merged."
            )
        if other is None or _rank(sample, order) < _rank(other, order):
            known[sample.source_frame] = sample
    first = tracks[0]
    # The merged track is off only where all of the tracks were off.
    first.off = join_frames(
        [frame for frame in known if all(_is_off(t, frame) for t in tracks if get_sample(t, frame) is not None)]
    )
    first.samples = [known[frame] for frame in sorted(known)]
    first.locked = any(track.locked for track in tracks)
    first.sharpness = join_sharpness(track.sharpness for track in tracks)
    document.tracks = [track for track in document.tracks if track not in tracks[1:]]
    return first


def join_sharpness(parts: Iterable[float | None]) -> float | None:
    """The sharpness of a track that consists of parts: that of the sharpest, and unknown if one of them is."""
    known = list(parts)
    return max((one for one in known if one is not None), default=None) if None not in known else None


def _rank(sample: Sample, order: list[Evidence]) -> tuple[bool, int]:
    return sample.evidence is not Evidence.LOCKED, order.index(sample.evidence)


def _is_off(track: Track, source_frame: int) -> bool:
    return any(start <= source_frame < stop for start, stop in track.off)


def _is_same_place(one: Ellipse, other: Ellipse) -> bool:
    away = math.hypot(one.cx - other.cx, one.cy - other.cy)
    return away < EDITING.same_place_semi_axes * min(one.rx + one.ry, other.rx + other.ry) / 2


def delete(document: TrackDocument, name: str) -> None:
    """Stop covering a track. It moves to the uncovered tracks and can be restored from there."""
    track = get_track(document, name)
    document.tracks.remove(track)
    track.status = TrackStatus.DELETED
    document.uncovered.append(track)


def bring_back(document: TrackDocument, name: str) -> Track:
    """Cover an uncovered track again, with a name that is free. Its review items keep referring to it."""
    track = next((t for t in document.uncovered if t.name == name), None)
    if track is None:
        raise FaceBlurError(f"There is no uncovered track '{name}'.")
    document.uncovered.remove(track)
    was_suppressed = track.status is TrackStatus.SUPPRESSED
    track.cover()
    if was_suppressed or any(t.name == track.name for t in document.tracks):
        track.name = choose_free_name(document, track.kind)
    document.tracks.append(track)
    document.review_items = [replace(d, track=track.name) if d.track == name else d for d in document.review_items]
    return track


def rename(document: TrackDocument, old: str, new: str) -> None:
    """Rename a covered track. Its review items keep referring to it."""
    if any(track.name == new for track in (*document.tracks, *document.uncovered)):
        raise FaceBlurError(f"There is already a track '{new}'.")
    get_track(document, old).name = new
    document.review_items = [replace(d, track=new) if d.track == old else d for d in document.review_items]


def apply_layer_edits(
    document: TrackDocument,
    tracks: Mapping[str, str],
    present: Collection[str],
    covers: Mapping[str, Mapping[int, Ellipse | None] | None],
) -> tuple[dict[str, str | None], set[str]]:
    """Apply to the tracks what an editor did to the layers of a mask.

    `tracks` are the names of the tracks by layer, and `present` the layers that still exist. `covers` are the covers
    (margin included) that were changed, by layer and frame: None in a frame where the layer covers nothing, and None
    for a whole layer that is no longer an ellipse.

    Returns the track of each layer for which that has changed (None if it has none any more), and the names of the
    tracks that have new covers.
    """
    renamed = _sync_names(document, tracks, present)
    tracks = {layer: track for layer, track in {**tracks, **renamed}.items() if track is not None}
    reshaped = set()
    for layer, frames in covers.items():
        if layer not in tracks:
            continue
        track = get_track(document, tracks[layer])
        if frames is None:
            # Only Blender's mask tools can change such a track.
            track.locked = True
        else:
            _set_covers(track, frames, document.margin)
            reshaped.add(track.name)
    return renamed, reshaped


def _sync_names(document: TrackDocument, tracks: Mapping[str, str], present: Collection[str]) -> dict[str, str | None]:
    """Delete and rename tracks as an editor deleted and renamed their layers."""
    changed: dict[str, str | None] = {}
    for layer, name in tracks.items():
        is_known = any(track.name == name for track in document.tracks)
        if layer not in present or not is_known:
            if is_known:
                delete(document, name)
            changed[layer] = None
        elif layer != name and all(layer != track.name for track in (*document.tracks, *document.uncovered)):
            rename(document, name, layer)
            changed[layer] = layer
    return changed


def _set_covers(track: Track, covers: Mapping[int, Ellipse | None], margin: float) -> None:
    """Set the covers of some frames as locked keys, and switch the track off where they are None."""
    shown = {frame: ellipse.scaled(1 / margin) for frame, ellipse in covers.items() if ellipse is not None}
    _put(track, [Sample(frame, face, Evidence.LOCKED, 1.0) for frame, face in shown.items()])
    off = {frame for start, stop in track.off for frame in range(start, stop)}
    track.off = join_frames((off | covers.keys()) - shown.keys())


def switch(track: Track, start: int, stop: int, on: bool) -> None:
    """Switch the track's cover on or off in the frames start..stop (half-open)."""
    frames = {frame for first, last in track.off for frame in range(first, last)}
    changed = range(start, stop)
    track.off = join_frames(frames.difference(changed) if on else frames.union(changed))


def join_frames(frames: Iterable[int]) -> list[tuple[int, int]]:
    """The frames as half-open ranges, sorted and with gaps between them."""
    spans: list[tuple[int, int]] = []
    for frame in sorted(frames):
        if spans and spans[-1][1] == frame:
            spans[-1] = (spans[-1][0], frame + 1)
        else:
            spans.append((frame, frame + 1))
    return spans


def add_track(
    document: TrackDocument,
    samples: list[Sample],
    kind: TrackKind = TrackKind.FACE,
    name: str = "",
) -> Track:
    """Add a covered track to the document. Without a name it gets the next free one."""
    if not samples:
        raise FaceBlurError("A track needs at least one frame.")
    track = Track(name or choose_free_name(document, kind), sorted(samples, key=lambda s: s.source_frame), kind)
    if any(track.name == other.name for other in (*document.tracks, *document.uncovered)):
        raise FaceBlurError(f"There is already a track '{track.name}'.")
    document.tracks.append(track)
    return track


def replace_samples(track: Track, samples: Iterable[Sample]) -> None:
    """Insert samples into the track, without changing its locked keys. How sharp the whole is then is unknown."""
    track.sharpness = None
    locked = set(list_locked_frames(track))
    _put(track, [s for s in samples if s.source_frame not in locked])


def _put(track: Track, samples: Iterable[Sample]) -> None:
    known = {s.source_frame: s for s in track.samples} | {s.source_frame: s for s in samples}
    track.samples = [known[frame] for frame in sorted(known)]


def never_blur(document: TrackDocument, ellipse: Ellipse, start: int, stop: int, name: str) -> list[str]:
    """Mark a region that is never blurred, such as a poster. Returns the names of the tracks that it exempts.

    Only tracks that lie in the region for most of their frames are exempt: a person who walks past stays covered.
    """
    samples = [Sample(frame, ellipse, Evidence.LOCKED, 1.0) for frame in range(start, stop)]
    if any(track.name == name for track in (*document.tracks, *document.uncovered)):
        raise FaceBlurError(f"There is already a track '{name}'.")
    document.uncovered.append(Track(name, samples, TrackKind.NEVER, locked=True, status=TrackStatus.EXEMPT))
    return exempt_tracks(document)


def exempt_tracks(document: TrackDocument) -> list[str]:
    """Stop covering the face tracks that lie in a region that is never blurred. Returns their names."""
    regions = [track for track in document.uncovered if track.kind is TrackKind.NEVER]
    names = []
    for track in list(document.tracks):
        if track.kind is not TrackKind.FACE or track.locked or list_locked_frames(track):
            continue
        for region in regions:
            inside = sum(
                _holds(place.ellipse, s.ellipse)
                for s in track.samples
                if (place := get_sample(region, s.source_frame)) is not None
            )
            if inside >= EDITING.inside_frames_share * len(track.samples):
                document.tracks.remove(track)
                track.status, track.never_region = TrackStatus.EXEMPT, region.name
                document.uncovered.append(track)
                names.append(track.name)
                break
    return names


def _holds(region: Ellipse, face: Ellipse) -> bool:
    """Whether the face's centre lies in the region, and the face is not much wider than the region."""
    c, s = math.cos(region.angle), math.sin(region.angle)
    x, y = face.cx - region.cx, face.cy - region.cy
    inside = math.hypot((x * c + y * s) / region.rx, (y * c - x * s) / region.ry) <= 1
    return inside and face.rx <= EDITING.inside_width_ratio * region.rx


def merge_analysis(old: TrackDocument, new: TrackDocument, start: int, stop: int) -> TrackDocument:
    """The old document, updated with a new analysis of the frames start..stop, without losing an editor's changes.

    Tracks that are locked, drawn by hand or switched off stay, and so does everything outside the range. A new track
    that continues an old one becomes part of it. A new track that lies only on a deleted track is dropped. An old track
    that the new analysis does not find again is suppressed.
    """
    merged = replace(
        new,
        tracks=[],
        uncovered=[t for t in old.uncovered if _stays_uncovered(t, start, stop)],
        review_items=[d for d in old.review_items if d.stop <= start or d.start >= stop],
        reviewed=list(old.reviewed),
    )
    merged.analysed = _join_analysed(old, start, stop)
    if any(
        not start <= frame < stop
        for span in old.analysed or [(0, new.source.frame_count)]
        for frame in (span[0], span[1] - 1)
    ):
        merged.preset, merged.margin, merged.shots = old.preset, old.margin, old.shots
        merged.models = old.models + [model for model in new.models if model not in old.models]
        merged.notes = list(dict.fromkeys([*old.notes, *new.notes]))
        merged.people_notes = list(dict.fromkeys([*old.people_notes, *new.people_notes]))
    size = old.margin / merged.margin
    fresh = [replace(t, samples=[s for s in t.samples if start <= s.source_frame < stop]) for t in new.tracks]
    deleted = [t for t in old.uncovered if t.status is TrackStatus.DELETED]
    fresh = [t for t in fresh if t.samples and not any(is_same_track(t, gone) for gone in deleted)]
    names: dict[str, str] = {}
    lost: list[Track] = []
    for track in old.tracks:
        # The margin may have changed: scaling keeps the covers that an editor set as large as they were.
        whole = replace(
            track,
            samples=[
                replace(s, ellipse=s.ellipse.scaled(size)) if size != 1 else s
                for s in track.samples
                if _stays(track, s, start, stop)
            ],
        )
        for partner in fresh:
            # A number plate or text cannot continue a face.
            if (
                partner.name in names
                or (track.kind is TrackKind.FACE and partner.kind is not TrackKind.FACE)
                or not _continues(partner, track)
            ):
                continue
            free = track.kind is TrackKind.FACE and not track.locked
            if free or all(get_sample(track, s.source_frame) is not None for s in partner.samples):
                names[partner.name] = track.name
                if free:
                    replace_samples(whole, partner.samples)
                    whole.sharpness = join_sharpness((track.sharpness, partner.sharpness))
        if whole.samples:
            merged.tracks.append(whole)
        elif track.name not in names.values():
            lost.append(
                replace(
                    track, status=TrackStatus.SUPPRESSED, suppression=Suppression(SuppressionReason.NOT_FOUND_AGAIN)
                )
            )
    for track in fresh:
        if track.name not in names:
            added = add_track(merged, track.samples, track.kind)
            added.sharpness, names[track.name] = track.sharpness, added.name
    for track in (*lost, *new.uncovered):
        names[track.name] = choose_free_name(merged, track.kind, TrackStatus.SUPPRESSED)
        merged.uncovered.append(replace(track, name=names[track.name]))
    merged.review_items += [
        replace(d, start=max(d.start, start), stop=min(d.stop, stop), track=names.get(d.track, d.track))
        for d in new.review_items
        if d.start < stop and d.stop > start
    ]
    merged.review_items = sorted(
        (d for d in merged.review_items if not _goes_on(d, merged, start, stop)), key=lambda d: d.start
    )
    merged.tracks.sort(key=lambda t: t.samples[0].source_frame)
    exempt_tracks(merged)
    return merged


def _join_analysed(old: TrackDocument, start: int, stop: int) -> list[tuple[int, int]]:
    """The analysed ranges, including start..stop; empty where they span the whole source."""
    if not old.analysed:
        return []
    joined: list[tuple[int, int]] = []
    for span in sorted([*old.analysed, (start, stop)]):
        if joined and span[0] <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], span[1])
        else:
            joined.append(span)
    return [] if joined == [(0, old.source.frame_count)] else joined


def _goes_on(item: ReviewItem, merged: TrackDocument, start: int, stop: int) -> bool:
    """Whether an item asks about a track that ended where the new analysis begins, or the reverse, and now goes on."""
    if item.reason is ReviewReason.ENDS and item.stop == start:
        beyond = start
    elif item.reason is ReviewReason.BEGINS and item.start == stop:
        beyond = stop - 1
    else:
        return False
    track = next((t for t in merged.tracks if t.name == item.track), None)
    return track is not None and get_sample(track, beyond) is not None


def _stays(track: Track, sample: Sample, start: int, stop: int) -> bool:
    return (
        track.locked
        or track.kind is not TrackKind.FACE
        or sample.evidence is Evidence.LOCKED
        or not start <= sample.source_frame < stop
    )


def _stays_uncovered(track: Track, start: int, stop: int) -> bool:
    return (
        track.kind is TrackKind.NEVER
        or track.status is TrackStatus.DELETED
        or track.samples[-1].source_frame < start
        or track.samples[0].source_frame >= stop
    )


def _continues(track: Track, old: Track) -> bool:
    """Whether a new track continues an old one: at its place in most of their common frames, or next to its end."""
    known = {s.source_frame: s.ellipse for s in old.samples}
    common = [s for s in track.samples if s.source_frame in known]
    if common:
        return sum(_is_same_place(s.ellipse, known[s.source_frame]) for s in common) > len(common) / 2
    first, last = track.samples[0], track.samples[-1]
    return any(
        near in known and _is_same_place(sample.ellipse, known[near])
        for sample, near in ((first, first.source_frame - 1), (last, last.source_frame + 1))
    )
