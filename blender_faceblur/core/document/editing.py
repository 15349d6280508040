# SPDX-License-Identifier: GPL-3.0-or-later
"""What an editor does to tracks: keys, ends, splitting, merging, switching, and what a later analysis must respect.

Everything here changes tracks or documents in place and raises FaceBlurError, in one line, where it cannot.
Ellipses are faces, before the safety expansion; frames are source frames.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from ..types import (
    Ellipse,
    Evidence,
    FaceBlurError,
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
    """When a new track is the one that an editor worked on, and when a face lies in a region that is never blurred."""

    same_place_semi_axes: float = 0.6
    """How far apart the centres of two ellipses at one place may lie, in the mean semi-axis of the smaller one. Raising
    it lets more new tracks continue old ones, and other people's. Origin not recorded."""
    inside_frames_share: float = 0.8
    """Share (0..1) of a track's frames in such a region from which the track is not covered. Raising it keeps more
    people covered who walk past. Origin not recorded."""
    inside_width_ratio: float = 1.2
    """How many times wider than the region the face may be. Raising it leaves larger faces uncovered there. Origin not
    recorded."""


EDITING = EditingSettings()


def copy_document(document: TrackDocument) -> TrackDocument:
    """A document that can be changed without changing this one; samples, which nobody changes, are shared."""

    def copy(tracks: list[Track]) -> list[Track]:
        return [replace(track, samples=list(track.samples), off=list(track.off)) for track in tracks]

    return replace(
        document,
        models=list(document.models),
        shots=list(document.shots),
        tracks=copy(document.tracks),
        review_items=list(document.review_items),
        notes=list(document.notes),
        aside=copy(document.aside),
        reviewed=list(document.reviewed),
        analysed=list(document.analysed),
        people_notes=list(document.people_notes),
    )


def get_track(document: TrackDocument, name: str) -> Track:
    """The covered track of that name."""
    for track in document.tracks:
        if track.name == name:
            return track
    raise FaceBlurError(f"There is no covered track '{name}'.")


def sample_at(track: Track, source_frame: int) -> Sample | None:
    """The track's sample at a frame; None in its gaps and beyond its ends."""
    at = bisect_left(track.samples, source_frame, key=lambda s: s.source_frame)
    found = at < len(track.samples) and track.samples[at].source_frame == source_frame
    return track.samples[at] if found else None


def locked_frames(track: Track) -> list[int]:
    return [s.source_frame for s in track.samples if s.evidence is Evidence.LOCKED]


def set_key(track: Track, source_frame: int, face: Ellipse, reach: int) -> None:
    """Put the face at a frame for good; the samples within `reach` frames of it go along, less the farther they are.

    Other locked keys stay, and so does all beyond them. Where the track has a gap, or has ended, at most `reach`
    frames away, the way there is filled.
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
    """The ellipse between two, `part` of the way; it turns the short way."""
    return _shift(one, one, other, part)


def _shift(ellipse: Ellipse, old: Ellipse, new: Ellipse, part: float) -> Ellipse:
    """An ellipse changed by a part of what leads from `old` to `new`."""
    turn = (new.angle - old.angle + math.pi / 2) % math.pi - math.pi / 2
    return Ellipse(
        ellipse.cx + part * (new.cx - old.cx),
        ellipse.cy + part * (new.cy - old.cy),
        ellipse.rx * (new.rx / old.rx) ** part,
        ellipse.ry * (new.ry / old.ry) ** part,
        ellipse.angle + part * turn,
    )


def clear_key(track: Track, source_frame: int) -> None:
    """Give a locked key free: it stays where it is until something moves it."""
    sample = sample_at(track, source_frame)
    if sample is None or sample.evidence is not Evidence.LOCKED:
        raise FaceBlurError(f"'{track.name}' has no locked key in this frame.")
    _put(track, [replace(sample, evidence=Evidence.INTERPOLATED)])


def extend(track: Track, source_frame: int) -> None:
    """Hold the track's nearer end until that frame, included."""
    if not track.samples:
        raise FaceBlurError(f"'{track.name}' has no place to hold.")
    first, last = track.samples[0], track.samples[-1]
    if first.source_frame <= source_frame <= last.source_frame:
        raise FaceBlurError(
            f"'{track.name}' is there already: it lasts from frame {first.source_frame} to {last.source_frame}."
        )
    end, frames = (
        (first, range(source_frame, first.source_frame))
        if source_frame < first.source_frame
        else (last, range(last.source_frame + 1, source_frame + 1))
    )
    _put(track, [Sample(frame, end.ellipse, Evidence.EXTRAPOLATED, 0.0) for frame in frames])


