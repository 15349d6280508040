# SPDX-License-Identifier: GPL-3.0-or-later
"""Metadata about places, devices and people is found in a file, and our own metadata is not mistaken for it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.delivery.container import CONTAINERS
from blender_faceblur.delivery.picture import finish_picture
from blender_faceblur.delivery.record import make_record
from blender_faceblur.delivery.remux import remux_film
from blender_faceblur.delivery.traces import find_carried, find_picture_traces, find_traces
from tests.core.test_delivery import render, write_film

RECORD = make_record("f" * 64, {}, 12)


@pytest.mark.parametrize("container", [one for one in CONTAINERS if "h264" in one.pictures], ids=lambda one: one.suffix)
def test_our_films_carry_no_metadata(container: Any, tmp_path: Path) -> None:
    source, pictures, result = tmp_path / "in.mp4", tmp_path / "p.mkv", tmp_path / f"out{container.suffix}"
    write_film(source, sound=("aac", "aac"), languages=("deu", "fra"))
    render(pictures)
    remux_film(
        pictures,
        source,
        result,
        container,
        frame_rate=Fraction(30000, 1001),
        pixel_aspect=Fraction(1),
        record=RECORD,
        reencode_audio=False,
    )
    assert find_traces(result) == []


def test_metadata_in_a_source_is_named(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    write_film(film)
    found = find_traces(film)
    assert len(found) == 1 and "title" in found[0] and "location" in found[0] and "Jane" not in found[0]
    rich = tmp_path / "film.mkv"
    with av.open(str(rich), "w") as container:
        container.metadata["comment"] = "made by Jane"
        streams: list[Any] = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            container.mux([*stream.encode(frame), *stream.encode(None)])
    assert len(find_traces(rich)) == 2 and "further video" in find_traces(rich)[1]
    with pytest.raises(FaceBlurError):
        find_traces(tmp_path / "nowhere.mp4")
    assert find_carried(rich, film) == []
    other = tmp_path / "other.mp4"
    write_film(other, sound=())
    assert find_carried(other, film)[0].startswith("It carries metadata of film.mp4: location")


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_our_pictures_carry_no_metadata(ending: str, orientation: int, tmp_path: Path) -> None:
    path = tmp_path / f"picture{ending}"
    path.write_bytes(cv2.imencode(ending, np.full((40, 60, 3), 99, np.uint8))[1].tobytes())
    finish_picture(path, make_record("f" * 64, {}, 1), orientation)
    assert find_picture_traces(path) == []


def test_text_in_pictures_is_named(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", np.full((40, 60, 3), 99, np.uint8))[1].tobytes()
    comment, exif = b"Jane Doe", b"Exif\0\0II*\0" + b"\x08\0\0\0\0\0"
    for marker, body, name in ((0xFE, comment, "comment"), (0xE1, exif, "EXIF"), (0xED, comment, "IPTC")):
        path = tmp_path / "picture.jpg"
        path.write_bytes(jpeg[:2] + bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:])
        assert name in find_picture_traces(path)[0]
    path.write_bytes(jpeg[:60])
    with pytest.raises(FaceBlurError):
        find_picture_traces(path)
