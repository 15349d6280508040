# SPDX-License-Identifier: GPL-3.0-or-later
"""A separate process tracks a marked region."""

from __future__ import annotations

from pathlib import Path

import pytest

from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.types import Ellipse, Evidence
from blender_faceblur.sources import compute_fingerprint
from blender_faceblur.worker.client import build_track_request, run_job
from blender_faceblur.worker.protocol import ErrorMessage, Result, SourceRef

from ..core.test_retracking import SIZE, at, draw

COUNT = 80


def refer(film: Path, fingerprint: str = "") -> SourceRef:
    return SourceRef.of(film, fingerprint=fingerprint or compute_fingerprint(film))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import av

    path = tmp_path_factory.mktemp("film") / "moving.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(number), "gray")))
        container.mux(stream.encode(None))
    return path


def test_a_key_is_tracked_through_the_film(film: Path, tmp_path: Path) -> None:
    """Tracking goes back further than the pictures in memory, and stops at a given cut."""
    output = tmp_path / "out.json"
    request = build_track_request(refer(film), output, {75: at(75)}, 0, COUNT, [2])
    messages = list(run_job(request))
    assert isinstance(messages[-1], Result), messages[-1]
    (track,) = read_document(output).tracks
    assert track.list_spans() == [(2, COUNT)]
    for sample in track.samples:
        frame = sample.source_frame
        assert abs(sample.ellipse.cx - at(frame).cx) < 4 and abs(sample.ellipse.cy - at(frame).cy) < 4
        assert sample.evidence is (Evidence.LOCKED if frame == 75 else Evidence.FLOW)


def test_another_file_is_rejected(film: Path, tmp_path: Path) -> None:
    request = build_track_request(refer(film, "0" * 64), tmp_path / "out.json", {3: Ellipse(50, 50, 10, 10)}, 0, 10, [])
    *_, last = run_job(request)
    assert isinstance(last, ErrorMessage) and "has changed" in last.text and not (tmp_path / "out.json").exists()


def test_a_key_outside_the_film_is_rejected(film: Path, tmp_path: Path) -> None:
    request = build_track_request(refer(film), tmp_path / "out.json", {10**6: Ellipse(50, 50, 10, 10)}, 0, 10**7, [])
    *_, last = run_job(request)
    assert isinstance(last, ErrorMessage) and "no key" in last.text
