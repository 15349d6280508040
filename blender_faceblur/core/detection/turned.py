# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that lie or stand on their heads: find out when the detectors must see pictures that are turned by quarters.

A film that was shot with the telephone held the wrong way round, without a mark that says so, looks like this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array, compute_roll, compute_shares_of_smaller
from ..types import Detection

DetectTurned = Callable[[str, NDArray[np.uint8], Collection[int]], list[Detection]]
"""Takes a detector's name, a picture (BGR) and clockwise rotations in degrees; returns what the detector finds in the
picture rotated by each, in pixels of the unrotated picture."""

ScoreFaces = Callable[[NDArray[np.uint8], Sequence[Array]], list[float]]
"""Takes a picture (BGR) and boxes in its pixels; returns how much each looks like an upright face (0..1)."""


@dataclass(frozen=True, slots=True)
class TurnedSettings:
    """How often a look at a small, turned picture decides whether the detectors must see turned pictures too."""

    turns_deg: tuple[int, ...] = (90, 180, 270)
    """Clockwise rotations, in degrees, in which faces are sought. Raising their number takes time. Origin: detectors
    find faces that lean by up to about 45 degrees in an upright picture."""
    probe_every_s: float = 1.0
    """Seconds between two looks. Raising it saves time; optical flow carries a face back for no longer than
    `TrackingSettings.carry_back_s`. Origin: that number."""
    probe_long_side_px: int = 320
    """Long side, in pixels, of the picture for the looks. Raising it finds smaller faces and takes time with its
    square. Origin: three looks take 5 ms, at most 2 % of the analysis of a second of film."""
    fine_probe_long_side_px: int = 640
    """The same for some of the looks, which find faces half as large. Raising it finds smaller faces and takes time
    with its square. Origin: twice the other one."""
    fine_probe_each: int = 2
    """A look is such a one if its number is a multiple of this. Raising it saves time; beyond `keep_s`, a small face is
    lost between two of these looks. Origin: that `keep_s` bridges two looks."""
    probe_confidence: float = 0.6
    """Confidence (0..1) that a look needs if another network confirms it. Raising it finds fewer turned faces. Origin:
    with the next five, looks at 49 clips upright and upside down."""
    probe_face_score: float = 0.9
    """The face score (0..1) with which that network confirms it. Raising it finds fewer turned faces; lowering it lets
    detectors see turned pictures in vain. Origin: upside down, most faces have 0.97 and more; of what looks like a face
    in a turned picture of an upright clip, most has less than 0.7."""
    alone_confidence: float = 0.8
    """Confidence (0..1) that a look needs if no other network can confirm it. Raising it finds fewer turned faces.
    Origin: see `probe_confidence`."""
    same_place_share: float = 0.3
    """Share (0..1) of a box within a face that was found upright, from which both show one face: many faces look like
    faces upside down too. Raising it lets detectors see turned pictures in vain. Origin: see `probe_confidence`."""
    clearer_confidence: float = 0.05
    """How much more confidence than that face a look then needs. Raising it leaves turned faces to detectors that take
    them for upright ones, with boxes beside them; lowering it lets detectors see turned pictures in vain. Origin: see
    `probe_confidence`."""
    keep_s: float = 2.0
    """Seconds after such a look for which the detectors see turned pictures. Raising it takes time, and bridges longer
    stretches in which no look finds the face. Origin: a guess."""
    least_confidence: float = 0.5
    """Confidence (0..1) that a detection in a turned picture needs. Raising it loses faces; lowering it covers more
    that is no face. Origin: that of the rotated pass of the preset thorough."""


TURNED = TurnedSettings()


