# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the covered area with the annotated faces.

A face counts as covered if at least 90 % of the part of its ellipse within the picture lies in the mask. The area
outside is the covered area beyond every annotated ellipse, hard and ignored ones included, enlarged 2.2 times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import Ellipse

from .annotations import CLEAR, IGNORE, TrueFace, Truth
from .covers import Mask, ProgramCover

COVERED, ALLOWED = 0.9, 2.2
_SUBPIXEL = 16


@dataclass(frozen=True, slots=True)
class Miss:
    """A face that is not covered; `share` is its covered share, and `listed` whether it has an item for review."""

    frame: int
    face: TrueFace
    share: float
    listed: bool = False

    def words(self) -> str:
        e = self.face.ellipse
        who = f" face {self.face.who}" if self.face.who else ""
        return (
            f"{self.face.kind}{who}, frame {self.frame}, at {e.cx:.0f}, {e.cy:.0f}, {2 * e.rx:.0f} x {2 * e.ry:.0f}"
            f" px: {100 * self.share:.0f} % covered"
            f"{', to be reviewed' if self.listed else ''}"
        )


@dataclass(slots=True)
class Score:
    """Counts over annotated frames, areas in pixels; None for unknown values (runs and switches need dense truth)."""

    clear: int = 0
    clear_covered: int = 0
    hard: int = 0
    hard_covered: int = 0
    not_shown: int = 0
    longest_run: int | None = None
    switches: int | None = None
    outside: int = 0
    area: int = 0
    tracks: int | None = None
    doubts: int | None = None
    minutes: float = 0.0
    """The length of the clips in which review items were counted."""
    missed: int = 0
    missed_listed: int = 0
    """Missed faces, clear or hard, that have an item for review."""
    keys_per_minute: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    """The size of a track's mask relative to the face (square root of the areas' ratio), dense truth only."""
    frames: int = 0
    seconds: float = 0.0
    misses: list[Miss] = field(default_factory=list)

    def add(self, other: Score) -> None:
        """Add another clip's counts; of runs the longest is kept, misses stay with their clip."""
        for name in (
            "clear",
            "clear_covered",
            "hard",
            "hard_covered",
            "not_shown",
            "outside",
            "area",
            "frames",
            "minutes",
            "missed",
            "missed_listed",
            "seconds",
            "keys_per_minute",
            "sizes",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("switches", "tracks", "doubts"):
            setattr(self, name, _combine(getattr(self, name), getattr(other, name), lambda a, b: a + b))
        self.longest_run = _combine(self.longest_run, other.longest_run, max)

    def columns(self) -> list[str]:
        """The table's row, in the order of HEADINGS."""
        return [
            f"{self.clear_covered}/{self.clear}",
            f"{100 * self.clear_covered / self.clear:.1f}" if self.clear else "-",
            f"{self.hard_covered}/{self.hard}" if self.hard else "-",
            "-" if self.longest_run is None else str(self.longest_run),
            f"{100 * self.outside / self.area:.3f}" if self.area else "-",
            "-" if self.tracks is None else str(self.tracks),
            "-" if self.doubts is None else str(self.doubts),
            "-" if self.doubts is None or not self.minutes else f"{self.doubts / self.minutes:.0f}",
            "-" if self.doubts is None or not self.missed else f"{self.missed_listed}/{self.missed}",
            "-" if self.switches is None else str(self.switches),
            f"{median(self.keys_per_minute):.0f}" if self.keys_per_minute else "-",
            f"{median(self.sizes):.2f}" if self.sizes else "-",
            f"{self.frames / self.seconds:.1f}" if self.seconds else "-",
        ]

    def to_json(self) -> dict[str, object]:
        content: dict[str, object] = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in ("misses", "keys_per_minute", "sizes")
        }
        content["keys_per_minute"] = median(self.keys_per_minute) if self.keys_per_minute else None
        content["size"] = median(self.sizes) if self.sizes else None
        content["misses"] = [
            {
                "frame": m.frame,
                "kind": m.face.kind,
                "who": m.face.who,
                "covered": round(m.share, 3),
                "listed": m.listed,
                "ellipse": [
                    round(v, 3)
                    for v in (
                        m.face.ellipse.cx,
                        m.face.ellipse.cy,
                        m.face.ellipse.rx,
                        m.face.ellipse.ry,
                        m.face.ellipse.angle,
                    )
                ],
            }
            for m in self.misses
        ]
        return content


