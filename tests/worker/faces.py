# SPDX-License-Identifier: GPL-3.0-or-later
"""Films of one drawn face at a time, analysed with embeddings."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from blender_faceblur.core.people.similarity import RECOGNIZER
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files.paths import get_model_path
from blender_faceblur.worker.client import AnalysisOptions, build_request, run_job
from blender_faceblur.worker.protocol import Message, Result


def write_face(path: Path, frame_count: int, rate: int, place: Callable[[int], tuple[int, float]]) -> Path:
    """`place` returns a frame's face and its horizontal position. Skips the test if weights are missing."""
    try:
        get_model_path(RECOGNIZER)
        get_model_path("centerface")
    except FaceBlurError as error:
        pytest.skip(str(error))
    from tools.film import DrawnPicture, Placement, draw_picture, write_film

    drawn = (
        draw_picture(DrawnPicture([Placement(*place(n), 0.5, 0.35)], []), n / frame_count, 640, 360)
        for n in range(frame_count)
    )
    write_film(path, drawn, width=640, height=360, frame_rate=Fraction(rate), frame_count=frame_count, crf=18)
    return path


def analyse(film: Path) -> tuple[Path, list[Message]]:
    """The tracks document, and the messages of its analysis."""
    tracks = film.with_name("tracks.json")
    messages = list(run_job(build_request(film, tracks, AnalysisOptions(recognise=True))))
    assert isinstance(messages[-1], Result), messages[-1]
    return tracks, messages
