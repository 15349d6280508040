# SPDX-License-Identifier: GPL-3.0-or-later
"""How many annotated faces the final masks cover: python -m benchmarks.accuracy FOLDER [--preset NAME] [CLIP...].

FOLDER holds clips and faces.json (clip -> frame -> `faces`, `hard`, `ignore`, lists of x1, y1, x2, y2 in pixels).
A face counts as covered when at least 90 % of the ellipse in its box lies in the masks, which are drawn from the
keyframes (safety expansion included) as Blender draws them. Area outside is what lies in no ellipse of 2.2 times a box.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.document import read_document
from blender_faceblur.core.keyframes import HANDLE, opacity_spans, simplify
from blender_faceblur.core.types import Box, Ellipse, Keyframe, TrackDocument
from blender_faceblur.worker.client import build_request, run_job
from blender_faceblur.worker.protocol import ErrorMessage

COVERED, ALLOWED = 0.9, 2.2
_SUBPIXEL = 16
_POINTS = np.array([
    (1, 0), (1, HANDLE), (HANDLE, 1), (0, 1), (-HANDLE, 1), (-1, HANDLE),
    (-1, 0), (-1, -HANDLE), (-HANDLE, -1), (0, -1), (HANDLE, -1), (1, -HANDLE),
])

Keyed = list[tuple[list[tuple[int, int]], list[Keyframe]]]


@dataclass
class Score:
    """Counts over annotated frames; areas in pixels, keys per minute of each track of two seconds or more."""

    clear: int = 0
    clear_covered: int = 0
    hard: int = 0
    hard_covered: int = 0
    outside: int = 0
    area: int = 0
    tracks: int = 0
    doubts: int = 0
    keys_per_minute: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def add(self, other: Score) -> None:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def line(self) -> str:
        share = 100 * self.clear_covered / self.clear if self.clear else 100
        keys = f"{median(self.keys_per_minute):.0f}" if self.keys_per_minute else "-"
        return (
            f"clear {self.clear_covered}/{self.clear} ({share:.1f} %)  hard {self.hard_covered}/{self.hard}  "
            f"outside {100 * self.outside / max(self.area, 1):.2f} %  tracks {self.tracks}  doubts {self.doubts}  "
            f"keys/min {keys}")


def draw_points(ellipse: Ellipse) -> NDArray[np.float64]:
    """The twelve points and handles of a mask spline."""
    c, s = np.cos(ellipse.angle), np.sin(ellipse.angle)
    return _POINTS * (ellipse.rx, ellipse.ry) @ np.array([[c, s], [-s, c]]) + (ellipse.cx, ellipse.cy)


def draw_mask(keyed: Keyed, frame: int, width: int, height: int) -> NDArray[np.uint8]:
    """What is covered at a frame (height x width, 0 or 1): points move linearly between keys."""
    mask = np.zeros((height, width), np.uint8)
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    for spans, keys in keyed:
        if not any(start <= frame < stop for start, stop in spans):
            continue
        at = bisect_right([key.source_frame for key in keys], frame) - 1
        points = draw_points(keys[at].ellipse)
        if keys[at].source_frame != frame:
            later = keys[at + 1]
            part = (frame - keys[at].source_frame) / (later.source_frame - keys[at].source_frame)
            points = (1 - part) * points + part * draw_points(later.ellipse)
        a, b, c = points[0::3], points[1::3], points[2::3]
        d = np.roll(a, -1, axis=0)
        curve = np.concatenate([
            (1 - t) ** 3 * a[i] + 3 * t * (1 - t) ** 2 * b[i] + 3 * t**2 * (1 - t) * c[i] + t**3 * d[i]
            for i in range(4)
        ])
        cv2.fillPoly(mask, [np.round(curve * _SUBPIXEL).astype(np.int32)], [1], shift=4)
    return mask


def draw_face(box: Box, scale: float, width: int, height: int) -> NDArray[np.uint8]:
    """The ellipse in a box, scaled about its centre."""
    mask = np.zeros((height, width), np.uint8)
    x1, y1, x2, y2 = (value * _SUBPIXEL for value in box)
    centre = round((x1 + x2) / 2), round((y1 + y2) / 2)
    cv2.ellipse(mask, centre, (round((x2 - x1) / 2 * scale), round((y2 - y1) / 2 * scale)), 0, 0, 360, [1], -1, shift=4)
    return mask


def score_document(document: TrackDocument, truth: dict[str, dict[str, list[Box]]]) -> Score:
    """Compare the masks that a document leads to with the annotated frames of its clip."""
    width, height = document.source.width, document.source.height
    score = Score(tracks=len(document.tracks), doubts=len(document.doubts))
    keyed: Keyed = []
    for track in document.tracks:
        keys = simplify(track, document.expansion, (width, height))
        keyed.append((opacity_spans(track), keys))
        minutes = len(track.samples) / float(document.source.frame_rate) / 60
        if minutes * 60 >= 2:
            score.keys_per_minute.append(len(keys) / minutes)
    for text, kinds in truth.items():
        mask = draw_mask(keyed, int(text), width, height)
        allowed = np.zeros_like(mask)
        for boxes in kinds.values():
            for box in boxes:
                allowed |= draw_face(box, ALLOWED, width, height)
        for kind in ("faces", "hard"):
            for box in kinds[kind]:
                face = draw_face(box, 1, width, height)
                share = float((face & mask).sum()) / max(int(face.sum()), 1)
                covered = share >= COVERED
                if kind == "faces":
                    score.clear += 1
                    score.clear_covered += covered
                else:
                    score.hard += 1
                    score.hard_covered += covered
                if not covered:
                    score.missed.append(f"{kind} {text}: {[round(v) for v in box]} covered {share:.2f}")
        score.outside += int((mask & (1 - allowed)).sum())
        score.area += mask.size
    return score


def analyse(clip: Path, preset: str) -> TrackDocument:
    """Run the real job; SystemExit with its error when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "tracks.json"
        for message in run_job(build_request(clip, output, preset)):
            if isinstance(message, ErrorMessage):
                sys.exit(f"{clip.name}: {message.text}")
        return read_document(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("clips", nargs="*", help="only these")
    parser.add_argument("--preset", default="balanced")
    parser.add_argument("--leave-out", nargs="*", default=["bedroom.mp4"], help="not in the total")
    given = parser.parse_intermixed_args()
    truth = json.loads((given.folder / "faces.json").read_text(encoding="utf-8"))
    total = Score()
    for name in given.clips or sorted(truth):
        began = time.monotonic()
        document = analyse(given.folder / name, given.preset)
        rate = document.source.frame_count / (time.monotonic() - began)
        score = score_document(document, truth.get(name, {}))
        print(f"{name}: {score.line()}  {rate:.1f} fps", flush=True)
        for line in score.missed:
            print(f"    missed {line}")
        if name not in given.leave_out:
            total.add(score)
    print(f"all but {', '.join(given.leave_out) or 'none'}: {total.line()}")


if __name__ == "__main__":
    main()
