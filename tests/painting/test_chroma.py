# SPDX-License-Identifier: GPL-3.0-or-later
"""The place of chroma samples is read from H.265 headers as encoders write them, and nothing from damaged ones."""

from __future__ import annotations

import random
from pathlib import Path

import av
import pytest

from blender_faceblur.painting.chroma import read_chroma_location

from .films import Film, write_film

VARIANTS = {
    "plain": "",
    "references": "keyint=9:bframes=3:ref=4:",
    "scaling": "scaling-list=default:sar=2:range=full:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc:",
    "layers": "temporal-layers=3:hrd=1:vbv-maxrate=900:vbv-bufsize=900:",
    "intra": "keyint=1:no-wpp=1:amp=1:rect=1:",
}


def read_header(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return bytes(container.streams.video[0].codec_context.extradata or b"")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_place_is_that_of_the_encoder(variant: str, suffix: str, tmp_path: Path) -> None:
    for place in range(6):
        options = {"x265-params": f"{VARIANTS[variant]}chromaloc={place}:log-level=none"}
        path = write_film(tmp_path / f"a{suffix}", Film("libx265", "yuv420p10le", count=3, options=options))
        assert read_chroma_location(read_header(path)) == place + 1


def test_a_header_without_the_place_gives_none(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none"}
    assert read_chroma_location(read_header(write_film(tmp_path / "a.mp4", Film("libx265", options=options)))) == 0
    assert read_chroma_location(b"") == 0


def test_damaged_headers_raise_nothing(tmp_path: Path) -> None:
    options = {"x265-params": f"{VARIANTS['scaling']}chromaloc=2:log-level=none"}
    header = read_header(write_film(tmp_path / "a.mp4", Film("libx265", "yuv420p10le", options=options)))
    draw = random.Random(5)
    for _ in range(2000):
        damaged = bytearray(header[: draw.randrange(23, len(header) + 1)])
        for _ in range(draw.randrange(4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        assert 0 <= read_chroma_location(bytes(damaged)) <= 6
