# SPDX-License-Identifier: GPL-3.0-or-later
"""How boxes and ellipses overlap and contain each other, on arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .types import Box

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class EllipseSettings:
    """How an ellipse is fitted into a face's box, and how precisely ellipses are compared."""

    face_aspect_ratio: float = 1.3
    """Height of a face, from brow to chin, divided by its width; used for leaning faces, whose box says little about
    their shape. Raising it covers more forehead and chin of leaning faces and less of their cheeks. Origin not
    recorded."""
    upright_roll_deg: float = 10.0
    """Lean, in degrees from upright or from lying on the side, up to which a face fills its box. Raising it trusts the
    boxes of leaning faces more. Origin not recorded."""
    leaning_roll_deg: float = 30.0
    """Lean, in degrees, from which `face_aspect_ratio` alone determines the shape; at smaller angles the two are
    blended. Raising it trusts the boxes of leaning faces more. Origin not recorded."""
    least_box_share: float = 0.9
    """Share (0..1) of the box's semi-axes; an upright ellipse of that size is always contained, whatever the roll.
    Raising it covers more of a leaning face's box. Origin not recorded."""
    directions: int = 32
    """Number of directions in which two ellipses are compared when one must contain the other. Raising it is more
    precise and takes proportionally longer. Origin not recorded."""
    between_directions_ratio: float = 1.02
    """Factor on the added margin, because an ellipse can fall short by more between two of those directions. Raising it
    covers more. Origin: follows from `directions`; how it was computed is not recorded."""


ELLIPSES = EllipseSettings()


@dataclass(frozen=True, slots=True)
class FaceShapeSettings:
    """Where the face is in a detector's box: from the middle of the forehead to the chin, and from cheek to cheek.

    All detectors' boxes agree with each other (see `detectors.base.BoxShape`), and reach up to the hairline.
    """

    down: float = 0.06
    """How far the face's middle lies below the box's, along the face, in heights of the box. Raising it covers less of
    the forehead and more below the chin. Origin: read by eye from 38 enlarged faces of clips without a dense run
    (docs/measuring.md)."""
    width: float = 0.97
    """Width of the face in widths of the box. Raising it covers more beside the cheeks. Origin: see `down`."""
    height: float = 0.84
    """Height of the face in heights of the box. Raising it covers more above the forehead and below the chin. Origin:
    see `down`, and set so that no clear face of the dense runs is lost."""


FACE_SHAPE = FaceShapeSettings()

_STEEP, _FLAT = math.radians(ELLIPSES.leaning_roll_deg), math.radians(ELLIPSES.upright_roll_deg)


def compute_common_areas(first: Array, second: Array) -> Array:
    """Areas shared by every box of `first` (N x 4) and every box of `second` (M x 4): N x M."""
    sides = [
        np.minimum(first[:, None, axis + 2], second[None, :, axis + 2])
        - np.maximum(first[:, None, axis], second[None, :, axis])
        for axis in (0, 1)
    ]
    common: Array = np.maximum(sides[0], 0) * np.maximum(sides[1], 0)
    return common


def compute_paired_common_areas(first: Array, second: Array) -> Array:
    """The common area of each box and the one in the same place of the other list: N."""
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    common: Array = np.prod(np.maximum(sides, 0), axis=1)
    return common


def compute_areas(boxes: Array) -> Array:
    """Areas of N x 4 boxes, at least a tiny positive number."""
    return np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1e-9)


def compute_overlaps(first: Array, second: Array) -> Array:
    """Intersection over union: N x M."""
    common = compute_common_areas(first, second)
    return common / (compute_areas(first)[:, None] + compute_areas(second)[None, :] - common)


def compute_shares_of_smaller(first: Array, second: Array) -> Array:
    """The share of the smaller box that lies in the larger one: N x M."""
    shares: Array = compute_common_areas(first, second) / np.minimum(
        compute_areas(first)[:, None], compute_areas(second)[None, :]
    )
    return shares


def compute_centre(box: Box | Array) -> tuple[float, float]:
    return (float(box[0]) + float(box[2])) / 2, (float(box[1]) + float(box[3])) / 2


def compute_size(box: Box | Array) -> float:
    """Side of the square with the box's area."""
    return math.sqrt(max(float(box[2] - box[0]) * float(box[3] - box[1]), 1e-9))


def compute_roll(landmarks: tuple[tuple[float, float], ...]) -> float:
    """How far a face leans clockwise on the screen, in radians: the lean of the line from its mouth to its eyes.

    That line stays long when a face turns to profile, while the line between the eyes shrinks to nothing.
    """
    (ax, ay), (bx, by), _, (cx, cy), (dx, dy) = landmarks
    return math.atan2((ax + bx) - (cx + dx), (cy + dy) - (ay + by))


