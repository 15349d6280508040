# SPDX-License-Identifier: GPL-3.0-or-later
"""The covers of a document as animated ellipses, which the masks of other programs are made from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..core.cover.layers import plan_layers
from ..core.geometry import Array
from ..core.types import Ellipse, FaceBlurError, TrackDocument

ABSENT_WIDTHS = 10.0
"""How far to the left of the picture a mask waits that covers nothing, in picture widths."""

EDGE_PX = 2.0
"""How much larger the masks are than the curves of our covers, in pixels. A cover fills each pixel that its curve only
touches (whose centre is up to 0.71 pixels beyond) and, where it has a soft edge, the pixel after it. Raising it covers
more. Origin: on five films 1.8 left 25 of 5,974,715 covered pixels outside of the masks, 2.0 none."""

POLYGON_SHARE = 0.0025
"""The same as a share of the radius: covers are painted as polygons around their curves (0.22 %), and a Bezier curve
with four points reaches 0.03 % beyond the ellipse."""


@dataclass(frozen=True, slots=True)
class MaskKeys:
    """The keys of one mask: an ellipse at each frame, or None where it covers nothing. Between keys it is linear."""

    name: str
    keys: dict[int, Ellipse | None]

    def list_placed(self, width: int) -> list[tuple[int, Ellipse, bool]]:
        """Frame, ellipse and whether the mask is present. An absent one keeps its last shape, to the left of a picture
        that is `width` pixels wide, and its angle follows that of the key before by the shorter way."""
        shape = next((one for one in self.keys.values() if one is not None), Ellipse(0.0, 0.0, 1.0, 1.0))
        angle, placed = shape.angle, []
        for frame, ellipse in self.keys.items():
            shape = ellipse or shape
            # Half a turn leaves an ellipse unchanged, but not the shapes between two keys.
            angle += math.remainder(shape.angle - angle, math.pi)
            x = shape.cx if ellipse is not None else -ABSENT_WIDTHS * width
            placed.append((frame, Ellipse(x, shape.cy, shape.rx, shape.ry, angle), ellipse is not None))
        return placed


def list_masks(document: TrackDocument, program: str, spare_frames: int) -> list[MaskKeys]:
    """The masks of a document: one for each track that is covered somewhere, and one for what was not analysed.

    Each contains its cover, and covers `spare_frames` longer at each end of its spans. Frames count from 0, as those of
    a whole clip. Where nothing is covered there is still a mask to connect, since an effect without one works on all
    pixels.

    Raises FaceBlurError if the film's pixels are not square: masks of `program` would be turned in another shape of
    pixels than ours.
    """
    source = document.source
    if source.pixel_aspect != 1:
        raise FaceBlurError(
            f"{source.file_name}: masks for {program} need square pixels. Save mattes (--save-mattes) instead."
        )
    masks = []
    for layer in plan_layers(document):
        frames = [frame for span in layer.spans for frame in range(*span)]
        shapes = dict(zip(frames, _list_shapes(layer.frames, layer.points, frames), strict=True)) if frames else {}
        masks.append(MaskKeys(layer.track, _list_keys(list(layer.spans), shapes, source.frame_count, spare_frames)))
    reach = 2.0 * max(source.width, source.height)
    everything = Ellipse(source.width / 2, source.height / 2, reach, reach)
    unanalysed = document.list_unanalysed_spans()
    shapes = {frame: everything for start, stop in unanalysed for frame in range(start, stop)}
    masks.append(MaskKeys("Not analysed", _list_keys(unanalysed, shapes, source.frame_count, spare_frames)))
    return [mask for mask in masks if mask.keys] or [MaskKeys("Nothing is covered", {0: None})]


def _list_shapes(key_frames: tuple[int, ...], points: Array, frames: list[int]) -> list[Ellipse]:
    """The ellipses of a cover at `frames`, grown to hold the pixels that it touches.

    `points`: the control points of its keys (K x 12 x 2), which move linearly. They are an affine image of those of a
    circle, so the shape between two keys is an ellipse too.
    """
    keyed = np.concatenate((points[:, ::3].mean(axis=1), points[:, 0], points[:, 3]), axis=1)
    moved = np.stack([np.interp(frames, key_frames, column) for column in keyed.T], axis=1)
    centres = moved[:, :2]
    # Two conjugate half diameters; the axes of the ellipse are the singular vectors of their matrix.
    matrices = np.stack((moved[:, 2:4] - centres, moved[:, 4:6] - centres), axis=2)
    vectors, radii, _ = np.linalg.svd(matrices)
    angles = np.arctan2(vectors[:, 1, 0], vectors[:, 0, 0])
    shapes, before = [], 0.0
    for (x, y), (long, short), angle in zip(centres.tolist(), _grow(radii).tolist(), angles.tolist(), strict=True):
        turned = angle + math.pi / 2
        # The axes of a face that is nearly round change places: the nearer naming turns least between two keys.
        if abs(math.remainder(turned - before, math.pi)) < abs(math.remainder(angle - before, math.pi)):
            shapes.append(Ellipse(x, y, short, long, turned))
        else:
            shapes.append(Ellipse(x, y, long, short, angle))
        before = shapes[-1].angle
    return shapes


def _grow(radii: Array) -> Array:
    """Semi-axes (N x 2) of ellipses that contain everything within `EDGE_PX` and `POLYGON_SHARE` of those given.

    An ellipse with both axes longer by a distance does not contain all within that distance. That of the support
    h^2 (1 + s) + d^2 (1 + 1 / s) does, for any s, since it is never less than (h + d)^2. It is tightest near s = d / h.
    """
    grown = radii * (1 + POLYGON_SHARE)
    share = EDGE_PX / np.maximum(np.sqrt(grown.prod(axis=1, keepdims=True)), 1e-6)
    return np.asarray(np.sqrt(grown**2 * (1 + share) + EDGE_PX**2 * (1 + 1 / share)))


def _list_keys(
    spans: list[tuple[int, int]], shapes: dict[int, Ellipse], frame_count: int, spare_frames: int
) -> dict[int, Ellipse | None]:
    """A key for each frame of the spans and `spare_frames` around them, and one for its absence beyond these.

    At the first and last frame of the film nothing ends: players may show a moment more.
    """
    keys: dict[int, Ellipse | None] = {}
    for start, stop in spans:
        for frame in range(start, stop):
            keys[frame] = shapes[frame]
    for start, stop in spans:
        for spare in range(1, spare_frames + 1):
            keys.setdefault(start - spare, shapes[start])
            keys.setdefault(stop - 1 + spare, shapes[stop - 1])
    for start, stop in spans:
        if start > 0:
            keys.setdefault(start - 1 - spare_frames, None)
        if stop < frame_count:
            keys.setdefault(stop + spare_frames, None)
    return dict(sorted(keys.items()))