def trim(track: Track, start: int, stop: int) -> None:
    """Keep only the frames start..stop."""
    kept = [s for s in track.samples if start <= s.source_frame < stop]
    if not kept:
        raise FaceBlurError(f"Nothing of '{track.name}' would be left.")
    track.samples = kept


def split(document: TrackDocument, name: str, source_frame: int) -> tuple[Track, Track]:
    """Make two tracks of one: what comes before a frame, and the rest under a new name."""
    track = get_track(document, name)
    before = [s for s in track.samples if s.source_frame < source_frame]
    after = [s for s in track.samples if s.source_frame >= source_frame]
    if not before or not after:
        raise FaceBlurError(f"'{name}' can only be split between its first and its last frame.")
    track.samples = before
    rest = Track(choose_free_name(document, track.kind), after, track.kind, track.locked, list(track.off))
    document.tracks.append(rest)
    return track, rest


def merge(document: TrackDocument, names: Collection[str]) -> Track:
    """Make one track of several, under the name of the earliest; where they meet, locked and surer samples win.

    FaceBlurError where two of them are apart in the same frame: one of the two places would no longer be covered.
    """
    tracks = sorted((get_track(document, name) for name in names), key=lambda t: t.samples[0].source_frame)
    if len(tracks) < 2:
        raise FaceBlurError("Choose two or more tracks to merge.")
    order = list(Evidence)
    known: dict[int, Sample] = {}
    for sample in (s for track in tracks for s in track.samples):
        other = known.get(sample.source_frame)
        if other is not None and not _is_same_place(sample.ellipse, other.ellipse):
            raise FaceBlurError(f"They are in two places in frame {sample.source_frame}: they cannot be one.")
        if other is None or _rank(sample, order) < _rank(other, order):
            known[sample.source_frame] = sample
    first = tracks[0]
    # A frame is shown only where all of them were off.
    first.off = join_frames(
        [frame for frame in known if all(_is_off(t, frame) for t in tracks if sample_at(t, frame) is not None)]
    )
    first.samples = [known[frame] for frame in sorted(known)]
    first.locked = any(track.locked for track in tracks)
    document.tracks = [track for track in document.tracks if track not in tracks[1:]]
    return first


def _rank(sample: Sample, order: list[Evidence]) -> tuple[bool, int]:
    return sample.evidence is not Evidence.LOCKED, order.index(sample.evidence)


def _is_off(track: Track, source_frame: int) -> bool:
    return any(start <= source_frame < stop for start, stop in track.off)


def _is_same_place(one: Ellipse, other: Ellipse) -> bool:
    away = math.hypot(one.cx - other.cx, one.cy - other.cy)
    return away < EDITING.same_place_semi_axes * min(one.rx + one.ry, other.rx + other.ry) / 2


def delete(document: TrackDocument, name: str) -> None:
    """Cover a track no longer; it is kept aside, from where it can be brought back."""
    track = get_track(document, name)
    document.tracks.remove(track)
    track.status = TrackStatus.DELETED
    document.aside.append(track)


