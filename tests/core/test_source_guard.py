# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that changes during the work is noticed, so that no film is covered with the tracks of another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.run import run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.core.verification.findings import Verification
from blender_faceblur.reporting.progress import Reporter
from blender_faceblur.sources import SourceGuard
from tests.core.test_batch import RATE, analyse, list_names, private_temp, render, run, write_picture
from tests.core.test_delivery import write_film

__all__ = ["private_temp"]


def edit(path: Path) -> None:
    """Change bytes in the middle of a file in place, and set its time back."""
    before = path.stat()
    with path.open("rb+") as stream:
        stream.seek(before.st_size // 2 + (200 << 10))
        stream.write(b"another film")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def swap(path: Path) -> None:
    """Put another file of the same size and time in the file's place."""
    before, other = path.stat(), path.with_name("other")
    other.write_bytes(bytes(before.st_size))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not record the time of such changes there")
@pytest.mark.parametrize("change", [edit, swap, Path.unlink, lambda path: path.write_bytes(b"short")])
def test_every_change_of_a_large_file_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(os.urandom(9 << 20))
    guard = SourceGuard(film)
    guard.check("the analysis")
    change(film)
    with pytest.raises(FaceBlurError, match=r"film\.mp4 changed during the analysis\. Start again\.$"):
        guard.check("the analysis")


def test_a_change_of_any_picture_of_a_sequence_is_noticed(tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(3)]
    for name in names:
        write_picture(tmp_path / name)
    guard = SourceGuard(tmp_path, names)
    guard.check("the render")
    (tmp_path / names[2]).write_bytes((tmp_path / names[2]).read_bytes() + b"more")
    with pytest.raises(FaceBlurError, match="changed during the render"):
        guard.check("the render")


def replace_film(path: Path) -> None:
    """Put another film with the same number of pictures, their size and rate in the film's place."""
    write_film(path.with_name("new.mp4"), rate=RATE, sound=("aac", "aac"))
    path.with_name("new.mp4").replace(path)


def test_a_film_that_is_replaced_before_or_during_the_render_is_not_written(tmp_path: Path) -> None:
    def render_another(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        replace_film(tmp_path / "a.mp4")
        return render(job, *rest)

    write_film(tmp_path / "a.mp4", rate=RATE)
    (outcome,) = run(
        plan_jobs([tmp_path / "a.mp4"], None, False, tmp_path / "a.blend", tmp_path / "a.json"), render=render_another
    )
    assert (outcome.status, outcome.reason) == ("failed", "a.mp4 changed during the render. Start again.")
    assert list_names(tmp_path) == ["a.mp4"]


def test_a_film_that_is_replaced_during_the_verification_is_not_written(tmp_path: Path) -> None:
    def verify_another(source: Path, *rest: Any) -> Verification:
        replace_film(source)
        return Verification("", "a.mp4", 12, 0.48, 1, 0, 0, 12, 1, 0, [], [], [], [])

    write_film(tmp_path / "a.mp4", rate=RATE)
    jobs = plan_jobs([tmp_path / "a.mp4"], None, False)
    (outcome,) = run_jobs(
        jobs, BatchSettings(verify_every=1, renderer="blender"), Reporter(), analyse, render, verify_another
    )
    assert (outcome.status, outcome.reason) == ("failed", "a.mp4 changed during the run. Start again.")
    assert list_names(tmp_path) == ["a.mp4"]


def test_without_a_render_the_saved_files_of_a_replaced_film_are_not_written(tmp_path: Path) -> None:
    def render_another(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        replace_film(tmp_path / "a.mp4")
        return render(job, *rest)

    write_film(tmp_path / "a.mp4", rate=RATE)
    jobs = plan_jobs([tmp_path / "a.mp4"], None, False, tmp_path / "a.blend")
    assert run(jobs, BatchSettings(render=False), render=render_another)[0].status == "failed"
    assert list_names(tmp_path) == ["a.mp4"]
