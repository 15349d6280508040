# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that detectors see only in a larger picture: those of a few pixels, and those that are half hidden.

A look at the enlarged picture now and then finds them; then they are followed there, in small windows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array, compute_areas, compute_centre, compute_roll, compute_shares_of_smaller, compute_size
from ..types import Detection
from .picture_sizes import round_to_stride
from .turned import ScoreFaces, score_upright
from .windows import choose_windows, is_cut_off, map_to_picture

Detect = Callable[[NDArray[np.uint8]], list[Detection]]


@dataclass(frozen=True, slots=True)
class EnlargedSettings:
    """How often the enlarged picture is searched, and what counts as a face there."""

    look_every_s: float = 2.0
    """Seconds between two looks at the whole picture; new shots get one too. Raising it saves time, and lets a face
    that comes in just after a look be covered later: optical flow carries it back for no longer than
    `TrackingSettings.carry_back_s`. Origin: with 1, looks took a quarter of the time of the analysis of 1080p."""
    enlargement: int = 2
    """How many times larger the picture is. Raising it finds smaller faces and takes time with its square. Origin: of
    20 faces of which only forehead and half of the eyes are visible YuNet finds 0 in the picture as it is, 5 in one 1.5
    times and 11 in one twice as large; of faces of 14 pixels it finds nearly all in the last one only."""
    look_confidence: float = 0.3
    """Confidence (0..1) that a look needs. Raising it finds fewer half-hidden faces. Origin: with `look_face_score`,
    looks at 39 clips without such faces, in which they take a drawn face, a hand and a table's edge for faces."""
    look_face_score: float = 0.5
    """The face score (0..1; see `detectors.onet`) that a look needs too. Raising it finds fewer half-hidden faces;
    lowering it covers more that is no face. Origin: see `look_confidence`."""
    largest_share: float = 0.12
    """Size of a face, as a share of the picture's longer side, up to which it is sought: the detectors see larger ones
    in the picture as it is. Raising it covers more that is no face. Origin: the half-hidden faces for which the
    enlargement was chosen have 0.08; what looks at clips found in vain had 0.15 to 0.4 in half of the cases."""
    keep_confidence: float = 0.25
    """Confidence (0..1) from which a face that a look found is found again. Raising it loses half-hidden faces sooner.
    Origin: the threshold of the detectors of the preset balanced."""
    keep_s: float = 4.0
    """Seconds for which a face is followed in the enlarged picture after a look last confirmed it. Raising it takes
    time, and bridges looks that do not confirm it. Origin: two looks."""
    same_place_share: float = 0.3
    """Share (0..1) of the smaller of two boxes within the other, from which both show one face. Raising it follows
    faces that are found in the picture as it is. Origin: that of `TurnedSettings.same_place_share`."""
    same_size_ratio: float = 3.0
    """How many times larger a weak detection in the picture as it is may be to be that face: small faces lie in things
    that look weakly like a large one. Raising it leaves small faces uncovered; lowering it follows parts of faces.
    Origin: a guess; the boxes that hid a face of 26 pixels on coloured noise are 5 times as large and more."""
    same_size_confidence: float = 0.5
    """Confidence (0..1) from which the larger one is a face, of which the smaller one is a part. Raising it follows
    parts of faces. Origin: the confidence from which a detection of the preset balanced can start a track."""
    near_sizes: float = 0.75
    """Greatest distance, in sizes of the face, between where it was found and where it is found again. Raising it
    follows faster faces. Origin: that of `TrackingSettings.near_sizes`."""
    part_px: int = 1088
    """Longest side, in pixels of the enlarged picture, that is searched at once; a larger picture is searched in parts
    that overlap by the largest face that is sought. Raising it takes memory, and a little less time. Origin: two parts
    of a picture of 1920 x 1088 overlap by 256, 26 more than that face."""


ENLARGED = EnlargedSettings()


@dataclass(slots=True)
class _Followed:
    """A face that only the enlarged picture shows: where, in shares of the picture (4,), and until which frame."""

    box: Array
    until: int


@dataclass(slots=True)
class EnlargedSearch:
    """Finds and follows faces in enlarged pictures. Frame numbers must ascend; all boxes are in pixels of `picture`."""

    detect: Detect
    score_faces: ScoreFaces
    frame_rate: float
    _followed: list[_Followed] = field(default_factory=list)

    def is_due(self, source_frame: int, stride: int) -> bool:
        """Whether a frame gets a look, if the detectors run on multiples of `stride`."""
        every = max(1, round(ENLARGED.look_every_s * self.frame_rate / stride)) * stride
        return source_frame % every == 0

    def is_following(self, source_frame: int) -> bool:
        """Whether faces must be followed in this frame."""
        self._followed = [one for one in self._followed if source_frame <= one.until]
        return bool(self._followed)

    def forget(self) -> None:
        """Follow nothing any more: a new shot begins."""
        self._followed.clear()

    def search(
        self, source_frame: int, picture: NDArray[np.uint8], known: Sequence[tuple[Array, float]], *, is_look: bool
    ) -> list[Detection]:
        """Faces in a picture (BGR) that are not among the `known` boxes (4,), each with its confidence: those that are
        followed, where they are now, and, if `is_look`, others in the whole picture that the other network confirms."""
        scale = np.tile(picture.shape[1::-1], 2)
        most = ENLARGED.largest_share * max(picture.shape[:2])
        places = [one.box * scale for one in self._followed]
        found = [
            one
            for one in _leave_out(_search(self.detect, picture, [] if is_look else places), known)
            if one.confidence >= ENLARGED.keep_confidence and compute_size(one.box) <= most
        ]
        near = [self._find_near(np.array(one.box), scale) for one in found]
        confirmed = self._confirm(found, picture) if is_look else [False] * len(found)
        until = source_frame + round(ENLARGED.keep_s * self.frame_rate)
        faces = []
        for one, before, sure in zip(found, near, confirmed, strict=True):
            if before is None and not (sure and one.confidence >= ENLARGED.look_confidence):
                continue
            faces.append(one)
            if before is None:
                self._followed.append(_Followed(np.array(one.box) / scale, until))
            else:
                before.box, before.until = np.array(one.box) / scale, until if sure else before.until
        return faces

    def _confirm(self, found: list[Detection], picture: NDArray[np.uint8]) -> list[bool]:
        """Whether the other network takes these for faces too."""
        rolls = [None if one.landmarks is None else compute_roll(one.landmarks) for one in found]
        scores = score_upright(self.score_faces, picture, [np.array(one.box) for one in found], rolls)
        return [score >= ENLARGED.look_face_score for score in scores]

    def _find_near(self, box: Array, scale: Array) -> _Followed | None:
        """The face that is followed at this box or so near that it may have moved there."""
        middle = compute_centre(box)
        for one in self._followed:
            place = one.box * scale
            way = np.subtract(middle, compute_centre(place))
            if np.hypot(*way) <= ENLARGED.near_sizes * compute_size(place):
                return one
        return None


