# SPDX-License-Identifier: GPL-3.0-or-later
"""One document, covered by Blender's compositor and by the direct renderer: covers and effects agree."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.blender.rendering.project import build_project
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import Ellipse, Evidence, Sample, SourceInfo, Track, TrackDocument
from blender_faceblur.painting.covers import CoverTimeline
from blender_faceblur.painting.film import FilmPainter, FilmSettings
from blender_faceblur.sources import MovieSource, open_source

from . import disks
from .astronaut import write_astronaut

FRAMES = 24
SIZE = (640, 360)
SHOWN = (1, 9, 16, 22)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The astronaut, sliding over 24 pictures, stored without loss in BT.709."""
    import cv2

    folder = tmp_path_factory.mktemp("parity")
    picture = cv2.imread(str(write_astronaut(folder, (SIZE[0] + FRAMES, SIZE[1]))))
    path = folder / "film.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=24)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        for number in range(FRAMES):
            part = np.ascontiguousarray(picture[:, number : number + SIZE[0]])
            frame = av.VideoFrame.from_ndarray(part, format="bgr24")
            container.mux(stream.encode(frame.reformat(format="yuv444p", dst_colorspace=1, dst_color_range=1)))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def document(film: Path) -> TrackDocument:
    """Two faces of one width on curved ways, one of them turning, one absent for a while and partly outside."""
    with open_source(film) as source:
        info: SourceInfo = source.info
    first = [
        Sample(f, Ellipse(250 + 40 * math.sin(f / 5), 150 + f, 60, 75, f / 12), Evidence.DETECTED, 1.0)
        for f in range(FRAMES)
    ]
    second = [
        Sample(f, Ellipse(600 + 3 * f, 60 - f, 60, 70), Evidence.DETECTED, 1.0) for f in (*range(4, 10), *range(14, 23))
    ]
    tracks = [Track("Face 01", first), Track("Face 02", second)]
    return TrackDocument(info, "balanced", 1.4, [], [], tracks, [])


def paint(film: Path, document: TrackDocument, effect: EffectSettings) -> list[NDArray[np.uint8]]:
    with open_source(film) as source:
        assert isinstance(source, MovieSource)
        painter = FilmPainter(source, film, CoverTimeline(document), FilmSettings(effect))
        frames = [
            painter.cover(frame, moment).to_ndarray(format="rgb24") for _, frame, moment in painter.walk_pictures()
        ]
    return [np.asarray(frame) for frame in frames]


def is_covered(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a picture has the colour FF00FF and nothing else: soft edges do not count, which Blender mixes in linear
    light."""
    return np.asarray(np.abs(picture.astype(int) - (255, 0, 255)).max(axis=2) <= 8)


@pytest.fixture(scope="module")
def shapes(film: Path, document: TrackDocument) -> list[NDArray[np.bool_]]:
    """Where the direct renderer covers each picture completely."""
    return [is_covered(picture) for picture in paint(film, document, EffectSettings("solid", "FF00FF"))]


def measure_coverage(covered: NDArray[np.uint8], plain: NDArray[np.uint8], is_linear: bool) -> NDArray[np.float64]:
    """The opacity of a cover in FF00FF, from the green that is left; not a number where the picture is too dark."""
    left, whole = covered[..., 1] / 255, plain[..., 1] / 255
    if is_linear:
        left, whole = left**2.2, whole**2.2
    return np.where(plain[..., 1] > 60, 1 - left / np.maximum(whole, 1e-6), np.nan)


def test_covers_agree_within_a_pixel(film: Path, document: TrackDocument, tmp_path: Path) -> None:
    """The line of half opacity, which Blender mixes in linear light and the direct renderer in the film's own codes."""
    import cv2

    effect = EffectSettings("solid", "FF00FF")
    scene = build_project(film, document, effect)
    with open_source(film) as source:
        plain = [picture[..., ::-1].copy() for _, picture in source.read_frames()]
    kernel, compared = np.ones((3, 3), np.uint8), 0
    for frame, painted in enumerate(paint(film, document, effect)):
        rendered = disks.render_frame(scene, 1 + frame, tmp_path / "frame.png")
        theirs = measure_coverage(rendered, plain[frame], True)
        ours = measure_coverage(painted, plain[frame], False)
        known = ~np.isnan(ours)
        # Blender 5.0.1 does not compute the last pixel of its buffer.
        known[0, -1] = False
        for mine, other, who in ((ours, theirs, "Blender covers less"), (theirs, ours, "Blender covers more")):
            inside = cv2.erode((np.nan_to_num(mine, nan=0) > 0.5).astype(np.uint8), kernel, borderValue=0).astype(bool)
            assert not (inside & known & (other < 0.5)).any(), f"{frame}: {who}"
            compared += int((inside & known).sum())
    assert compared > 100_000


@pytest.mark.parametrize("kind", ["solid", "mosaic", "blur", "gaussian", "erase"])
def test_effects_agree_within_three_levels(
    kind: str, film: Path, document: TrackDocument, shapes: list[NDArray[np.bool_]], tmp_path: Path
) -> None:
    effect = EffectSettings(kind, "3060C0")
    scene = build_project(film, document, effect)
    painted = paint(film, document, effect)
    for frame in SHOWN:
        rendered = disks.render_frame(scene, 1 + frame, tmp_path / "frame.png").astype(float)
        difference = np.abs(rendered - painted[frame])
        assert difference[shapes[frame]].mean() < 3, (frame, difference[shapes[frame]].mean())
        assert difference.mean() < 3