HEADINGS = (
    "clear",
    "%",
    "hard",
    "run",
    "out %",
    "tracks",
    "items",
    "items/min",
    "missed listed",
    "switch",
    "keys/min",
    "size",
    "fps",
)


def score_cover(cover: ProgramCover, truth: Truth) -> Score:
    """Compare a cover with a clip's annotated frames."""
    score = Score(
        frames=cover.frame_count,
        seconds=cover.seconds,
        tracks=cover.tracks,
        doubts=cover.doubts,
        minutes=cover.minutes,
        keys_per_minute=cover.count_keys(),
    )
    covered: dict[int, list[bool]] = {}
    last_track: dict[int, str] = {}
    switches = 0
    for frame, faces in sorted(truth.frames.items()):
        mask = cover.draw(frame)
        if mask is None:
            score.not_shown += sum(face.kind != IGNORE for face in faces)
            continue
        allowed = np.zeros_like(mask)
        for face in faces:
            allowed |= draw_ellipse(face.ellipse.scaled(ALLOWED), mask.shape)
        for face in faces:
            if face.kind == IGNORE:
                continue
            area = draw_ellipse(face.ellipse, mask.shape)
            if not area.any():
                continue
            share = float((area & mask).sum()) / int(area.sum())
            _count(score, face, share, frame, cover)
            if face.kind == CLEAR:
                covered.setdefault(face.who, []).append(share >= COVERED)
        tracks, people = cover.list_faces(frame), {face.who: face.ellipse for face in faces if face.who}
        for who, track in match_tracks(tracks, people).items():
            shown = dict(tracks)[track]
            score.sizes.append(float(np.sqrt(shown.rx * shown.ry / (people[who].rx * people[who].ry))))
            switches += last_track.get(who, track) != track
            last_track[who] = track
        score.outside += int((mask & (1 - allowed)).sum())
        score.area += mask.size
    if truth.dense:
        score.longest_run = max((compute_longest_run(shown) for shown in covered.values()), default=0)
        if truth.people and cover.tracks is not None:
            score.switches = switches
    return score


def _count(score: Score, face: TrueFace, share: float, frame: int, cover: ProgramCover) -> None:
    if face.kind == CLEAR:
        score.clear += 1
        score.clear_covered += share >= COVERED
    else:
        score.hard += 1
        score.hard_covered += share >= COVERED
    if share < COVERED:
        listed = cover.has_item(frame, face.ellipse)
        score.missed += 1
        score.missed_listed += listed
        score.misses.append(Miss(frame, face, share, listed))


def draw_ellipse(ellipse: Ellipse, shape: tuple[int, ...]) -> Mask:
    """An ellipse as a mask (height x width, 0 or 1)."""
    mask: NDArray[np.uint8] = np.zeros(shape, np.uint8)
    # OpenCV puts pixel centres at whole numbers.
    centre = round((ellipse.cx - 0.5) * _SUBPIXEL), round((ellipse.cy - 0.5) * _SUBPIXEL)
    axes = round(ellipse.rx * _SUBPIXEL), round(ellipse.ry * _SUBPIXEL)
    cv2.ellipse(mask, centre, axes, float(np.degrees(ellipse.angle)), 0, 360, [1], -1, shift=4)
    return mask


def compute_longest_run(covered: list[bool]) -> int:
    """The largest number of consecutive frames without cover."""
    longest = now = 0
    for value in covered:
        now = 0 if value else now + 1
        longest = max(longest, now)
    return longest


def match_tracks(tracks: list[tuple[str, Ellipse]], people: dict[int, Ellipse]) -> dict[int, str]:
    """The track of each person: pairs whose centres lie in each other's ellipses, the nearest first, each once."""
    pairs = []
    for name, ellipse in tracks:
        for who, face in people.items():
            away = max(_distance(face.cx, face.cy, ellipse), _distance(ellipse.cx, ellipse.cy, face))
            if away <= 1:
                pairs.append((away, who, name))
    matched: dict[int, str] = {}
    for _, who, name in sorted(pairs):
        if who not in matched and name not in matched.values():
            matched[who] = name
    return matched


def _distance(x: float, y: float, ellipse: Ellipse) -> float:
    """0 in the ellipse's middle, 1 on it."""
    c, s = np.cos(ellipse.angle), np.sin(ellipse.angle)
    along, across = (x - ellipse.cx) * c + (y - ellipse.cy) * s, (y - ellipse.cy) * c - (x - ellipse.cx) * s
    return float(np.hypot(along / ellipse.rx, across / ellipse.ry))


def _combine(one: int | None, other: int | None, how: Callable[[int, int], int]) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return how(one, other)
