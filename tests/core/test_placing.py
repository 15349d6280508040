# SPDX-License-Identifier: GPL-3.0-or-later
"""Results are moved into place without replacing anything that the user did not ask to replace."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files.workplace import hold_folder, holds_work, place_file, replace_file
from tests.core.test_batch import RATE, list_names, private_temp, render, run, write_picture
from tests.core.test_delivery import write_film

__all__ = ["private_temp"]

ROOT = Path(__file__).resolve().parents[2]

IN_TURN = """
import sys, time
from pathlib import Path
from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.settings import BatchSettings
from tests.core.test_batch import render, run

folder, name, overwrite = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "overwrite"

def render_together(job, *rest):
    (folder / f"{name}.ready").touch()
    while len(list(folder.glob("*.ready"))) < 2:
        time.sleep(0.01)
    return render(job, *rest)

jobs = plan_jobs([folder / f"{name}.mp4"], folder / "out.mp4", False)
(outcome,) = run(jobs, BatchSettings(overwrite=overwrite), render=render_together)
print(outcome.status)
"""
"""A run in a process of its own that waits, before it renders, until the other process has come as far."""


@pytest.mark.parametrize(("mode", "statuses"), [("keep", ["done", "failed"]), ("overwrite", ["done", "done"])])
def test_of_two_runs_with_one_output_only_one_succeeds(tmp_path: Path, mode: str, statuses: list[str]) -> None:
    write_film(tmp_path / "a.mp4", rate=RATE, frames=12)
    write_film(tmp_path / "b.mp4", rate=RATE, frames=20)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "system temp")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", IN_TURN, str(tmp_path), name, mode], stdout=subprocess.PIPE, text=True, env=variables
        )
        for name in "ab"
    ]
    ended = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert sorted(ended) == statuses
    assert list_names(tmp_path) == ["a.mp4", "a.ready", "b.mp4", "b.ready", "out.mp4"]


@pytest.mark.parametrize("name", ["a.blurred.mp4", "b.blurred.png", "out.blend", "out.tracks.json", "out.html"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_that_appears_during_the_run_is_replaced_only_with_overwrite(
    tmp_path: Path, name: str, overwrite: bool
) -> None:
    def render_while_others_write(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        (tmp_path / name).write_bytes(b"precious")
        return render(job, *rest)

    source = tmp_path / ("b.png" if name.startswith("b") else "a.mp4")
    if source.suffix == ".png":
        write_picture(source)
    else:
        write_film(source, rate=RATE)
    jobs = plan_jobs([source], None, False, tmp_path / "out.blend", tmp_path / "out.tracks.json", tmp_path / "out.html")
    (outcome,) = run(jobs, BatchSettings(overwrite=overwrite), render=render_while_others_write)
    assert (outcome.status, name in outcome.reason) == (("done", False) if overwrite else ("failed", True))
    assert ((tmp_path / name).read_bytes() == b"precious") is not overwrite
    assert not [left for left in list_names(tmp_path) if left.startswith(".faceblur")]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    (tmp_path / "a.blurred.png").symlink_to(tmp_path / "nothing")
    assert "--overwrite" in run(plan_jobs([tmp_path / "a.png"], None, False))[0].reason
    assert (tmp_path / "a.blurred.png").is_symlink()


def refuse_links(source: Path, target: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.skipif(sys.platform == "win32", reason="no links are made there")
@pytest.mark.parametrize("link", [os.link, refuse_links], ids=["with links", "without links"])
def test_placing_keeps_an_existing_file_on_every_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: Callable[..., None]
) -> None:
    monkeypatch.setattr(os, "link", link)
    part, final = tmp_path / "part", tmp_path / "final"
    part.write_bytes(b"first")
    place_file(part, final, overwrite=False)
    assert (final.read_bytes(), part.exists()) == (b"first", False)
    part.write_bytes(b"second")
    with pytest.raises(FaceBlurError, match="is not replaced"):
        place_file(part, final, overwrite=False)
    assert (final.read_bytes(), part.exists()) == (b"first", False)
    part.write_bytes(b"third")
    replace_file(part, final)
    assert final.read_bytes() == b"third"


@pytest.mark.skipif(sys.platform == "win32", reason="no links are made there")
def test_a_name_that_was_reserved_is_free_again_after_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(part: Path, final: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", refuse_links)
    monkeypatch.setattr(Path, "replace", fail)
    (tmp_path / "part").write_bytes(b"first")
    with pytest.raises(FaceBlurError, match="Input/output error"):
        place_file(tmp_path / "part", tmp_path / "final", overwrite=False)
    assert list_names(tmp_path) == []


def test_two_runs_of_one_source_do_not_share_unfinished_work(tmp_path: Path) -> None:
    folder, own = tmp_path / "unfinished" / "a", tmp_path / "own"
    with hold_folder(folder, own) as first:
        assert first == folder and not holds_work(folder)
        with hold_folder(folder, own) as second:
            assert second == own
        (folder / "piece").touch()
        assert holds_work(folder)
    with hold_folder(folder, own) as again:
        assert again == folder and holds_work(folder)
        (folder / "piece").unlink()
    assert not folder.exists(), "an empty folder stays behind"


def test_where_nothing_can_be_kept_a_run_keeps_its_work_to_itself(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with hold_folder(tmp_path / "file" / "a", tmp_path / "own") as folder:
        assert folder == tmp_path / "own"
