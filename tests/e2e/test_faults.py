# SPDX-License-Identifier: GPL-3.0-or-later
"""A fixed part of `bench hostile --faults` and of `bench soak`: faults while the real command runs, and its memory."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import faults, soak
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds the command's processes in /proc")

FIXED = (("source truncated", faults.DETECT), ("source replaced", faults.PAINT), ("command killed", faults.DETECT))


@pytest.fixture(autouse=True)
def weights() -> None:
    try:
        for name in ("centerface", "yunet_2023mar"):
            paths.get_model_path(name)
    except FaceBlurError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> faults.Films:
    try:
        paths.get_model_path("centerface")
    except FaceBlurError as error:
        pytest.skip(str(error))
    return faults.Films.make(tmp_path_factory.mktemp("faults"))


@pytest.mark.parametrize(("name", "stage"), FIXED)
def test_a_fault_during_a_run_leaves_nothing_wrong_for_the_next(
    name: str, stage: str, films: faults.Films, tmp_path: Path
) -> None:
    case = next(case for case in faults.list_cases() if (case.name, case.stage) == (name, stage))
    assert [problems for _, problems in faults.run([case], films, tmp_path)] == [[]]


def test_two_runs_of_one_film_do_not_disturb_each_other(films: faults.Films, tmp_path: Path) -> None:
    assert faults.run_two(faults.Place.prepare(tmp_path / "two", films.film, films.other), films.wanted) == []


def test_some_pictures_in_one_batch_leave_nothing_behind(tmp_path: Path) -> None:
    assert soak.soak_pictures(3, tmp_path) == []


@pytest.mark.parametrize(("more", "problems"), [(0, 0), (1, 1)])
def test_a_file_that_is_open_most_of_the_time_is_no_growth(more: int, problems: int) -> None:
    """A sample between two pictures, in which the lock of the unfinished work is missing, made the bench fail."""
    files = [8] * 50 + [8 + more] * 50
    files[22], files[95] = 7, 12
    life = soak.Life(1, "the command", [50 << 20] * 100, files)
    assert (life.more_files, len(soak.check_lives([life]))) == (more, problems)


def test_a_repeated_film_is_covered(tmp_path: Path) -> None:
    """Two loops are too short to judge the memory; their sound and pictures must fit together."""
    film = tmp_path / "film.mp4"
    soak.make_long_film(film, 0.64)
    assert faults.Result.read(film).times == [number / soak.RATE for number in range(960)]
