# SPDX-License-Identifier: GPL-3.0-or-later
"""Optional parts of the environment are added once, and their absence does not affect the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools import environment

ROOT = Path(__file__).resolve().parents[2]


def test_two_processes_that_need_a_tool_make_one_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second process waits for the lock, and then uses the environment of the first."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "tool.txt").write_text("", encoding="utf-8")
    answers = [False, True]
    monkeypatch.setattr(environment, "_works", lambda python, *markers: answers.pop(0))
    monkeypatch.setattr(environment, "_remove", lambda folder: pytest.fail("the first one's environment is removed"))
    assert environment.ensure_tool(tmp_path, "tool").parent.parent.parent == tmp_path / ".env"


def add_mediapipe(folder: Path) -> None:
    environment._ensure_mediapipe(ROOT, folder, Path(sys.executable))


def test_a_missing_mediapipe_is_reported_and_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(python: Path, lock: Path, *options: str) -> None:
        raise environment.EnvironmentProblem("pip could not install mediapipe.txt: no matching distribution")

    monkeypatch.setattr(environment, "_install", refuse)
    add_mediapipe(tmp_path / "env")
    assert "not available" in capsys.readouterr().err.splitlines()[-1]
    assert not list(tmp_path.glob("env/complete*"))


def test_mediapipe_is_installed_once_without_its_dependencies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(environment, "_install", lambda python, lock, *options: calls.append((lock.name, *options)))
    (tmp_path / "env").mkdir()
    add_mediapipe(tmp_path / "env")
    add_mediapipe(tmp_path / "env")
    assert calls == [("mediapipe.txt", "--no-deps")]
