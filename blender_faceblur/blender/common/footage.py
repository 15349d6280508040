# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a strip of the sequencer shows, and which source frame it shows at which timeline frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError, TrackDocument
from ...worker.protocol import SourceRef
from .marks import BAKED
from .speeds import get_timing

KINDS = ("MOVIE", "IMAGE")


@dataclass(frozen=True, slots=True)
class Footage:
    """A film or picture at `path`, or the image sequence `files`, in this order, in the folder `path`."""

    path: Path
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name

    def to_source_ref(self, frame_rate: float | Fraction, fingerprint: str = "") -> SourceRef:
        """The reference by which a worker opens it. Image sequences play at `frame_rate`, see `SourceRef`."""
        rate = Fraction(frame_rate).limit_denominator(1001)
        return replace(SourceRef.of(self.path, self.files, rate, fingerprint), for_blender=True)


def get_footage(strip: bpy.types.Strip) -> Footage:
    """The files of a movie or image strip. Raises FaceBlurError, which names the strip, if they cannot be analysed."""
    if BAKED in strip:
        raise FaceBlurError(
            translate("'{name}' is baked: its covers are part of its film. Unbake it to change them.", name=strip.name)
        )
    return get_shown_footage(strip)


def get_shown_footage(strip: bpy.types.Strip) -> Footage:
    """Like `get_footage`, also for the film of a baked strip."""
    if strip.type not in KINDS:
        raise FaceBlurError(translate("'{name}' is not a movie or image strip.", name=strip.name))
    if strip.type == "MOVIE":
        if strip.stream_index > 0:
            raise FaceBlurError(
                translate(
                    "'{name}' shows another video stream than the film's first, and only that one can be analysed. "
                    "Set the strip's stream index to 0.",
                    name=strip.name,
                )
            )
        footage = Footage(_resolve_path(strip, strip.filepath))
    else:
        names = tuple(element.filename for element in strip.elements)
        folder = _resolve_path(strip, strip.directory)
        footage = Footage(folder, names) if len(names) > 1 else Footage(folder / names[0])
    if not footage.path.exists():
        raise FaceBlurError(
            translate(
                "'{name}': {path} does not exist. Point the strip to its file again.",
                name=strip.name,
                path=footage.path,
            )
        )
    return footage


def check_document(scene: bpy.types.Scene, strip: bpy.types.Strip, document: TrackDocument) -> None:
    """Raise FaceBlurError if Blender shows the strip with another size or length than what was analysed."""
    source = document.source
    element = strip.elements[0]
    shown = (element.orig_width, element.orig_height)
    if 0 not in shown and shown != (source.width, source.height):
        raise FaceBlurError(
            translate(
                "'{name}': Blender shows {shown_width} x {shown_height} pixels, but {width} x {height} were analysed. "
                "Reload the "
                "strip and detect its faces again.",
                name=strip.name,
                shown_width=shown[0],
                shown_height=shown[1],
                width=source.width,
                height=source.height,
            )
        )
    if abs(strip.frame_duration - source.frame_count) <= 1 or strip.retiming_keys:
        return
    # Only now, because Blender opens the film to find its rate.
    if strip.type != "MOVIE" or abs(strip.fps - get_frame_rate(scene)) <= 1e-3 * strip.fps:
        raise FaceBlurError(
            translate(
                "'{name}': Blender counts {shown} frames, but {analysed} were analysed. Reload the strip "
                "and detect its faces again.",
                name=strip.name,
                shown=strip.frame_duration,
                analysed=source.frame_count,
            )
        )


def get_frame_rate(scene: bpy.types.Scene) -> float:
    """A scene's frame rate, in frames per second."""
    return float(scene.render.fps / scene.render.fps_base)


def get_preview_range(scene: bpy.types.Scene) -> tuple[int, int]:
    """The timeline's preview range, half-open. Raises FaceBlurError if none is set."""
    if not scene.use_preview_range:
        raise FaceBlurError("Set a preview range in the timeline first (key P).")
    return scene.frame_preview_start, scene.frame_preview_end + 1


