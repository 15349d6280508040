# SPDX-License-Identifier: GPL-3.0-or-later
"""A film that was shot upside down, or with the telephone on its side: its faces are covered from their first frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from blender_faceblur.core.detection.settings import get_preset
from blender_faceblur.core.detection.turned import turn_box, turn_picture
from blender_faceblur.core.tracking.analysis import analyse_frames, build_document, compute_stride
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.types import FaceBlurError, SourceInfo, TrackDocument
from blender_faceblur.detectors.passes import combine_passes, make_turned
from blender_faceblur.worker.ensemble import choose_usable, list_used, open_opinion, open_sessions

SIZE, RATE, COUNT, COMES = (640, 360), 25, 50, 10
FACE = np.array([178.0, 72, 268, 188])
"""From brow to chin and from cheek to cheek, in pixels of scikit-image's astronaut."""


def place_face(frame: int) -> tuple[int, int]:
    """Where the upper left corner of the astronaut's head lies, who comes into the picture at `COMES`."""
    return 60 + 3 * frame, 90


def make_frames(quarters: int, blur_px: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    head = np.ascontiguousarray(data.astronaut()[0:240, 120:320, ::-1])
    for frame in range(COUNT):
        picture = np.full((SIZE[1], SIZE[0], 3), (110, 120, 100), np.uint8)
        if frame >= COMES:
            x, y = place_face(frame)
            picture[y : y + 240, x : x + 200] = head
        picture = np.asarray(cv2.blur(picture, (blur_px, 1)), np.uint8)
        yield frame, turn_picture(picture, quarters)


def analyse(preset_name: str, quarters: int, blur_px: int = 1, seeks: bool = True) -> TrackDocument:
    preset = get_preset(preset_name)
    try:
        uses, _ = choose_usable(preset)
        opinion = open_opinion(preset)
    except FaceBlurError as error:
        pytest.skip(str(error))
    if preset.second_opinion and opinion is None:
        pytest.skip("the weights of the second opinion are missing")
    size = SIZE if quarters % 2 == 0 else SIZE[::-1]
    info = SourceInfo("film.mp4", "movie", *size, COUNT, Fraction(RATE), "0" * 64)
    table = ObservationTable([Segment(0, COUNT)])
    with ExitStack() as opened:
        sessions = open_sessions(opened, uses, "cpu")
        for record in analyse_frames(
            make_frames(quarters, blur_px),
            size,
            RATE,
            combine_passes([(sessions[use.detector], use) for use in uses], size),
            preset.strong_confidence,
            0,
            compute_stride(preset.detect_every_s, RATE),
            opinion.score_faces if opinion is not None else None,
            make_turned(sessions) if seeks else None,
        ):
            table.add(0, record)
    return build_document(table, info, preset, 1.4, list_used(uses, info), [])


def list_uncovered(document: TrackDocument, quarters: int) -> list[int]:
    """The frames in which an eighth of the face's box (its corners left out) lies in no cover."""
    uncovered = []
    for frame in range(COMES, COUNT):
        x, y = place_face(frame)
        box = turn_box(FACE - np.tile((120, 0), 2) + np.tile((x, y), 2), quarters, SIZE)
        across, down = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
        inside = np.hypot(across, down) <= 1
        points = np.stack([across[inside], down[inside]], axis=1) * (box[2:] - box[:2]) / 2 + (box[:2] + box[2:]) / 2
        covered = np.zeros(len(points), np.bool_)
        for track in document.tracks:
            for ellipse in (s.ellipse.scaled(document.margin) for s in track.samples if s.source_frame == frame):
                c, s = np.cos(ellipse.angle), np.sin(ellipse.angle)
                along = (points - (ellipse.cx, ellipse.cy)) @ np.array([[c, -s], [s, c]])
                covered |= np.hypot(*(along / (ellipse.rx, ellipse.ry)).T) <= 1
        if covered.mean() < 7 / 8:
            uncovered.append(frame)
    return uncovered


@pytest.mark.parametrize("blur_px", [1, 25])
@pytest.mark.parametrize("preset", ["fast", "balanced"])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_face_is_covered_however_the_film_was_turned(preset: str, quarters: int, blur_px: int) -> None:
    document = analyse(preset, quarters, blur_px)
    assert list_uncovered(document, quarters) == []
    assert len(document.tracks) == 1


@pytest.mark.parametrize(("preset", "quarters", "blur_px"), [("balanced", 2, 25), ("balanced", 1, 25), ("fast", 1, 1)])
def test_it_would_be_missed_without_looks_at_turned_pictures(preset: str, quarters: int, blur_px: int) -> None:
    assert len(list_uncovered(analyse(preset, quarters, blur_px, seeks=False), quarters)) > 20