def _leave_out(found: list[Detection], known: Sequence[tuple[Array, float]]) -> list[Detection]:
    """The detections that lie at none of the `known` boxes (4,) with their confidences."""
    if not found or not known:
        return found
    boxes, others = np.array([one.box for one in found]), np.array([box for box, _ in known], float)
    is_sure = np.array([confidence >= ENLARGED.same_size_confidence for _, confidence in known])
    ratios = np.sqrt(compute_areas(others)[None, :] / compute_areas(boxes)[:, None])
    is_same = (compute_shares_of_smaller(boxes, others) >= ENLARGED.same_place_share) & (
        is_sure | (ratios <= ENLARGED.same_size_ratio)
    )
    return [one for one, is_known in zip(found, is_same.any(axis=1).tolist(), strict=True) if not is_known]


def _search(detect: Detect, picture: NDArray[np.uint8], places: Sequence[Array]) -> list[Detection]:
    """What a detector finds in an enlarged picture; with `places` (boxes) only around these, if that takes less
    time."""
    factor = ENLARGED.enlargement
    size = picture.shape[1] * factor, picture.shape[0] * factor
    windows = choose_windows([factor * place for place in places], size)
    if windows:
        parts = [((x, y, x + side, y + side), (x, y, x + side, y + side)) for x, y, side in windows]
    else:
        largest = ENLARGED.largest_share * max(size)
        parts = [
            ((left, top, right, bottom), (own_left, own_top, own_right, own_bottom))
            for (top, bottom), (own_top, own_bottom) in split_length(size[1], largest)
            for (left, right), (own_left, own_right) in split_length(size[0], largest)
        ]
    found = []
    for part, own in parts:
        placed = [map_to_picture(one, part[0], part[1]) for one in detect(_enlarge(picture, part))]
        found += [one for one in placed if _is_own(one, own, size) and not is_cut_off(one.box, part, size)]
    return [map_to_picture(one, 0, 0, factor) for one in found]


def split_length(length: int, overlap: float) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Half-open ranges over 0..length, none longer than `ENLARGED.part_px`, that share `overlap`, or up to
    a stride less if there are more than two.

    The second range of each pair reaches to the middle of what two share: a face belongs to the part in whose second
    range its centre lies.
    """
    if length <= ENLARGED.part_px:
        return [((0, length), (0, length))]
    count = math.ceil((length - overlap) / (ENLARGED.part_px - overlap))
    # Multiples of the networks' stride, so that they see the same as in the whole picture.
    side = round_to_stride((length + (count - 1) * overlap) / count, math.ceil)
    starts = [round_to_stride((length - side) * i / (count - 1), math.floor) for i in range(count)]
    stops = [*(start + side for start in starts[:-1]), length]
    middles = [0, *((start + stop) // 2 for start, stop in zip(starts[1:], stops[:-1], strict=True)), length]
    return list(zip(zip(starts, stops, strict=True), itertools.pairwise(middles), strict=True))


def _is_own(found: Detection, own: tuple[int, int, int, int], size: tuple[int, int]) -> bool:
    """Whether a detection's centre lies in a part, or beyond an edge of the picture of `size` that is the part's."""
    inside = [
        (own[axis] == 0 or own[axis] <= centre) and (own[axis + 2] == size[axis] or centre < own[axis + 2])
        for axis, centre in enumerate(compute_centre(np.array(found.box)))
    ]
    return all(inside)


def _enlarge(picture: NDArray[np.uint8], part: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A part (left, top, right, bottom) of the enlarged picture; the whole of it would take tens of megabytes."""
    import cv2

    factor = ENLARGED.enlargement
    # One more pixel on each side, since pixels between two are made of both.
    left, top = (max(edge // factor - 1, 0) for edge in part[:2])
    right, bottom = (-(-edge // factor) + 1 for edge in part[2:])
    near = picture[top:bottom, left:right]
    size = near.shape[1] * factor, near.shape[0] * factor
    large = np.asarray(cv2.resize(near, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    x, y = part[0] - left * factor, part[1] - top * factor
    return large[y : y + part[3] - part[1], x : x + part[2] - part[0]]
