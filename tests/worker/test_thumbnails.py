# SPDX-License-Identifier: GPL-3.0-or-later
"""A separate process cuts small pictures of faces from the right frames and writes nothing to disk."""

from __future__ import annotations

import base64
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.types import Box, FaceBlurError
from blender_faceblur.sources import compute_fingerprint
from blender_faceblur.worker.client import build_thumbnails_request, run_thumbnails
from blender_faceblur.worker.protocol import SourceRef, Thumbnail, Waiting
from blender_faceblur.worker.thumbnails import cut_square

from .. import films

WIDTH, HEIGHT = films.SIZE
WHOLE: Box = (0.0, 0.0, float(WIDTH), float(HEIGHT))


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films.write_film(tmp_path_factory.mktemp("film") / "numbers.mp4", range(100, 130))


def refer(film: Path, fingerprint: str = "") -> SourceRef:
    return SourceRef.of(film, fingerprint=fingerprint or compute_fingerprint(film))


def to_picture(thumbnail: Thumbnail) -> NDArray[np.uint8]:
    pixels = np.frombuffer(base64.b64decode(thumbnail.pixels), np.uint8)
    return pixels.reshape(thumbnail.side, thumbnail.side, 3)


def test_each_face_is_cut_from_its_own_frame(film: Path) -> None:
    """The order of the request does not matter; the numbers fill the whole width."""
    faces = [(17, WHOLE), (2, WHOLE), (17, (0.0, 64.0, 40.0, 96.0)), (29, WHOLE)]
    request = build_thumbnails_request(refer(film), faces, 160)
    seen = {t.number: to_picture(t) for t in run_thumbnails(request) if isinstance(t, Thumbnail)}
    assert sorted(seen) == [0, 1, 2, 3]
    # The square is as wide as the film, whose edges are repeated above and below.
    top = (WIDTH - HEIGHT) // 2
    assert [films.read_number(seen[n][top : top + HEIGHT, :, ::-1]) for n in (0, 1, 3)] == [117, 102, 129]
    red, green, blue = seen[2][80, 80].tolist()
    assert red > 150 and max(green, blue) < 90, "the lower left corner is red"


def test_missing_frames_are_skipped(film: Path) -> None:
    request = build_thumbnails_request(refer(film), [(10**6, WHOLE), (-1, WHOLE), (5, WHOLE)], 32)
    assert [t.number for t in run_thumbnails(request) if isinstance(t, Thumbnail)] == [2]


@pytest.mark.parametrize(
    ("fingerprint", "side", "words"), [("0" * 64, 64, "has changed"), ("", 100_000, "no valid faces")]
)
def test_an_invalid_request_is_an_error(film: Path, fingerprint: str, side: int, words: str) -> None:
    request = build_thumbnails_request(refer(film, fingerprint), [(5, WHOLE)], side)
    with pytest.raises(FaceBlurError, match=words):
        list(run_thumbnails(request))


def test_a_crashed_process_is_reported(film: Path, tmp_path: Path) -> None:
    script = tmp_path / "child.py"
    script.write_text("raise SystemExit(7)\n", encoding="utf-8")
    with pytest.raises(FaceBlurError, match="exit code 7"):
        list(run_thumbnails(build_thumbnails_request(SourceRef.of(film), [(5, WHOLE)], 32), script=script))


def test_a_window_never_blocks(film: Path) -> None:
    request = build_thumbnails_request(refer(film), [(5, WHOLE)], 32)
    with closing(run_thumbnails(request, 0.0)) as pictures:
        next(pictures)
        longest, seen = 0.0, 0
        until = time.monotonic() + 30
        while not seen and time.monotonic() < until:
            began = time.thread_time()
            seen += not isinstance(next(pictures), Waiting)
            longest = max(longest, time.thread_time() - began)
            time.sleep(0.01)
    assert seen and longest < 0.05


@pytest.mark.parametrize(
    "box", [(-1e6, -1e6, 1e6, 1e6), (1e6, 1e6, 1e6, 1e6), (-50.0, 20.0, 4.0, 60.0), (5.0, 5.0, 5.0, 5.0)]
)
def test_any_box_gives_a_picture(box: Box) -> None:
    picture = films.draw_number(77)
    assert cut_square(picture, box, 48).shape == (48, 48, 3)
