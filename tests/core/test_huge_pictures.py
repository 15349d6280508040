# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures that claim to be huge, or cannot be decoded, are refused by their header and end nothing else."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blender_faceblur.batch import cli
from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.delivery.picture import verify_picture
from blender_faceblur.sources import open_source
from blender_faceblur.sources.image import read_size
from tests.core.test_batch import RATE, private_temp, render, run
from tests.core.test_delivery import write_film

__all__ = ["private_temp"]


def make_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


def make_bmp(width: int, height: int) -> bytes:
    size = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 354, 0, 0, 54) + size + bytes(300)


def make_jpeg(width: int, height: int) -> bytes:
    """A JPEG with an EXIF segment that holds the frame header of another size, as a thumbnail does."""
    whole = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    at = whole.index(b"\xff\xc0")
    thumbnail = b"Exif\0\0" + whole[at : at + 19]
    exif = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    return whole[:2] + exif + whole[2 : at + 5] + struct.pack(">HH", height, width) + whole[at + 9 :]


def make_tiff(width: int, height: int) -> bytes:
    entries = struct.pack("<HHII", 256, 4, 1, width) + struct.pack("<HHII", 257, 4, 1, height)
    return b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(40)


def make_webp(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + canvas + bytes(40)


MAKERS: list[tuple[str, Callable[[int, int], bytes]]] = [
    (".png", make_png),
    (".bmp", make_bmp),
    (".jpg", make_jpeg),
    (".tif", make_tiff),
    (".webp", make_webp),
]


@pytest.mark.parametrize(("ending", "make"), MAKERS)
def test_a_picture_that_claims_too_many_pixels_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, make: Callable[[int, int], bytes]
) -> None:
    def decode(*_: Any) -> None:
        pytest.fail("the picture was decoded")

    monkeypatch.setattr(cv2, "imdecode", decode)
    path = tmp_path / f"a{ending}"
    for size in ((30_000, 30_000), (65_535, 60_000)):
        path.write_bytes(make(*size))
        with pytest.raises(FaceBlurError, match=rf"a{ending}: the picture is too large \({size[0]} x {size[1]}\)"):
            open_source(path)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".jpg", ".tif"])
@pytest.mark.parametrize("size", [(60, 40), (1, 1)])
def test_the_header_tells_the_size_of_a_real_picture(ending: str, size: tuple[int, int]) -> None:
    data = cv2.imencode(ending, np.full((size[1], size[0], 3), 99, np.uint8))[1].tobytes()
    assert read_size(data) == size
    for length in range(len(data) - 1):
        read_size(data[:length])


def test_damaged_pictures_fail_alone(tmp_path: Path) -> None:
    inputs = {
        "bomb.bmp": make_bmp(60_000, 60_000),
        "bomb.png": make_png(60_000, 60_000),
        "no data.png": make_png(16_000, 16_000),
        "no data.jpg": make_jpeg(5, 0),
        "cut.webp": b"RIFF\x10\0\0\0WEBPVP8X",
        "no pixels.bmp": make_bmp(0, 0),
    }
    for name, data in inputs.items():
        (tmp_path / name).write_bytes(data)
    write_film(tmp_path / "good.mp4", rate=RATE)
    outcomes = run(plan_jobs([*(tmp_path / name for name in inputs), tmp_path / "good.mp4"], None, False))
    assert [outcome.status for outcome in outcomes] == ["failed"] * len(inputs) + ["done"]
    assert all(outcome.reason and "\n" not in outcome.reason for outcome in outcomes[:-1])
    assert (tmp_path / "good.blurred.mp4").is_file()


def test_too_little_memory_fails_one_input(tmp_path: Path) -> None:
    def run_out(job: dict[str, Any], *rest: Any) -> dict[str, Any]:
        if "a.mp4" in job["source"]:
            raise MemoryError
        return render(job, *rest)

    for name in ("a.mp4", "b.mp4"):
        write_film(tmp_path / name, rate=RATE)
    outcomes = run(plan_jobs([tmp_path / "a.mp4", tmp_path / "b.mp4"], None, False), render=run_out)
    assert [outcome.status for outcome in outcomes] == ["failed", "done"]
    assert "not enough memory" in outcomes[0].reason


def test_the_picture_of_an_effect_is_judged_by_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_film(tmp_path / "a.mp4", rate=RATE)
    (tmp_path / "bomb.png").write_bytes(make_png(60_000, 60_000))
    code = cli.main([str(tmp_path / "a.mp4"), "--effect", "image", "--image", str(tmp_path / "bomb.png")])
    assert code == cli.USAGE
    assert "bomb.png: the picture is too large" in capsys.readouterr().err


def test_a_result_that_cannot_be_decoded_fails_its_check(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(make_png(60_000, 60_000))
    with pytest.raises(FaceBlurError, match="cannot be read"):
        verify_picture(tmp_path / "a.png", 60_000, 60_000)


def test_a_picture_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as stream:
        stream.write(make_png(60, 40))
        stream.truncate(1 << 31)
    with pytest.raises(FaceBlurError, match="too large for a picture"):
        open_source(tmp_path / "a.png")
