# SPDX-License-Identifier: GPL-3.0-or-later
"""Track a place that an editor has marked through the frames of a strip's source, in a process of its own."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction

import bpy

from ...core.document import editing
from ...core.document.tracks_file import read_document as read_file
from ...core.translation import count, translate
from ...core.types import Ellipse, Evidence, FaceBlurError, Sample, TrackDocument
from ...files.workplace import Workplace
from ...worker.client import build_track_request
from ..common.footage import Footage, get_footage, get_frame_rate
from ..common.jobs import JobProgress, Step
from ..masks.changes import change_tracks, check_freehand
from ..masks.document import load_document
from ..masks.record import get_fingerprint, has_record


@dataclass(frozen=True, slots=True)
class TrackingStart:
    """A track of a mask to be tracked from its keys (face by source frame), in frames `start` to `stop - 1`."""

    mask: str
    track: str
    footage: Footage
    fingerprint: str
    keys: dict[int, Ellipse]
    start: int
    stop: int
    cuts: list[int]
    rate: Fraction


def start_region(
    scene: bpy.types.Scene, strip: bpy.types.Strip, mask: bpy.types.Mask, source_frame: int, face: Ellipse
) -> TrackingStart:
    """Start from a face that is no track yet, within the shot of a frame. Raises FaceBlurError."""
    document = load_document(mask)
    start, stop = get_shot(document, source_frame)
    return TrackingStart(
        mask.name,
        "new region",
        get_footage(strip),
        get_fingerprint(mask),
        {source_frame: face},
        start,
        stop,
        [shot.start for shot in document.shots],
        Fraction(get_frame_rate(scene)).limit_denominator(1001),
    )


def start_track(
    scene: bpy.types.Scene,
    strip: bpy.types.Strip,
    mask: bpy.types.Mask,
    track: str,
    source_frame: int,
    direction: str = "BOTH",
    longest: int = 0,
) -> TrackingStart:
    """Start from a track's locked keys in the shot of a frame, or from its place in that frame if it has none there.

    `direction` is "FORWARD" or "BACKWARD" from the frame, or "BOTH" for the whole shot. `longest` is the most frames on
    each side, 0 for no limit. Raises FaceBlurError.
    """
    document = load_document(mask)
    found = editing.get_track(document, track)
    start, stop = get_shot(document, source_frame)
    if direction == "FORWARD":
        start = source_frame
    elif direction == "BACKWARD":
        stop = source_frame + 1
    if longest:
        start, stop = max(start, source_frame - longest), min(stop, source_frame + longest + 1)
    keys = {
        s.source_frame: s.ellipse
        for s in found.samples
        if s.evidence is Evidence.LOCKED and start <= s.source_frame < stop
    }
    if source_frame not in keys:
        here = editing.get_sample(found, source_frame)
        if here is None and not keys:
            raise FaceBlurError(
                translate("'{track}' is not in this frame. Go to a frame with it, or place it here.", track=track)
            )
        if here is not None and (not keys or direction != "BOTH"):
            keys[source_frame] = here.ellipse
    return TrackingStart(
        mask.name,
        track,
        get_footage(strip),
        get_fingerprint(mask),
        keys,
        start,
        stop,
        [shot.start for shot in document.shots],
        Fraction(get_frame_rate(scene)).limit_denominator(1001),
    )


def get_shot(document: TrackDocument, source_frame: int) -> tuple[int, int]:
    """The half-open range of frames of the shot that a frame belongs to."""
    for shot in document.shots:
        if shot.start <= source_frame < shot.stop:
            return shot.start, shot.stop
    return 0, document.source.frame_count


def run_tracking(place: TrackingStart, wait_s: float | None = None) -> Generator[Step | None, None, list[Sample]]:
    """Track, and return the new samples without those of the keys.

    With `wait_s` it yields None whenever nothing has happened for that long.
    """
    with Workplace() as workplace:
        output = workplace.folder / "tracked.json"
        source = place.footage.to_source_ref(place.rate, place.fingerprint)
        request = build_track_request(source, output, place.keys, place.start, place.stop, place.cuts)
        yield from JobProgress(1, wait_s).run(request, place.track)
        (track,) = read_file(output).tracks
    return [sample for sample in track.samples if sample.source_frame not in place.keys]


def apply_tracked(place: TrackingStart, samples: list[Sample]) -> str:
    """Put the new samples into the track and return the message to show.

    They replace the old samples between and beyond the locked keys, as far as tracking went; the others stay. Raises
    FaceBlurError if the track is gone, or if a key from which it was tracked is: the frame of a key that was undone
    meanwhile would be a hole between the new samples.
    """
    mask = bpy.data.masks.get(place.mask)
    if mask is None or not has_record(mask):
        raise FaceBlurError("The mask was deleted, so nothing was changed.")
    check_freehand(mask, [place.track])

    def change(document: TrackDocument) -> list[str]:
        track = editing.get_track(document, place.track)
        is_same_source = get_fingerprint(mask) == place.fingerprint
        if not is_same_source or any(editing.get_sample(track, frame) is None for frame in place.keys):
            raise FaceBlurError(
                translate(
                    "'{track}' was changed while it was tracked, so nothing was changed. Track it again.",
                    track=place.track,
                )
            )
        editing.replace_samples(track, samples)
        return [place.track]

    change_tracks(mask, change)
    if not samples:
        return translate("'{name}' could not be tracked farther than its locked keys", name=place.track)
    return describe_tracked(place.track, len(samples) + len(place.keys))


def describe_tracked(name: str, frame_count: int) -> str:
    return translate("'{name}' was tracked in {frames}", name=name, frames=count(frame_count, "frame"))
