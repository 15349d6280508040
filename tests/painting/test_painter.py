# SPDX-License-Identifier: GPL-3.0-or-later
"""Covers painted into frames: where covers meet, and how little the depth of the samples matters."""

from __future__ import annotations

from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.painting.covers import Outline
from blender_faceblur.painting.formats import choose_planar, list_planes
from blender_faceblur.painting.painter import Painter

SIZE = (320, 240)
FACE_PX = 40.0


def _make_frame(pixel_format: str) -> Any:
    """Noise in blocks of eight pixels, in BT.709."""
    blocks = np.random.default_rng(5).integers(0, 256, (SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(np.repeat(np.repeat(blocks, 8, axis=0), 8, axis=1), format="rgb24")
    return frame.reformat(format=pixel_format, dst_colorspace=1, dst_color_range=1)


def _outline(x: float, y: float, radius: float) -> Outline:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return Outline(np.stack((x + radius * np.cos(angle), y + radius * np.sin(angle)), axis=1), 6.0, FACE_PX)


def _paint(pixel_format: str, kind: str, *outlines: Outline) -> list[NDArray[np.int64]]:
    """The planes of a frame with covers."""
    painted = Painter(EffectSettings(kind), FACE_PX).paint(_make_frame(pixel_format), outlines)
    return [plane.astype(np.int64) for plane in list_planes(painted, choose_planar(painted.format.name))]


def test_erase_mixes_soft_edges_once_where_covers_meet() -> None:
    """Covers are painted in windows of their own; those of covers that meet are one."""
    left, right, lower = _outline(60, 60, 25), _outline(105, 80, 25), _outline(70, 110, 20)
    far = _outline(260, 190, 30)
    once = _paint("yuv420p", "erase", left, right, lower, far)
    again = _paint("yuv420p", "erase", left, right, lower, far, lower, left, right)
    untouched = _paint("yuv420p", "erase")
    for one, other, original in zip(once, again, untouched, strict=True):
        assert (one == other).all()
        assert (one != original).any()


@pytest.mark.parametrize("kind", ["mosaic", "blur", "gaussian", "erase"])
def test_a_cover_is_the_same_in_8_and_10_bits(kind: str) -> None:
    """Samples of 8 bits are decoded as whole levels, deeper ones as floats."""
    cover = _outline(150, 100, 35)
    middle = (slice(85, 115), slice(135, 165))
    eight, ten = (_paint(pixel_format, kind, cover)[0][middle] for pixel_format in ("yuv444p", "yuv444p10le"))
    assert np.abs(eight - ten / 4).max() <= 1.5
    assert np.ptp(ten) > 8


def test_erase_draws_a_whole_cover_from_nothing() -> None:
    """Nothing is shown from which a picture that is covered completely could be filled."""
    painter = Painter(EffectSettings("erase"), FACE_PX)
    planes = []
    for turned in (False, True):
        frame = _make_frame("yuv444p")
        picture = frame.to_ndarray()
        other = av.VideoFrame.from_ndarray(255 - picture if turned else picture, format="yuv444p")
        painted = painter.paint(other, [], everything=True)
        planes.append(list_planes(painted, choose_planar(painted.format.name))[0].copy())
    assert (planes[0] == planes[1]).all()


def test_an_inverse_erase_fills_the_picture_from_the_faces_that_show() -> None:
    """Another picture around the face gives the same result: only the face is shown."""
    face = _outline(150, 100, 35)
    painter = Painter(EffectSettings("erase", inverse=True), FACE_PX)
    y, x = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    away = np.hypot(x + 0.5 - 150, y + 0.5 - 100) > 44
    planes = []
    for change in (0, 90):
        picture = _make_frame("yuv444p").to_ndarray().astype(int)
        picture[:, away] = (picture[:, away] + change) % 256
        frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="yuv444p")
        painted = painter.paint(frame, [face])
        planes.append(list_planes(painted, choose_planar(painted.format.name))[0].astype(int))
    assert np.abs(planes[0] - planes[1]).max() <= 1