def bring_back(document: TrackDocument, name: str) -> Track:
    """Cover a track that was set aside, under a free name; what speaks of it follows."""
    track = next((t for t in document.aside if t.name == name), None)
    if track is None:
        raise FaceBlurError(f"There is no track '{name}' aside.")
    document.aside.remove(track)
    was_suppressed = track.status is TrackStatus.SUPPRESSED
    track.cover()
    if was_suppressed or any(t.name == track.name for t in document.tracks):
        track.name = choose_free_name(document, track.kind)
    document.tracks.append(track)
    document.review_items = [replace(d, track=track.name) if d.track == name else d for d in document.review_items]
    return track


def rename(document: TrackDocument, old: str, new: str) -> None:
    """Give a track another name; what speaks of it follows."""
    if any(track.name == new for track in (*document.tracks, *document.aside)):
        raise FaceBlurError(f"There is a track '{new}' already.")
    get_track(document, old).name = new
    document.review_items = [replace(d, track=new) if d.track == old else d for d in document.review_items]


def switch(track: Track, start: int, stop: int, on: bool) -> None:
    """Cover the track in frames start..stop, or show what it covers there."""
    frames = {frame for first, last in track.off for frame in range(first, last)}
    changed = range(start, stop)
    track.off = join_frames(frames.difference(changed) if on else frames.union(changed))


def join_frames(frames: Iterable[int]) -> list[tuple[int, int]]:
    """Half-open ranges out of frames, in order and apart."""
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
    """A new covered track; an empty name stands for the next free one."""
    if not samples:
        raise FaceBlurError("A track needs a frame.")
    track = Track(name or choose_free_name(document, kind), sorted(samples, key=lambda s: s.source_frame), kind)
    if any(track.name == other.name for other in (*document.tracks, *document.aside)):
        raise FaceBlurError(f"There is a track '{track.name}' already.")
    document.tracks.append(track)
    return track


def replace_samples(track: Track, samples: Iterable[Sample]) -> None:
    """Put samples into the track; its locked keys stay."""
    locked = set(locked_frames(track))
    _put(track, [s for s in samples if s.source_frame not in locked])


def _put(track: Track, samples: Iterable[Sample]) -> None:
    known = {s.source_frame: s for s in track.samples} | {s.source_frame: s for s in samples}
    track.samples = [known[frame] for frame in sorted(known)]


def never_blur(document: TrackDocument, ellipse: Ellipse, start: int, stop: int, name: str) -> list[str]:
    """Mark a place in which faces are none that need a cover (a poster); the names of the tracks set aside for it.

    Only tracks that are in it for most of their time are set aside: somebody who walks past stays covered.
    """
    samples = [Sample(frame, ellipse, Evidence.LOCKED, 1.0) for frame in range(start, stop)]
    if any(track.name == name for track in (*document.tracks, *document.aside)):
        raise FaceBlurError(f"There is a track '{name}' already.")
    document.aside.append(Track(name, samples, TrackKind.NEVER, locked=True, status=TrackStatus.EXEMPT))
    return set_never_aside(document)


def set_never_aside(document: TrackDocument) -> list[str]:
    """Set aside the face tracks that lie in a place where nothing is to be blurred; their names."""
    regions = [track for track in document.aside if track.kind is TrackKind.NEVER]
    names = []
    for track in list(document.tracks):
        if track.kind is not TrackKind.FACE or track.locked or locked_frames(track):
            continue
        for region in regions:
            inside = sum(
                _holds(place.ellipse, s.ellipse)
                for s in track.samples
                if (place := sample_at(region, s.source_frame)) is not None
            )
            if inside >= EDITING.inside_frames_share * len(track.samples):
                document.tracks.remove(track)
                track.status, track.never_region = TrackStatus.EXEMPT, region.name
                document.aside.append(track)
                names.append(track.name)
                break
    return names


def _holds(region: Ellipse, face: Ellipse) -> bool:
    """Whether the face's middle, and most of it, lies in the region."""
    c, s = math.cos(region.angle), math.sin(region.angle)
    x, y = face.cx - region.cx, face.cy - region.cy
    inside = math.hypot((x * c + y * s) / region.rx, (y * c - x * s) / region.ry) <= 1
    return inside and face.rx <= EDITING.inside_width_ratio * region.rx