@dataclass(slots=True)
class TurnedSearch:
    """Which rotations the detectors must see at the moment. Frame numbers must ascend."""

    detect_turned: DetectTurned
    frame_rate: float
    detector: str
    """The name of the detector that looks."""
    score_faces: ScoreFaces | None = None
    _until: dict[int, int] = field(default_factory=dict)

    def is_due(self, source_frame: int, stride: int) -> bool:
        """Whether a frame gets a look, if the detectors run on multiples of `stride`."""
        return source_frame % self._compute_interval(stride) == 0

    def _compute_interval(self, stride: int) -> int:
        """The frames between two looks."""
        return max(1, round(TURNED.probe_every_s * self.frame_rate / stride)) * stride

    def choose_long_side(self, source_frame: int, stride: int) -> int:
        """The long side of the picture for a look at that frame, in pixels. The first frame of a film gets a fine
        look, and that of another shot only if it is due anyway.

        Without another network that confirms what it finds there is none: of the shared clips, which are upright, they
        let fast cover 1.17 instead of 0.50 % of the picture needlessly.
        """
        every = self._compute_interval(stride)
        is_fine = self.score_faces is not None and source_frame % (every * TURNED.fine_probe_each) == 0
        return TURNED.fine_probe_long_side_px if is_fine else TURNED.probe_long_side_px

    def list_turns(self, source_frame: int) -> list[int]:
        """The rotations in which the detectors must see this frame."""
        return [turn for turn, until in self._until.items() if source_frame <= until]

    def look(
        self, source_frame: int, small: NDArray[np.uint8], picture: NDArray[np.uint8], upright: Sequence[Detection]
    ) -> None:
        """Look for turned faces in a small picture (BGR) of a frame, and keep where they were found.

        `picture`: the same in the detectors' size; `upright`: what they found there, in pixels of `picture`.
        """
        scale = np.tile(np.array(picture.shape[1::-1]) / np.array(small.shape[1::-1]), 2)
        known = np.array([one.box for one in upright], float).reshape(-1, 4)
        for turn in TURNED.turns_deg:
            for found in self.detect_turned(self.detector, small, (turn,)):
                if found.confidence < TURNED.probe_confidence or found.landmarks is None:
                    continue
                box = np.array(found.box) * scale
                shares = compute_shares_of_smaller(box[None], known)[0]
                rivals = [
                    one.confidence
                    for one, share in zip(upright, shares, strict=True)
                    if share >= TURNED.same_place_share
                ]
                if rivals and found.confidence < max(rivals) + TURNED.clearer_confidence:
                    continue
                if self._confirm(picture, box, compute_roll(found.landmarks), found.confidence):
                    self._until[turn] = source_frame + round(TURNED.keep_s * self.frame_rate)

    def _confirm(self, picture: NDArray[np.uint8], box: Array, roll: float, confidence: float) -> bool:
        if self.score_faces is None:
            return confidence >= TURNED.alone_confidence
        return score_upright(self.score_faces, picture, [box], [roll])[0] >= TURNED.probe_face_score


def score_upright(
    score_faces: ScoreFaces, picture: NDArray[np.uint8], boxes: Sequence[Array], rolls: Sequence[float | None]
) -> list[float]:
    """The scores of boxes (4,) in a picture, each of which is turned by quarters until its face is nearly upright.

    `rolls`: how far each face leans clockwise (radians); None if that is unknown.
    """
    quarters = [0 if roll is None else round(-2 * roll / math.pi) % 4 for roll in rolls]
    scores = [0.0] * len(boxes)
    for quarter in sorted(set(quarters)):
        chosen = [i for i, one in enumerate(quarters) if one == quarter]
        turned = [turn_box(boxes[i], quarter, (picture.shape[1], picture.shape[0])) for i in chosen]
        for i, score in zip(chosen, score_faces(turn_picture(picture, quarter), turned), strict=True):
            scores[i] = score
    return scores


def turn_picture(picture: NDArray[np.uint8], quarters: int) -> NDArray[np.uint8]:
    """A picture (H x W x 3) turned clockwise by quarters."""
    return picture if quarters % 4 == 0 else np.ascontiguousarray(np.rot90(picture, -quarters))


def turn_box(box: Array, quarters: int, size: tuple[int, int]) -> Array:
    """Where a box (4,) lies when its picture of `size` (width, height) is turned clockwise by quarters."""
    x1, y1, x2, y2 = box.tolist()
    width, height = size
    turned = (
        (x1, y1, x2, y2),
        (height - y2, x1, height - y1, x2),
        (width - x2, height - y2, width - x1, height - y1),
        (y1, width - x2, y2, width - x1),
    )
    return np.array(turned[quarters % 4])
