# SPDX-License-Identifier: GPL-3.0-or-later
"""The map of the text network becomes boxes; with its weights, drawn lines of text are found."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.types import FaceBlurError, TrackKind
from blender_faceblur.detectors import get_detector
from blender_faceblur.detectors.ppocr_text import TEXT_LINES, PpOcrText, decode
from blender_faceblur.files.paths import get_model_path

WORDS = (("Jane Doe", (60, 120)), ("12 Long Lane", (300, 250)), ("CALL ME", (80, 420)))


def test_it_is_a_detector_of_text() -> None:
    assert get_detector("ppocr_text") is PpOcrText and PpOcrText.finds is TrackKind.TEXT


def test_an_area_becomes_an_enlarged_box() -> None:
    heat = np.zeros((64, 128), np.float32)
    heat[20:30, 40:80] = 0.9
    # Faint and tiny areas are no lines.
    heat[50:60, 10:30] = 0.4
    heat[5:7, 100:120] = 1.0
    (line,) = decode(heat, 0.5)
    grown = TEXT_LINES.enlargement * 40 * 10 / (2 * (40 + 10))
    assert line.box == pytest.approx((40 - grown, 20 - grown, 80 + grown, 30 + grown))
    assert line.confidence == pytest.approx(0.9) and line.detector == "ppocr_text"
    assert len(decode(heat, 0.3)) == 2 and decode(np.zeros((8, 8), np.float32), 0.1) == []


def test_a_picture_of_noise_gives_a_limited_number_of_lines() -> None:
    heat = np.zeros((400, 400), np.float32)
    heat[::8, :] = 0
    for y in range(0, 396, 8):
        for x in range(0, 396, 8):
            heat[y : y + 4, x : x + 4] = 0.9
    assert len(decode(heat, 0.5)) == TEXT_LINES.most_lines


def draw_words() -> NDArray[np.uint8]:
    picture = np.full((480, 640, 3), 210, np.uint8)
    for word, place in WORDS:
        cv2.putText(picture, word, place, cv2.FONT_HERSHEY_SIMPLEX, 1.2, (30, 30, 30), 3, cv2.LINE_AA)
    return picture


def test_with_the_weights_drawn_words_are_covered_by_boxes() -> None:
    try:
        model = get_model_path("ppocr_text")
    except FaceBlurError as missing:
        pytest.skip(str(missing))
    picture = draw_words()
    found = PpOcrText(model, 0.5, "cpu").detect(picture)
    covered = np.zeros(picture.shape[:2], bool)
    for line in found:
        x1, y1, x2, y2 = (max(0, round(value)) for value in line.box)
        covered[y1:y2, x1:x2] = True
    ink = picture[:, :, 0] < 120
    assert len(found) >= len(WORDS) and covered[ink].mean() > 0.99
    assert covered.mean() < 0.25