def merge_analysis(old: TrackDocument, new: TrackDocument, start: int, stop: int) -> TrackDocument:
    """The document after frames start..stop were analysed again: nothing that an editor did is lost.

    What is locked, drawn by hand, or switched off stays, as does all outside of the range. A track of the new analysis
    that goes on one of the old becomes part of it; one that is nowhere but on a deleted one stays deleted. What the new
    analysis no longer finds is set aside.
    """
    merged = replace(
        new,
        tracks=[],
        aside=[t for t in old.aside if _stays_aside(t, start, stop)],
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
    deleted = [t for t in old.aside if t.status is TrackStatus.DELETED]
    fresh = [t for t in fresh if t.samples and not any(is_same_track(t, gone) for gone in deleted)]
    names: dict[str, str] = {}
    lost: list[Track] = []
    for track in old.tracks:
        # What an editor has set is a cover: it stays as large as it is.
        whole = replace(
            track,
            samples=[
                replace(s, ellipse=s.ellipse.scaled(size)) if size != 1 else s
                for s in track.samples
                if _stays(track, s, start, stop)
            ],
        )
        for partner in fresh:
            # A number plate is no face that goes on.
            if (
                partner.name in names
                or (track.kind is TrackKind.FACE and partner.kind is not TrackKind.FACE)
                or not _goes_on(partner, track)
            ):
                continue
            free = track.kind is TrackKind.FACE and not track.locked
            if free or all(sample_at(track, s.source_frame) is not None for s in partner.samples):
                names[partner.name] = track.name
                if free:
                    replace_samples(whole, partner.samples)
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
            names[track.name] = add_track(merged, track.samples, track.kind).name
    for track in (*lost, *new.aside):
        names[track.name] = choose_free_name(merged, track.kind, TrackStatus.SUPPRESSED)
        merged.aside.append(replace(track, name=names[track.name]))
    merged.review_items += [
        replace(d, start=max(d.start, start), stop=min(d.stop, stop), track=names.get(d.track, d.track))
        for d in new.review_items
        if d.start < stop and d.stop > start
    ]
    merged.review_items.sort(key=lambda d: d.start)
    merged.tracks.sort(key=lambda t: t.samples[0].source_frame)
    set_never_aside(merged)
    return merged


def _join_analysed(old: TrackDocument, start: int, stop: int) -> list[tuple[int, int]]:
    """What has been looked at, with start..stop; empty for everything."""
    if not old.analysed:
        return []
    joined: list[tuple[int, int]] = []
    for span in sorted([*old.analysed, (start, stop)]):
        if joined and span[0] <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], span[1])
        else:
            joined.append(span)
    return [] if joined == [(0, old.source.frame_count)] else joined


def _stays(track: Track, sample: Sample, start: int, stop: int) -> bool:
    return (
        track.locked
        or track.kind is not TrackKind.FACE
        or sample.evidence is Evidence.LOCKED
        or not start <= sample.source_frame < stop
    )


def _stays_aside(track: Track, start: int, stop: int) -> bool:
    return (
        track.kind is TrackKind.NEVER
        or track.status is TrackStatus.DELETED
        or track.samples[-1].source_frame < start
        or track.samples[0].source_frame >= stop
    )


def _goes_on(track: Track, old: Track) -> bool:
    """Whether a new track is the old one: at its place in most of the frames that both have, or next to its end."""
    known = {s.source_frame: s.ellipse for s in old.samples}
    common = [s for s in track.samples if s.source_frame in known]
    if common:
        return sum(_is_same_place(s.ellipse, known[s.source_frame]) for s in common) > len(common) / 2
    first, last = track.samples[0], track.samples[-1]
    return any(
        near in known and _is_same_place(sample.ellipse, known[near])
        for sample, near in ((first, first.source_frame - 1), (last, last.source_frame + 1))
    )
