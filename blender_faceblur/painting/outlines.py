# SPDX-License-Identifier: GPL-3.0-or-later
"""A film's covers as a Blender project has them, frame by frame, in a file.

Masks can be edited with Blender's own tools, so only Blender knows their shapes. It evaluates them once for each frame
of the source and writes the outlines; covers are then painted without Blender.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from ..core.geometry import Array
from ..core.types import FaceBlurError
from .covers import Moment, Outline


@dataclass(frozen=True, slots=True)
class FrameOutlines:
    """The covers of one frame: closed polygons (N x 2, pixels of the source as the strip shows it), and the width of
    the soft edge around each in pixels. With `everything` the whole picture is covered, and there are no polygons."""

    everything: bool
    polygons: tuple[Array, ...] = ()
    feathers: tuple[float, ...] = ()

    def digest(self) -> bytes:
        """A hash that differs for other covers."""
        found = hashlib.sha256(bytes([self.everything]))
        for polygon, feather in zip(self.polygons, self.feathers, strict=True):
            found.update(np.array([len(polygon), feather], np.float32).tobytes())
            found.update(np.ascontiguousarray(polygon, np.float32).tobytes())
        return found.digest()


COVERED = FrameOutlines(everything=True)


class OutlineTimeline:
    """The covers of a film, from outlines for each of its frames. `face_px` is the width that sets the strength."""

    def __init__(self, frames: Sequence[FrameOutlines], face_px: float) -> None:
        if not frames:
            raise FaceBlurError("There are no outlines, because the film has no frames.")
        self.largest_face_px = face_px
        self._frames = frames
        # Frames in a row with the same covers share one object.
        digests = {id(frame): frame.digest() for frame in frames}
        self._digests = [digests[id(frame)] for frame in frames]

    def covers_everything(self, moment: Moment) -> bool:
        """Whether the whole picture has to be covered."""
        return any(self._frames[frame].everything for frame in self._list_frames(moment))

    def list_outlines(self, moment: Moment) -> list[Outline]:
        """The covers in the picture of a moment: those of all frames that show it, or of both neighbouring ones."""
        shown = [self._frames[frame] for frame in self._list_frames(moment)]
        return [
            Outline(polygon, feather, self.largest_face_px)
            for frame in shown
            for polygon, feather in zip(frame.polygons, frame.feathers, strict=True)
        ]

    def describe(self, first: float, last: float) -> list[Any]:
        """A hash of the covers from the frame at or before `first` to the last one before `last`, the width of the
        largest face, and whether a picture is covered completely."""
        low, high = max(math.floor(first), 0), min(math.ceil(last), len(self._frames)) if last < math.inf else None
        everything = any(frame.everything for frame in self._frames[low:high])
        return [combine_digests(self._digests[low:high]), self.largest_face_px, everything]

    def digest(self) -> str:
        """A hash that differs for other covers in any frame."""
        return combine_digests(self._digests)

    def _list_frames(self, moment: Moment) -> list[int]:
        last = len(self._frames) - 1
        near = moment.frames or (math.floor(moment.position), math.ceil(moment.position))
        return sorted({min(max(frame, 0), last) for frame in near})


def combine_digests(digests: Sequence[bytes]) -> str:
    """A hash of the covers of several frames, from the hash of each."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def write_outlines(path: Path, frames: Sequence[FrameOutlines]) -> None:
    """Write the outlines of a film's frames, those of equal frames in a row once. Raises FaceBlurError."""
    kept: list[FrameOutlines] = []
    places = []
    for frame in frames:
        if not kept or frame is not kept[-1]:
            kept.append(frame)
        places.append(len(kept) - 1)
    polygons = [polygon for frame in kept for polygon in frame.polygons]
    try:
        with open(path, "wb") as file:
            np.savez(
                file,
                places=np.array(places, np.int64),
                everything=np.array([frame.everything for frame in kept], np.bool_),
                counts=np.array([len(frame.polygons) for frame in kept], np.int64),
                feathers=np.array([feather for frame in kept for feather in frame.feathers], np.float32),
                lengths=np.array([len(polygon) for polygon in polygons], np.int64),
                points=np.concatenate([np.empty((0, 2)), *polygons]).astype(np.float32),
            )
    except OSError as error:
        raise FaceBlurError(f"{path} cannot be written: {error.strerror}.") from error


def read_outlines(path: Path) -> list[FrameOutlines]:
    """The outlines of each frame, as `write_outlines` wrote them. Raises FaceBlurError if the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            tables = {name: stored[name] for name in stored.files}
        polygons = np.split(tables["points"].astype(np.float64), np.cumsum(tables["lengths"])[:-1])
        polygons = polygons[: len(tables["lengths"])]
        feathers = tables["feathers"].tolist()
        kept, begin = [], 0
        for everything, count in zip(tables["everything"].tolist(), tables["counts"].tolist(), strict=True):
            end = begin + count
            kept.append(FrameOutlines(everything, tuple(polygons[begin:end]), tuple(feathers[begin:end])))
            begin = end
        if begin != len(polygons) or begin != len(feathers):
            raise ValueError("the counts do not add up")
        return [kept[place] for place in tables["places"].tolist()]
    except (OSError, EOFError, BadZipFile, ValueError, KeyError, IndexError, TypeError) as error:
        raise FaceBlurError(f"{path.name}: the outlines of the covers cannot be read ({error})") from error
