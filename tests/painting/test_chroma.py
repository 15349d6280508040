# SPDX-License-Identifier: GPL-3.0-or-later
"""The place of chroma samples is read from headers as encoders write them, and nothing from damaged ones."""

from __future__ import annotations

import random
from pathlib import Path

import av
import pytest

from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.painting.chroma import read_chroma_location

from .films import GREEN, Film, cover_film, read_properties, write_film

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
        assert read_chroma_location(read_header(path), "hevc") == place + 1


X264_VARIANTS = {
    "plain": ("yuv420p", ""),
    "baseline": ("yuv420p", "no-cabac=1:no-8x8dct=1:bframes=0:weightp=0:"),
    "scaling": ("yuv420p10le", "cqm=jvt:ref=4:sar=4/3:fullrange=on:colorprim=bt2020:colormatrix=bt2020nc:"),
    "interlaced": ("yuv420p", "interlaced=1:"),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv"])
@pytest.mark.parametrize("variant", X264_VARIANTS)
def test_the_place_in_h264_is_that_of_the_encoder(variant: str, suffix: str, tmp_path: Path) -> None:
    pixel_format, params = X264_VARIANTS[variant]
    for place in range(6):
        options = {"x264-params": f"{params}chromaloc={place}"}
        path = write_film(tmp_path / f"a{suffix}", Film("libx264", pixel_format, count=3, options=options))
        # x264 does not name the left, which is what a film without a place means.
        assert read_chroma_location(read_header(path), "h264") == (place + 1 if place else 0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize(("word", "place"), [("unknown", 0), ("left", 1), ("topleft", 3)])
def test_the_place_in_av1_is_that_of_the_encoder(word: str, place: int, suffix: str, tmp_path: Path) -> None:
    options = {"svtav1-params": f"chroma-sample-position={word}"}
    path = write_film(tmp_path / f"a{suffix}", Film("libsvtav1", "yuv420p10le", count=3, options=options))
    assert read_chroma_location(read_header(path), "av1") == place


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_a_covered_film_keeps_the_place(codec: str, tmp_path: Path) -> None:
    options = {
        "libx264": {"x264-params": "chromaloc=2"},
        "libx265": {"x265-params": "chromaloc=2:log-level=none"},
        "libsvtav1": {"svtav1-params": "chroma-sample-position=topleft"},
    }[codec]
    source = write_film(tmp_path / "a.mp4", Film(codec, options=options))
    covered = cover_film(source, tmp_path)
    assert read_properties(covered.path).chroma_location == 3 and not covered.warnings


def test_a_place_that_av1_does_not_have_is_reported(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", Film("libx264", options={"x264-params": "chromaloc=5"}))
    covered = cover_film(source, tmp_path, settings=BatchSettings(color=GREEN, codec="av1"))
    assert covered.warnings == ["Not kept: the place of the colour samples."]


def test_a_header_without_the_place_gives_none(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none"}
    assert (
        read_chroma_location(read_header(write_film(tmp_path / "a.mp4", Film("libx265", options=options))), "hevc") == 0
    )
    assert read_chroma_location(b"", "hevc") == 0


def test_damaged_headers_raise_nothing(tmp_path: Path) -> None:
    options = {"x265-params": f"{VARIANTS['scaling']}chromaloc=2:log-level=none"}
    header = read_header(write_film(tmp_path / "a.mp4", Film("libx265", "yuv420p10le", options=options)))
    draw = random.Random(5)
    for _ in range(2000):
        damaged = bytearray(header[: draw.randrange(23, len(header) + 1)])
        for _ in range(draw.randrange(4)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        for codec in ("hevc", "h264", "av1"):
            assert 0 <= read_chroma_location(bytes(damaged), codec) <= 6
