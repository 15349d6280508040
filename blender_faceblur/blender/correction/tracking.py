# SPDX-License-Identifier: GPL-3.0-or-later
"""Follow a place that an editor has marked through the pictures of a strip's source, in a process of its own."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction

import bpy

from ...core.document import editing
from ...core.document.tracks_file import read_document as read_file
from ...core.types import Ellipse, Evidence, FaceBlurError, Sample, TrackDocument
from ...files.workplace import Workplace
from ...worker.client import build_track_request
from ..common.footage import Footage, frame_rate_of, get_footage
from ..common.jobs import JobProgress, Step
from ..masks.changes import change_tracks, check_freehand
from ..masks.mask import load_document
from ..masks.record import fingerprint_of, has_record


@dataclass(frozen=True, slots=True)
class TrackingStart:
    """What is to be followed: a track of a mask from its keys (source frame: face), in frames start..stop."""

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
    """A place that is no track yet, in the shot of a frame. Raises FaceBlurError."""
    document = load_document(mask)
    start, stop = get_shot(document, source_frame)
    return TrackingStart(
        mask.name,
        "new region",
        get_footage(strip),
        fingerprint_of(mask),
        {source_frame: face},
        start,
        stop,
        [shot.start for shot in document.shots],
        Fraction(frame_rate_of(scene)).limit_denominator(1001),
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
    """A track from its locked keys in the shot of a frame, or from where it is at that frame if it has none there.

    `direction` is "BOTH", "FORWARD" or "BACKWARD" from the frame; "BOTH" goes through the whole shot. `longest` limits
    the frames on each side; 0 does not. Raises FaceBlurError.
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
        here = editing.sample_at(found, source_frame)
        if here is None and not keys:
            raise FaceBlurError(f"'{track}' is nowhere in this frame; go to one in which it is, or put it here.")
        if here is not None and (not keys or direction != "BOTH"):
            keys[source_frame] = here.ellipse
    return TrackingStart(
        mask.name,
        track,
        get_footage(strip),
        fingerprint_of(mask),
        keys,
        start,
        stop,
        [shot.start for shot in document.shots],
        Fraction(frame_rate_of(scene)).limit_denominator(1001),
    )


def get_shot(document: TrackDocument, source_frame: int) -> tuple[int, int]:
    """The half-open frames of the shot that a frame belongs to."""
    for shot in document.shots:
        if shot.start <= source_frame < shot.stop:
            return shot.start, shot.stop
    return 0, document.source.frame_count


def run_tracking(place: TrackingStart, wait_s: float | None = None) -> Generator[Step | None, None, list[Sample]]:
    """The samples that following leads to, those of the keys left out. With `wait_s` it yields None meanwhile."""
    with Workplace() as workplace:
        output = workplace.folder / "followed.json"
        source = place.footage.to_source_ref(place.rate, place.fingerprint)
        request = build_track_request(source, output, place.keys, place.start, place.stop, place.cuts)
        yield from JobProgress(1, wait_s).run(request, place.track)
        (track,) = read_file(output).tracks
    return [sample for sample in track.samples if sample.source_frame not in place.keys]


def apply_tracked(place: TrackingStart, samples: list[Sample]) -> str:
    """Put what was followed into the track; what to say of it. Raises FaceBlurError where the track is gone.

    Between and beyond locked keys what was there is replaced as far as following went; the rest stays.
    """
    mask = bpy.data.masks.get(place.mask)
    if mask is None or not has_record(mask):
        raise FaceBlurError("The mask is gone: nothing was changed.")
    check_freehand(mask, [place.track])

    def change(document: TrackDocument) -> list[str]:
        editing.replace_samples(editing.get_track(document, place.track), samples)
        return [place.track]

    change_tracks(mask, change)
    frames = [*place.keys, *(sample.source_frame for sample in samples)]
    return f"'{place.track}' was followed from frame {min(frames)} to {max(frames)} of the source"
