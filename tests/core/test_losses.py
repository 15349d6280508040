# SPDX-License-Identifier: GPL-3.0-or-later
"""The program reports before the work what an output does not keep, and reports it correctly."""

from __future__ import annotations

import base64
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.sources import open_source
from tests.core.test_batch import list_names, private_temp, run
from tests.core.test_delivery import write_film

__all__ = ["private_temp"]

CMYK = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwBQNzxGPDJQRkFGWlVQX3jIgnhubnj1r7mRyP/////////////////////////////////////////////"
    "//////8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABQAAQAAAAAAAAAAAAAAAAAAAAL/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oADgRDAE0AWQBL"
    "AAA/AGZm/9k="
)
"""A JPEG of 8 x 8 pixels with four channels."""


def encode(ending: str, picture: Any) -> bytes:
    return cv2.imencode(ending, picture)[1].tobytes()


def list_warnings(path: Path, data: bytes) -> list[str]:
    path.write_bytes(data)
    with open_source(path) as source:
        return list(source.info.warnings)


GREY = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)


def test_losses_of_pictures_are_listed(tmp_path: Path) -> None:
    write_film(tmp_path / "film.mp4")
    jpeg, film = encode(".jpg", GREY.astype(np.uint8)), (tmp_path / "film.mp4").read_bytes()
    for name, data, words in (
        ("cmyk.jpg", CMYK, "CMYK colours are written as RGB"),
        ("grey.png", encode(".png", GREY), "more than 8 bits of grey are written with four channels"),
        ("grey.tif", encode(".tif", GREY), "more than 8 bits of grey are written with four channels"),
        ("png.jpg", encode(".png", GREY.astype(np.uint8)), "this is a PNG picture, but it is written as JPEG"),
        ("jpeg.PNG", jpeg, "this is a JPEG picture, but it is written as PNG"),
        ("motion.jpg", jpeg + film, "the film in this motion photo is not covered and not written"),
    ):
        assert any(words in text for text in list_warnings(tmp_path / name, data)), name


@pytest.mark.parametrize("ending", [".jpg", ".JPEG", ".png", ".tif", ".tiff", ".bmp", ".webp"])
def test_an_ordinary_picture_has_no_losses(tmp_path: Path, ending: str) -> None:
    data = encode(ending.lower(), np.dstack([GREY.astype(np.uint8)] * 3))
    assert list_warnings(tmp_path / f"a{ending}", data) == []


def test_the_letters_of_a_file_type_in_a_picture_are_not_a_film(tmp_path: Path) -> None:
    data = encode(".jpg", GREY.astype(np.uint8)) + b"a comment about ftyp and \xff\xff\xff\xffftypmp42"
    assert list_warnings(tmp_path / "a.jpg", data) == []


def write_colours(path: Path, size: tuple[int, int], pix_fmt: str) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        for index in range(5):
            picture = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), 99, np.uint8), format="rgb24")
            picture = picture.reformat(format=pix_fmt)
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("size", "pix_fmt", "words"),
    [
        ((64, 48), "yuv444p", "4:4:4"),
        ((64, 48), "yuv422p", "4:2:2"),
        ((65, 47), "yuv444p", ""),
        ((64, 47), "yuv422p", ""),
        ((64, 48), "yuv420p", ""),
    ],
)
def test_a_loss_of_colour_resolution_is_listed_only_where_it_occurs(
    tmp_path: Path, size: tuple[int, int], pix_fmt: str, words: str
) -> None:
    """A film of odd size is written with full colour resolution."""
    write_colours(tmp_path / "a.mp4", size, pix_fmt)
    with open_source(tmp_path / "a.mp4") as source:
        warnings = " ".join(source.info.warnings)
    assert words in warnings and bool(warnings) == bool(words)


@pytest.mark.parametrize(("name", "size", "smallest"), [("a.png", (60, 3), 4), ("a.mp4", (64, 14), 16)])
def test_too_few_pixels_are_refused_before_the_work(
    tmp_path: Path, name: str, size: tuple[int, int], smallest: int
) -> None:
    source = tmp_path / name
    if source.suffix == ".png":
        source.write_bytes(encode(".png", np.full((size[1], size[0], 3), 99, np.uint8)))
    else:
        write_colours(source, size, "yuv420p")
    (outcome,) = run(plan_jobs([source], None, False), analyse=lambda *_: pytest.fail("analysed"))
    assert f"{size[0]} x {size[1]} pixels are too few" in outcome.reason
    assert f"from {smallest} x {smallest} pixels on" in outcome.reason
    assert list_names(tmp_path) == [name]
    jobs = plan_jobs([source], None, False, None, tmp_path / "tracks.json")
    assert run(jobs, BatchSettings(render=False))[0].status == "done"