def fit_ellipses(boxes: Array, rolls: Array) -> Array:
    """Ellipses (N x 5: cx, cy, rx, ry, angle) of faces in axis-parallel boxes (N x 4) with rolls (N, radians).

    An upright face fills its box, and so does one that lies on its side. The box of a face that leans by 30 degrees or
    more from both says little about its shape, so its ellipse has a face's usual aspect and the box's area; in between,
    the two are blended.
    """
    half_w = (boxes[:, 2] - boxes[:, 0]) / 2
    half_h = (boxes[:, 3] - boxes[:, 1]) / 2
    cos2, sin2 = np.cos(rolls) ** 2, np.sin(rolls) ** 2
    aspect = ELLIPSES.face_aspect_ratio
    spread = np.sqrt((cos2 + aspect**2 * sin2) * (sin2 + aspect**2 * cos2))
    short = np.sqrt(half_w * half_h / spread)
    lies = np.abs(np.sin(rolls)) > np.abs(np.cos(rolls))
    nearest = np.maximum(np.abs(np.sin(rolls)), np.abs(np.cos(rolls)))
    lean = np.clip((np.arccos(np.clip(nearest, 0, 1)) - _FLAT) / (_STEEP - _FLAT), 0, 1)
    out = np.stack(
        [
            (boxes[:, 0] + boxes[:, 2]) / 2,
            (boxes[:, 1] + boxes[:, 3]) / 2,
            (1 - lean) * np.where(lies, half_h, half_w) + lean * short,
            (1 - lean) * np.where(lies, half_w, half_h) + lean * short * aspect,
            rolls,
        ],
        axis=1,
    )
    least = ELLIPSES.least_box_share
    upright = np.stack([out[:, 0], out[:, 1], least * half_w, least * half_h, np.zeros(len(out))], axis=1)
    return grow_to_contain(out, upright)


def fit_faces(boxes: Array, rolls: Array, is_upside_down: bool = False) -> Array:
    """The same for the part of detectors' boxes that the face itself fills (see `FACE_SHAPE`).

    Half a turn does not change an ellipse, so rolls may be off by that much; `is_upside_down` says which way up the
    faces are.
    """
    return reduce_to_faces(fit_ellipses(boxes, rolls), rolls, is_upside_down)


def reduce_to_faces(whole: Array, rolls: Array, is_upside_down: bool | NDArray[np.bool_] = False) -> Array:
    """`fit_faces` of the boxes whose ellipses (N x 5) `fit_ellipses` has already fitted; `is_upside_down` may differ
    from face to face (N)."""
    ellipses = whole.copy()
    down = np.where(is_upside_down, -1, 1) * FACE_SHAPE.down * 2 * ellipses[:, 3]
    ellipses[:, 0] -= down * np.sin(rolls)
    ellipses[:, 1] += down * np.cos(rolls)
    ellipses[:, 2:4] *= FACE_SHAPE.width, FACE_SHAPE.height
    return ellipses


def compute_supports(ellipses: Array, directions: Array) -> Array:
    """How far N ellipses (N x 5) reach in D directions (radians, clockwise from +x): N x D.

    This is the maximum of p . (cos, sin) over an ellipse's points p. An ellipse lies inside another if it reaches no
    farther in any direction.
    """
    supported: Array = ellipses[:, :2] @ list_units(directions) + compute_reaches(ellipses, list_units(2 * directions))
    return supported


def list_units(directions: Array) -> Array:
    """The vectors of length 1 in D directions (radians): 2 x D."""
    return np.stack([np.cos(directions), np.sin(directions)])


def compute_reaches(ellipses: Array, doubled: Array) -> Array:
    """How far N ellipses (N x 5) reach from their own centres in D directions: N x D.

    `doubled` (2 x D) are the vectors of length 1 in twice these directions. With them the squared reach, (rx cos t)^2 +
    (ry sin t)^2 with t counted from the ellipse's axis, needs no trigonometry for each pair: it is the mean of both
    squares plus half their difference times cos 2t.
    """
    across, down = ellipses[:, 2] ** 2, ellipses[:, 3] ** 2
    half = (across - down) / 2
    axis = np.stack([half * np.cos(2 * ellipses[:, 4]), half * np.sin(2 * ellipses[:, 4])], axis=1)
    squares = axis @ doubled
    squares += ((across + down) / 2)[:, None]
    # Rounding can leave an ellipse that is almost a line with a little less than nothing.
    reaches: Array = np.sqrt(np.maximum(squares, 0.0, out=squares))
    return reaches


_HALF_TURN = np.linspace(0, np.pi, ELLIPSES.directions // 2, endpoint=False)
_UNITS, _DOUBLED = list_units(_HALF_TURN), list_units(2 * _HALF_TURN)


def grow_to_contain(ellipses: Array, contained: Array) -> Array:
    """`ellipses` (N x 5), each grown by the least margin on both semi-axes that makes it contain its `contained` one.

    Growing both semi-axes by m moves the support by at least m * 2 sqrt(rx ry) / (rx + ry) in every direction.
    """
    # An ellipse reaches as far in the opposite direction, where the distance of the centres counts the other way.
    apart = np.abs((contained[:, :2] - ellipses[:, :2]) @ _UNITS)
    lack = (apart + compute_reaches(contained, _DOUBLED) - compute_reaches(ellipses, _DOUBLED)).max(axis=1)
    rx, ry = ellipses[:, 2], ellipses[:, 3]
    margin = np.clip(lack, 0, None) * (rx + ry) / (2 * np.sqrt(np.maximum(rx * ry, 1e-9)))
    # Between two directions the lack can be larger, depending on how much the shapes differ.
    margin[margin > 0] *= ELLIPSES.between_directions_ratio
    grown = ellipses.copy()
    grown[:, 2] += margin
    grown[:, 3] += margin
    return grown
