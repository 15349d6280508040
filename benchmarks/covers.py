# SPDX-License-Identifier: GPL-3.0-or-later
"""The area that a program covers in every frame of a clip: presets by a real job, deface 1.5.0 by its own command."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.cover.keyframes import HANDLE, simplify
from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.review.groups import list_review_groups
from blender_faceblur.core.review.queue import ReviewEntry
from blender_faceblur.core.types import Ellipse, FaceBlurError, Keyframe, TrackDocument
from blender_faceblur.sources import open_source
from blender_faceblur.worker.client import AnalysisOptions, build_request, finish_job
from tools.environment import build_variables, ensure_tool

ROOT = Path(__file__).resolve().parent.parent
DEFACE = "deface"
THUMBNAIL = (64, 36)
ITEM_REACH_S = 0.5
"""How far from a missed face, in seconds, an item may lie to lead an editor to it."""

_SUBPIXEL = 16
_POINTS = np.array(
    [
        (1, 0),
        (1, HANDLE),
        (HANDLE, 1),
        (0, 1),
        (-HANDLE, 1),
        (-1, HANDLE),
        (-1, 0),
        (-1, -HANDLE),
        (-HANDLE, -1),
        (0, -1),
        (HANDLE, -1),
        (1, -HANDLE),
    ]
)

Mask = NDArray[np.uint8]


class ProgramCover(Protocol):
    """The cover of one program in one clip; `seconds` is the time that it took."""

    seconds: float
    width: int
    height: int
    frame_count: int
    notes: list[str]
    tracks: int | None
    """None if the program has no tracks; `doubts` are the items that it lists for review."""
    doubts: int | None
    minutes: float
    """The length of the clip."""

    def draw(self, frame: int) -> Mask | None:
        """Height x width, 1 where covered; None if the result does not show this source frame at all."""

    def list_faces(self, frame: int) -> list[tuple[str, Ellipse]]:
        """The tracks shown at a frame, by name; empty if the program has no tracks."""

    def count_keys(self) -> list[float]:
        """Keys per minute of every track of two seconds or more."""

    def has_item(self, frame: int, face: Ellipse) -> bool:
        """Whether an item for review, alone or in a group, lies at the face, at most `ITEM_REACH_S` away."""


@dataclass(slots=True)
class TracksCover:
    """The masks of a tracks document, drawn from the keyframes as Blender draws them."""

    document: TrackDocument
    seconds: float
    width: int = field(init=False)
    height: int = field(init=False)
    frame_count: int = field(init=False)
    notes: list[str] = field(init=False)
    tracks: int | None = field(init=False)
    doubts: int | None = field(init=False)
    minutes: float = field(init=False)
    _groups: list[ReviewEntry] = field(init=False)
    _keyed: list[tuple[str, list[tuple[int, int]], list[Keyframe]]] = field(init=False)

    def __post_init__(self) -> None:
        source = self.document.source
        self.width, self.height, self.frame_count = source.width, source.height, source.frame_count
        self.notes = list(self.document.notes)
        self._groups = list_review_groups(self.document)
        self.tracks, self.doubts = len(self.document.tracks), len(self._groups)
        self.minutes = source.frame_count / float(source.frame_rate) / 60
        self._keyed = [
            (track.name, track.list_covered_spans(), simplify(track, self.document.margin, (self.width, self.height)))
            for track in self.document.tracks
        ]

    def draw(self, frame: int) -> Mask | None:
        mask = np.zeros((self.height, self.width), np.uint8)
        t = np.linspace(0, 1, 16, endpoint=False)[:, None]
        for _, one, other, part in self._show(frame):
            points = (1 - part) * draw_points(one) + part * draw_points(other)
            a, b, c = points[0::3], points[1::3], points[2::3]
            d = np.roll(a, -1, axis=0)
            curve = np.concatenate(
                [
                    (1 - t) ** 3 * a[i] + 3 * t * (1 - t) ** 2 * b[i] + 3 * t**2 * (1 - t) * c[i] + t**3 * d[i]
                    for i in range(4)
                ]
            )
            # OpenCV puts pixel centres at whole numbers.
            cv2.fillPoly(mask, [np.round((curve - 0.5) * _SUBPIXEL).astype(np.int32)], [1], shift=4)
        return mask

    def list_faces(self, frame: int) -> list[tuple[str, Ellipse]]:
        return [
            (
                name,
                Ellipse(
                    (1 - part) * one.cx + part * other.cx,
                    (1 - part) * one.cy + part * other.cy,
                    (1 - part) * one.rx + part * other.rx,
                    (1 - part) * one.ry + part * other.ry,
                    one.angle,
                ),
            )
            for name, one, other, part in self._show(frame)
        ]

    def count_keys(self) -> list[float]:
        rate = float(self.document.source.frame_rate)
        return [
            60 * rate * len(keys) / len(track.samples)
            for track, (_, _, keys) in zip(self.document.tracks, self._keyed, strict=True)
            if len(track.samples) >= 2 * rate
        ]

    def has_item(self, frame: int, face: Ellipse) -> bool:
        reach = ITEM_REACH_S * float(self.document.source.frame_rate)
        return any(
            one.start - reach <= frame < one.stop + reach
            and one.box[0] <= face.cx + face.rx
            and one.box[2] >= face.cx - face.rx
            and one.box[1] <= face.cy + face.ry
            and one.box[3] >= face.cy - face.ry
            for entry in self._groups
            for one in (entry, *entry.members)
        )

    def _show(self, frame: int) -> list[tuple[str, Ellipse, Ellipse, float]]:
        """Name, the keys before and after, and the position between them, of the tracks opaque at a frame."""
        shown = []
        for name, spans, keys in self._keyed:
            if not any(start <= frame < stop for start, stop in spans):
                continue
            at = bisect_right(keys, frame, key=lambda key: key.source_frame) - 1
            one = keys[at]
            other = one if one.source_frame == frame else keys[at + 1]
            part = (frame - one.source_frame) / max(other.source_frame - one.source_frame, 1)
            shown.append((name, one.ellipse, other.ellipse, part))
        return shown


@dataclass(slots=True)
class DefaceCover:
    """The ellipses that deface blurred, mapped to the source frames that its pictures show.

    Its reader (ffmpeg by way of imageio) may repeat or drop pictures, so the pictures are matched to source frames by
    their content. `shows` holds the picture that shows each source frame, or -1.
    """

    seconds: float
    width: int
    height: int
    frame_count: int
    boxes: list[list[tuple[int, int, int, int]]]
    shows: list[int]
    notes: list[str]
    tracks: int | None = None
    doubts: int | None = None
    minutes: float = 0.0

    def draw(self, frame: int) -> Mask | None:
        if self.shows[frame] < 0:
            return None
        mask = np.zeros((self.height, self.width), np.uint8)
        for x1, y1, x2, y2 in self.boxes[self.shows[frame]]:
            # As in its draw_det: skimage.draw.ellipse in a box that was already cut at the picture's edge.
            across, down = (x2 - x1) // 2, (y2 - y1) // 2
            y, x = np.mgrid[0 : y2 - y1, 0 : x2 - x1]
            if across > 0 and down > 0:
                mask[y1:y2, x1:x2] |= ((x - across) / across) ** 2 + ((y - down) / down) ** 2 < 1
        return mask

    def count_by_number(self) -> DefaceCover | None:
        """The same with picture N mapped to frame N, as in a comparison by number; None if that makes no difference.

        A repeated picture at the beginning then puts every cover beside its face, although deface blurred the face.
        """
        numbers = [frame if frame < len(self.boxes) else -1 for frame in range(self.frame_count)]
        return None if numbers == self.shows else replace(self, shows=numbers, notes=[])

    def has_item(self, frame: int, face: Ellipse) -> bool:
        return False

    def list_faces(self, frame: int) -> list[tuple[str, Ellipse]]:
        return []

    def count_keys(self) -> list[float]:
        return []


def draw_points(ellipse: Ellipse) -> NDArray[np.float64]:
    """The twelve points and handles of a mask spline."""
    c, s = np.cos(ellipse.angle), np.sin(ellipse.angle)
    centre = ellipse.cx, ellipse.cy
    points: NDArray[np.float64] = _POINTS * (ellipse.rx, ellipse.ry) @ np.array([[c, s], [-s, c]]) + centre
    return points


def make_cover(clip: Path, program: str) -> ProgramCover:
    """The cover of a preset, or of deface, in a clip. Raises FaceBlurError with the reason if it fails."""
    return _run_deface(clip) if program == DEFACE else TracksCover(*analyse(clip, program))


def analyse(clip: Path, preset: str) -> tuple[TrackDocument, float]:
    """Run a real job; returns the document and the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "tracks.json"
        began = time.monotonic()
        try:
            finish_job(build_request(clip, output, AnalysisOptions(preset)), lambda *_: None)
        except FaceBlurError as error:
            raise FaceBlurError(f"{clip.name}: {error}") from error
        return read_document(output), time.monotonic() - began


