# SPDX-License-Identifier: GPL-3.0-or-later
"""The command verifies its renders, reports the verification, and has a separate exit code for leaks."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

from blender_faceblur.batch.cli import ALL_WELL, LEAKED
from tools.film import make_film

ROOT = Path(__file__).resolve().parents[2]


def _run(*arguments: str | Path) -> tuple[int, str]:
    result = subprocess.run(
        [sys.executable, "-m", "blender_faceblur.batch.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


def test_a_covered_film_passes_and_its_source_does_not(tmp_path: Path) -> None:
    film, output, tracks, report = (tmp_path / name for name in ("film.mp4", "out.mp4", "tracks.json", "report.json"))
    make_film(film, width=480, height=270, frame_rate=Fraction(12), seconds=1, scene="steady")
    code, text = _run(
        film, "-o", output, "--save-tracks", tracks, "--verify", "--verify-every", "4", "--report", report
    )
    assert code == ALL_WELL and "nothing leaked" in text and "leak:" not in text, text
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["verification"]["passed"]
    assert content["verification"]["compared"] == 12 and content["verification"]["sound_streams"] == 1
    assert all(face["picture"] for face in content["faces"])

    code, text = _run(
        "verify", film, film, "--tracks", tracks, "--verify-every", "12", "--report", tmp_path / "report.html"
    )
    assert code == LEAKED and "to 11: Face" in text and "not covered" in text, text
    assert "Not passed" in (tmp_path / "report.html").read_text(encoding="utf-8")
