# SPDX-License-Identifier: GPL-3.0-or-later
"""Mattes show exactly what the painted covers cover, frame by frame, in each format."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, SourceInfo, Track, TrackDocument
from blender_faceblur.painting.covers import CoverTimeline, Moment
from blender_faceblur.painting.mattes import (
    list_coverages,
    write_matte_film,
    write_matte_picture,
    write_matte_pictures,
)
from blender_faceblur.painting.painter import Painter

WIDTH, HEIGHT, FRAMES = 131, 75, 9
"""Odd, so that no format may round the size."""


@pytest.fixture
def document() -> TrackDocument:
    """A turned face that moves, and frames at the end that were not analysed."""
    info = SourceInfo("a.mp4", "movie", WIDTH, HEIGHT, FRAMES, Fraction(24000, 1001), "ab", Fraction(4, 3))
    samples = [Sample(n, Ellipse(40 + 5 * n, 35, 12, 17, 0.4), Evidence.DETECTED, 0.9) for n in range(1, 7)]
    return TrackDocument(info, "fast", 1.4, [], [], [Track("Face 01", samples)], [], analysed=[(0, 8)])


def test_a_matte_is_white_where_the_painter_covers(document: TrackDocument) -> None:
    import av

    painter, timeline = Painter(EffectSettings("solid", "FFFFFF"), 20.0), CoverTimeline(document)
    for number, coverage in enumerate(list_coverages(document)):
        moment = Moment((number,), number)
        black = av.VideoFrame.from_ndarray(np.zeros((HEIGHT, WIDTH), np.uint8), format="gray")
        painted = painter.paint(black, timeline.list_outlines(moment), timeline.covers_everything(moment))
        np.testing.assert_array_equal(painted.to_ndarray(format="gray"), coverage)
    assert coverage.min() == 255, "the frame that was not analysed is covered completely"


@pytest.mark.parametrize(("ending", "codec"), [(".mkv", "ffv1"), (".mov", "prores")])
def test_a_film_of_mattes_has_each_frame_at_its_time(
    document: TrackDocument, tmp_path: Path, ending: str, codec: str
) -> None:
    import av

    path, done = tmp_path / f"matte{ending}", list[int]()
    write_matte_film(document, path, done.append)
    assert done == list(range(1, FRAMES + 1))
    coverages = list(list_coverages(document))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == codec
        # FFmpeg writes no pixel aspect for FFV1 in Matroska.
        assert stream.sample_aspect_ratio == (Fraction(4, 3) if ending == ".mov" else None)
        frames = list(container.decode(stream))
    assert [frame.time for frame in frames] == pytest.approx([n * 1001 / 24000 for n in range(FRAMES)], abs=6e-4)
    for frame, coverage in zip(frames, coverages, strict=True):
        assert (frame.width, frame.height) == (WIDTH, HEIGHT)
        if ending == ".mkv":
            np.testing.assert_array_equal(frame.to_ndarray(format="bgra"), np.repeat(coverage[..., None], 4, 2))
            continue
        alpha, luma = (
            np.frombuffer(frame.planes[n], "<u2").reshape(frame.planes[n].height, -1)[:, :WIDTH] for n in (3, 0)
        )
        most = (1 << frame.format.components[3].bits) - 1
        assert (alpha[coverage == 255] == most).all() and (alpha[coverage == 0] == 0).all()
        assert np.abs(alpha / most - coverage / 255).max() < 1 / 1023
        # Grey is compressed, and has the limited range.
        assert np.abs(luma / (most + 1) - (16 + 219 * (coverage / 255)) / 256).mean() < 0.01


def test_pictures_of_mattes_are_numbered_from_one(document: TrackDocument, tmp_path: Path) -> None:
    import cv2

    write_matte_pictures(document, tmp_path / "new" / "a", "a", lambda done: None)
    paths = sorted((tmp_path / "new" / "a").iterdir())
    assert [path.name for path in paths] == [f"a.{n:06}.png" for n in range(1, FRAMES + 1)]
    for path, coverage in zip(paths, list_coverages(document), strict=True):
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), coverage)


def test_a_matte_that_cannot_be_written_is_reported(document: TrackDocument, tmp_path: Path) -> None:
    with pytest.raises(FaceBlurError, match="cannot be written"):
        write_matte_film(document, tmp_path / "missing" / "a.mkv", lambda done: None)
    with pytest.raises(FaceBlurError, match="cannot be written"):
        write_matte_picture(next(list_coverages(document)), tmp_path / "missing" / "a.png")