def _run_deface(clip: Path) -> DefaceCover:
    python = ensure_tool(ROOT, DEFACE)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = folder / "record.json"
        command = [
            str(python),
            str(ROOT / "benchmarks" / "deface_hook.py"),
            str(record),
            str(clip.resolve()),
            "--output",
            str(folder / "deface.mp4"),
        ]
        began = time.monotonic()
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            env=build_variables(ROOT),
            check=False,
        )
        seconds = time.monotonic() - began
        if done.returncode != 0 or not record.is_file():
            raise FaceBlurError(f"deface: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
        content = json.loads(record.read_text(encoding="utf-8"))
    pictures = np.array(content["thumbnails"], np.float32).reshape(-1, THUMBNAIL[0] * THUMBNAIL[1])
    with open_source(clip) as source:
        info = source.info
        frames = np.array(
            [
                cv2.resize(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), THUMBNAIL, interpolation=cv2.INTER_AREA).ravel()
                for _, picture in source.read_frames(0, info.frame_count, (info.width, info.height))
            ],
            np.float32,
        )
    at = match_pictures(pictures, frames)
    shows = [-1] * info.frame_count
    for picture in range(len(at) - 1, -1, -1):
        shows[at[picture]] = picture
    same = sum(picture == frame for picture, frame in enumerate(at))
    notes = [
        (
            f"deface wrote {len(at)} pictures of {info.frame_count}; {same} have the number of their frame, "
            f"{shows.count(-1)} frames are missing"
        )
    ]
    boxes = [[(x1, y1, x2, y2) for x1, y1, x2, y2 in found] for found in content["boxes"]]
    return DefaceCover(seconds, info.width, info.height, info.frame_count, boxes, shows, notes)


def match_pictures(pictures: NDArray[np.float32], frames: NDArray[np.float32]) -> list[int]:
    """The frame (M x values) that each picture (N x values) shows, in order, with the least total difference.

    Pictures may repeat frames or skip up to three in a row.
    """
    cost = np.stack([np.abs(frames - picture).mean(axis=1) for picture in pictures])
    best, steps = cost[0].copy(), np.zeros(cost.shape, np.int64)
    number = np.arange(len(frames))
    for picture in range(1, len(cost)):
        # A step of one is the normal case; other steps must match better.
        before = np.stack(
            [
                np.concatenate([np.full(min(step, len(best)), np.inf), best[: len(best) - step]]) + 0.01 * abs(step - 1)
                for step in range(5)
            ]
        )
        steps[picture] = before.argmin(axis=0)
        best = before[steps[picture], number] + cost[picture]
    at = [int(best.argmin())]
    for picture in range(len(cost) - 1, 0, -1):
        at.append(at[-1] - int(steps[picture][at[-1]]))
    return at[::-1]
