# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of painting ends at the number of pictures that are painted, whatever the film's frame rate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.document.tracks_file import write_document
from blender_faceblur.core.types import TrackDocument
from blender_faceblur.painting.outlines import COVERED, write_outlines
from blender_faceblur.sources import open_source
from blender_faceblur.worker.painting import paint
from blender_faceblur.worker.protocol import PaintRequest, Progress, SourceRef, Started

SPARSE = [*range(10), *range(30, 40)]
"""20 pictures in 40 frames: nothing is shown anew for 20 of them."""


def _write_film(path: Path) -> Path:
    base = Fraction(1, 24)
    with av.open(str(path), "w") as film:
        stream: Any = film.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.time_base = stream.codec_context.time_base = base
        for time in SPARSE:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * time, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, base
            film.mux(stream.encode(frame))
        film.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("per_frame", [False, True])
def test_a_film_of_variable_rate_ends_at_its_number_of_pictures(per_frame: bool, tmp_path: Path) -> None:
    path = _write_film(tmp_path / "sparse.mp4")
    with open_source(path) as source:
        info = source.info
    assert info.frame_count == 40
    write_document(TrackDocument(info, "balanced", 1.4, [], [], [], []), tmp_path / "tracks.json")
    write_outlines(tmp_path / "outlines.npz", [COVERED] * 40)
    request = PaintRequest(
        SourceRef.of(path),
        "" if per_frame else str(tmp_path / "tracks.json"),
        str(tmp_path / "out.json"),
        EffectSettings("solid"),
        folder=str(tmp_path / "pieces"),
        outlines=str(tmp_path / "outlines.npz") if per_frame else "",
        film=str(tmp_path / "film") if per_frame else "",
        face_px=10.0,
    )
    sent: list[Any] = []
    paint(request, sent.append)
    pictures = 40 if per_frame else 20
    steps = [message for message in sent if isinstance(message, Progress)]
    assert [message.frames for message in sent if isinstance(message, Started)] == [pictures]
    assert {step.total for step in steps} == {pictures} and steps[-1].done == pictures
