# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of number plates reads the three formats of published data sets, and counts covered plates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.plates import Tally, count_cover, read_set
from blender_faceblur.core.types import FaceBlurError


def test_boxes_are_read_from_text_files(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("one.jpg\t10\t20\t30\t8\tAB 123\n", encoding="utf-8")
    ((path, (corners,)),) = read_set(tmp_path)
    assert path == tmp_path / "one.jpg" and corners.tolist() == [[10, 20], [40, 20], [40, 28], [10, 28]]


def test_corners_are_read_from_the_name_of_the_picture(tmp_path: Path) -> None:
    name = "025-95_113-154&383_386&473-386&473_177&454_154&383_363&402-0_0_22_27_27_33_16-37-15.jpg"
    try:
        (tmp_path / name).touch()
    except OSError:
        pytest.skip("this file system takes no such name")
    ((_, (corners,)),) = read_set(tmp_path)
    assert corners.tolist() == [[386, 473], [177, 454], [154, 383], [363, 402]]


def test_rotated_rectangles_turn_about_their_middle(tmp_path: Path) -> None:
    (tmp_path / "GroundTruth_others.xml").write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><tagset><image><imageName>京A1</imageName><taggedRectangles>'
        '<taggedRectangle x="50" y="40" width="20" height="10" rotation="90">京A1</taggedRectangle>'
        "</taggedRectangles></image></tagset>",
        encoding="utf-8",
    )
    ((path, (corners,)),) = read_set(tmp_path)
    assert path.name == "京A1.jpg"
    np.testing.assert_allclose([corners.min(axis=0), corners.max(axis=0)], [(45, 30), (55, 50)], atol=1e-3)


def test_a_folder_without_plates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FaceBlurError, match="no pictures"):
        list(read_set(tmp_path))


def test_a_plate_is_covered_from_nine_tenths_and_distant_covers_are_needless() -> None:
    tally, mask = Tally(), np.zeros((720, 1280), np.uint8)
    mask[100:120, 100:153] = 1
    mask[600:672, 1000:1128] = 1
    plate = np.array([(100, 100), (160, 100), (160, 119), (100, 119)], float)
    count_cover(tally, mask, [plate])
    mask[100:120, 100:161] = 1
    count_cover(tally, mask, [plate])
    assert tally.found == [(60, False), (60, True)] and tally.pictures == 2
    assert tally.needless == pytest.approx([0.01, 0.01])