def find_timeline_frame(strip: bpy.types.Strip, spans: list[tuple[int, int]], frame_count: int) -> int | None:
    """The first timeline frame at which the strip shows a source frame in the half-open `spans`; None if there is none.

    Exact if what the strip shows has one speed that is known; for other strips it uses the mean of their speeds.
    """
    if frame_count == 1:
        return int(strip.frame_final_start) if spans else None
    first_frame, duration = get_timing(strip, frame_count)
    stretch = duration / frame_count
    first: int | None = None
    for start, stop in spans:
        low, high = start * stretch, stop * stretch
        if strip.use_reverse_frames:
            low, high = duration - high, duration - low
        shown = math.ceil(max(low + first_frame, strip.frame_final_start) - 1e-3)
        if shown < min(high + first_frame, strip.frame_final_end):
            first = shown if first is None else min(first, shown)
    return first


def describe_frames(strip: bpy.types.Strip, start: int, stop: int, frame_count: int) -> str:
    """Where the timeline shows the source frames `start` to `stop - 1`, in its own frames, as a panel says it."""
    first = find_timeline_frame(strip, [(start, stop)], frame_count)
    if first is None:
        return "In none of the strip's frames"
    # The first frame that shows what comes after the range in the timeline, or the strip's end.
    after = [(0, start)] if strip.use_reverse_frames else [(stop, frame_count)]
    end = find_timeline_frame(strip, after, frame_count) if frame_count > 1 and after[0][0] < after[0][1] else None
    last = (end if end is not None else int(strip.frame_final_end)) - 1
    return (
        translate("Frames {first} to {last}", first=first, last=last)
        if last > first
        else translate("Frame {first}", first=first)
    )


def compute_shown(strip: bpy.types.Strip, first: int, stop: int, frame_count: int) -> tuple[int, int] | None:
    """The half-open range of source frames that a strip with one speed shows in the timeline frames first..stop-1.

    None if it shows nothing there.
    """
    first, last = max(first, int(strip.frame_final_start)), min(stop, int(strip.frame_final_end)) - 1
    ends = [compute_source_frame(strip, frame, frame_count) for frame in (first, last)] if first <= last else []
    frames = [frame for frame in ends if frame is not None]
    return (min(frames), max(frames) + 1) if frames else None


def compute_source_frame(strip: bpy.types.Strip, timeline_frame: int, frame_count: int) -> int | None:
    """The source frame that a strip with one speed shows at a timeline frame; None if it shows nothing there."""
    if not strip.frame_final_start <= timeline_frame < strip.frame_final_end:
        return None
    first_frame, duration = get_timing(strip, frame_count)
    place = timeline_frame - first_frame
    if strip.use_reverse_frames:
        place = duration - 1 - place
    return min(max(int(place * frame_count / max(duration, 1) + 1e-4), 0), frame_count - 1)


def list_hidden(scene: bpy.types.Scene) -> set[str]:
    """The names of strips that nobody sees, because they, their channel or a meta strip around them is muted."""
    inputs = {
        part.name
        for strip in scene.sequence_editor.strips_all
        for part in (getattr(strip, name, None) for name in ("input_1", "input_2"))
        if part is not None
    }
    found = set()
    todo = [(scene.sequence_editor, False)]
    while todo:
        holder, is_hidden = todo.pop()
        for strip in holder.strips:
            is_muted = strip.mute or holder.channels[strip.channel].mute
            hides = is_hidden or (is_muted and strip.name not in inputs)
            if hides:
                found.add(strip.name)
            if strip.type == "META":
                todo.append((strip, hides))
    return found


def _resolve_path(strip: bpy.types.Strip, path: str) -> Path:
    return Path(bpy.path.abspath(path, library=strip.id_data.library))
