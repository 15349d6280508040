# SPDX-License-Identifier: GPL-3.0-or-later
"""A covered film is its source, except for the covers: pixels, times, colours, shape and fields of any codec."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.delivery.traces import find_traces
from blender_faceblur.painting.encoders import StreamLook, choose_encoder

from .films import (
    GREEN,
    Film,
    build_document,
    check_fed,
    check_times,
    cover_film,
    list_shown,
    read_pictures,
    read_planes,
    read_properties,
    write_film,
)

MS = Fraction(1, 1000)
B_FRAMES = {"bf": "2", "x264-params": "keyint=6"}
DNXHR: dict[str, Any] = {"codec": "dnxhd", "size": (256, 128)}

FORMATS = {
    "yuv420p": ("a.mp4", Film()),
    "yuvj420p": ("a.mp4", Film(pixel_format="yuvj420p")),
    "yuv422p": ("a.mp4", Film(pixel_format="yuv422p")),
    "yuv444p": ("a.mov", Film(pixel_format="yuv444p")),
    "yuv444p-odd": ("a.mkv", Film(pixel_format="yuv444p", size=(97, 63))),
    "yuv420p10": ("a.mp4", Film(pixel_format="yuv420p10le")),
    "yuv422p10": ("a.mkv", Film(pixel_format="yuv422p10le")),
    "yuv444p10": ("a.mp4", Film(pixel_format="yuv444p10le")),
    "rgb": ("a.mkv", Film("libx264rgb", "rgb24", options={"qp": "0"})),
    "h265": ("a.mp4", Film("libx265")),
    "h265-10": ("a.mov", Film("libx265", "yuv420p10le")),
    "h265-420p12": ("a.mkv", Film("libx265", "yuv420p12le")),
    "h265-422p12": ("a.mp4", Film("libx265", "yuv422p12le")),
    "h265-444p12": ("a.mp4", Film("libx265", "yuv444p12le")),
    "h265-gray": ("a.mkv", Film("libx265", "gray")),
    "h265-gbrp": ("a.mp4", Film("libx265", "gbrp")),
    "h265-gbrp10": ("a.mp4", Film("libx265", "gbrp10le")),
    "av1": ("a.mp4", Film("libsvtav1")),
    "av1-10": ("a.webm", Film("libsvtav1", "yuv420p10le")),
    "av1-odd": ("a.webm", Film("libsvtav1", size=(97, 63))),
    "av1-small": ("a.mp4", Film("libsvtav1", size=(50, 46), count=3)),
    "av1-mkv": ("a.mkv", Film("libsvtav1")),
    "vp9": ("a.webm", Film("libvpx-vp9")),
    "vp9-mp4": ("a.mp4", Film("libvpx-vp9")),
    "vp9-odd": ("a.webm", Film("libvpx-vp9", size=(97, 63))),
    "vp9-444": ("a.webm", Film("libvpx-vp9", "yuv444p")),
    "vp9-gbrp": ("a.mkv", Film("libvpx-vp9", "gbrp")),
    "prores": ("a.mov", Film("prores_ks", "yuv422p10le")),
    "prores-odd": ("a.mov", Film("prores_ks", "yuv422p10le", size=(97, 63))),
    "prores-mkv": ("a.mkv", Film("prores_ks", "yuv422p10le")),
    "dnxhr": ("a.mov", Film(pixel_format="yuv422p", options={"profile": "dnxhr_hq"}, **DNXHR)),
    "dnxhr-10": ("a.mov", Film(pixel_format="yuv422p10le", options={"profile": "dnxhr_hqx"}, **DNXHR)),
    "dnxhr-odd": ("a.mov", Film("dnxhd", "yuv422p", (257, 129), options={"profile": "dnxhr_hq"})),
    "dnxhr-444": ("a.mov", Film(pixel_format="yuv444p10le", options={"profile": "dnxhr_444"}, **DNXHR)),
    "ffv1-odd": ("a.mkv", Film("ffv1", "yuv420p", size=(97, 63))),
    "ffv1-422p12": ("a.mkv", Film("ffv1", "yuv422p12le")),
    "ffv1-444p16": ("a.mkv", Film("ffv1", "yuv444p16le")),
    "ffv1-411": ("a.mkv", Film("ffv1", "yuv411p")),
    "ffv1-410": ("a.mkv", Film("ffv1", "yuv410p", size=(98, 66))),
    "ffv1-440": ("a.mkv", Film("ffv1", "yuv440p")),
    "ffv1-gray": ("a.mkv", Film("ffv1", "gray")),
    "ffv1-gray10": ("a.mkv", Film("ffv1", "gray10le")),
    "ffv1-rgb": ("a.mkv", Film("ffv1", "bgr0")),
    "ffv1-rgba": ("a.mkv", Film("ffv1", "bgra")),
    "ffv1-gbrp10": ("a.mkv", Film("ffv1", "gbrp10le")),
    "ffv1-alpha": ("a.mkv", Film("ffv1", "yuva420p")),
    "ffv1-alpha10": ("a.mkv", Film("ffv1", "yuva444p10le")),
}

OTHER_CODECS = {
    "mpeg4-avi": ("a.avi", Film("mpeg4"), "h264", 2),
    "mpeg4-mp4": ("a.mp4", Film("mpeg4"), "h264", 1),
    "mpeg2-mkv": ("a.mkv", Film("mpeg2video", "yuv422p"), "h264", 1),
    "mpeg2-ts": ("a.ts", Film("mpeg2video"), "h264", 2),
    "h264-ts": ("a.ts", Film(options=B_FRAMES), "h264", 1),
    "h264-flv": ("a.flv", Film(options=B_FRAMES), "h264", 1),
    "wmv": ("a.wmv", Film("wmv2"), "h264", 2),
    "mjpeg-mov": ("a.mov", Film("mjpeg", "yuvj420p"), "h264", 1),
    "mjpeg-avi": ("a.avi", Film("mjpeg", "yuvj422p"), "h264", 2),
    "mjpeg-odd": ("a.mkv", Film("mjpeg", "yuvj420p", size=(97, 63)), "ffv1", 1),
    "dv": ("a.avi", Film("dvvideo", "yuv411p", size=(720, 480), rate=Fraction(30000, 1001), count=3), "ffv1", 2),
    "nv12": ("a.avi", Film("rawvideo", "nv12"), "h264", 2),
    "bgr24": ("a.avi", Film("rawvideo", "bgr24"), "h264", 2),
    "png": ("a.mov", Film("png", "rgb24"), "h264", 1),
    "png-alpha": ("a.mov", Film("png", "rgba"), "ffv1", 2),
    "prores-4444": ("a.mov", Film("prores_ks", "yuv444p10le"), "h265", 1),
    "prores-alpha": ("a.mov", Film("prores_ks", "yuva444p10le"), "ffv1", 2),
    "utvideo": ("a.avi", Film("utvideo", "gbrp"), "h264", 2),
}
"""A film, the codec that takes the place of its own, and how many warnings say what becomes of it."""

SHAPES = {
    **{
        f"{turn}-{suffix}": (f"a{suffix}", Film(rotation=turn))
        for turn in (90, 180, 270)
        for suffix in (".mp4", ".mov", ".mkv")
    },
    "90-av1": ("a.mp4", Film("libsvtav1", rotation=90)),
    "90-prores": ("a.mov", Film("prores_ks", "yuv422p10le", rotation=90)),
    "90-aspect": ("a.mp4", Film(rotation=90, pixel_aspect=Fraction(64, 45))),
    "4:3": ("a.mp4", Film(pixel_aspect=Fraction(4, 3))),
    "64:45-mkv": ("a.mkv", Film(pixel_aspect=Fraction(64, 45))),
    "64:45-h265": ("a.mov", Film("libx265", pixel_aspect=Fraction(64, 45))),
    "64:45-prores": ("a.mov", Film("prores_ks", "yuv422p10le", pixel_aspect=Fraction(64, 45))),
    "64:45-vp9": ("a.webm", Film("libvpx-vp9", pixel_aspect=Fraction(64, 45))),
    "64:45-av1": ("a.mp4", Film("libsvtav1", pixel_aspect=Fraction(64, 45))),
    "64:45-ffv1": ("a.mkv", Film("ffv1", pixel_aspect=Fraction(64, 45))),
    "64:45-avi": ("a.avi", Film("mpeg4", pixel_aspect=Fraction(64, 45))),
    "tff": ("a.mp4", Film(interlaced="tff", options={"x264-params": "tff=1"})),
    "bff": ("a.mkv", Film(interlaced="bff", options={"x264-params": "bff=1"})),
    "tff-prores": ("a.mov", Film("prores_ks", "yuv422p10le", interlaced="tff", context={"field_order": 2})),
    "tff-mpeg2": ("a.ts", Film("mpeg2video", interlaced="tff")),
}

_rng = np.random.default_rng(4)
JITTER = [40000 * index + 1700 * int(_rng.choice([-1, 1])) * bool(index) for index in range(36)]

TIMES = {
    "b-frames": ("a.mp4", Film(options=B_FRAMES)),
    "b-frames-mkv": ("a.mkv", Film(options=B_FRAMES)),
    "b-frames-h265": ("a.mov", Film("libx265", options={"x265-params": "bframes=3:keyint=6"})),
    "no-edit-list": ("a.mp4", Film(options=B_FRAMES, container_options={"use_editlist": "0"})),
    "fragments": ("a.mp4", Film(options=B_FRAMES, container_options={"movflags": "frag_keyframe+empty_moov"})),
    "late": ("a.mp4", Film(ticks=[800 + 40 * n for n in range(12)], time_base=MS, options=B_FRAMES)),
    "late-mkv": ("a.mkv", Film(ticks=[800 + 40 * n for n in range(12)], time_base=MS)),
    "late-prores": ("a.mov", Film("prores_ks", "yuv422p10le", ticks=[800 + 40 * n for n in range(12)], time_base=MS)),
    "ntsc-mkv": ("a.mkv", Film(rate=Fraction(30000, 1001), count=30)),
    "ntsc-mp4": ("a.mp4", Film(rate=Fraction(30000, 1001), count=30, options=B_FRAMES)),
    "ntsc-prores": ("a.mov", Film("prores_ks", "yuv422p10le", rate=Fraction(30000, 1001), count=30)),
    "jitter": ("a.mp4", Film(ticks=JITTER, time_base=Fraction(1, 10**6))),
    "jitter-b-frames": ("a.mp4", Film(ticks=JITTER, time_base=Fraction(1, 10**6), options=B_FRAMES)),
    "variable-mkv": (
        "a.mkv",
        Film(ticks=[0, 40, 95, 120, 133, 300, 1200, 1240, 1290, 1300, 1399, 1500], time_base=MS, options=B_FRAMES),
    ),
    "gap-mp4": ("a.mp4", Film(ticks=[*range(0, 240, 40), *range(2000, 2240, 40)], time_base=MS, options=B_FRAMES)),
    "one-picture": ("a.mp4", Film(count=1)),
    "two-pictures": ("a.mp4", Film(count=2, options=B_FRAMES)),
}

LIMITED = {"color_range": 1}
COLORS: dict[str, Mapping[str, Any]] = {
    "709": {"color_primaries": 1, "color_trc": 1, "colorspace": 1} | LIMITED,
    "601": {"color_primaries": 6, "color_trc": 6, "colorspace": 6} | LIMITED,
    "pal": {"color_primaries": 5, "color_trc": 6, "colorspace": 5} | LIMITED,
    "2020": {"color_primaries": 9, "color_trc": 14, "colorspace": 9} | LIMITED,
    "p3-full": {"color_primaries": 12, "color_trc": 13, "colorspace": 6, "color_range": 2},
    "709-full": {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 2},
}
PQ = {"color_primaries": 9, "color_trc": 16, "colorspace": 9} | LIMITED
HLG = PQ | {"color_trc": 18}
COLORED = {
    "h264.mp4": Film(),
    "h264.mov": Film(),
    "h264.mkv": Film(),
    "h265.mp4": Film("libx265", "yuv420p10le"),
    "av1.mp4": Film("libsvtav1"),
    "av1.mkv": Film("libsvtav1"),
    "vp9.webm": Film("libvpx-vp9"),
    "prores.mov": Film("prores_ks", "yuv422p10le"),
    "prores.mkv": Film("prores_ks", "yuv422p10le"),
    "dnxhr.mov": Film(pixel_format="yuv422p", options={"profile": "dnxhr_hq"}, **DNXHR),
    "ffv1.mkv": Film("ffv1", "yuv420p10le"),
}

_PLACES = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
_SHARES = "G(0.2650,0.6900)B(0.1500,0.0600)R(0.6800,0.3200)WP(0.3127,0.3290)L(1000.0,0.005)"
X265_HDR = {"x265-params": f"master-display={_PLACES}:max-cll=1000,400:chromaloc=2"}
X264_HDR = {"x264-params": f"mastering-display={_PLACES}:cll=1000,400"}
SVT_HDR = {"svtav1-params": f"mastering-display={_SHARES}:content-light=1000,400"}
HDR = {
    **{f"h265{end}": (f"a{end}", Film("libx265", options=X265_HDR)) for end in (".mp4", ".mov", ".mkv")},
    **{f"h264{end}": (f"a{end}", Film("libx264", options=X264_HDR)) for end in (".mp4", ".mov", ".mkv")},
    **{f"av1{end}": (f"a{end}", Film("libsvtav1", options=SVT_HDR)) for end in (".mp4", ".webm", ".mkv")},
}


def check_unchanged(source: Path, result: Path) -> None:
    """Assert that players show the pictures of both films alike."""
    before, after = read_properties(source), read_properties(result)
    # What a source leaves open, its result may name.
    if before.field_order == 0:
        before = replace(before, field_order=after.field_order)
    if before.colors[-3:] == (2, 2, 2):
        before = replace(before, colors=after.colors)
    assert before == after


@pytest.mark.parametrize("case", FORMATS)
def test_pixel_formats_are_kept_bit_for_bit_in_the_films_own_codec(case: str, tmp_path: Path) -> None:
    name, film = FORMATS[case]
    source = write_film(tmp_path / name, film)
    covered = cover_film(source, tmp_path)
    assert covered.path.suffix == source.suffix and not covered.warnings
    check_fed(source, covered)
    check_times(source, covered)
    check_unchanged(source, covered.path)
    with av.open(str(source)) as before, av.open(str(covered.path)) as after:
        codecs = [one.streams.video[0].codec_context.codec.canonical_name for one in (before, after)]
    assert codecs[0] == codecs[1]


@pytest.mark.parametrize("case", OTHER_CODECS)
def test_films_without_an_encoder_of_their_own_keep_their_samples(case: str, tmp_path: Path) -> None:
    name, film, codec, warnings = OTHER_CODECS[case]
    source = write_film(tmp_path / name, film)
    covered = cover_film(source, tmp_path)
    assert covered.painted["codec"] == codec and len(covered.warnings) == warnings
    check_fed(source, covered)
    check_times(source, covered)


@pytest.mark.parametrize("case", SHAPES)
def test_rotation_aspect_and_fields_are_kept(case: str, tmp_path: Path) -> None:
    name, film = SHAPES[case]
    source = write_film(tmp_path / name, film)
    covered = cover_film(source, tmp_path)
    check_fed(source, covered, film.rotation or 0)
    check_times(source, covered)
    check_unchanged(source, covered.path)
    made = read_properties(covered.path)
    assert (-made.rotation % 360, made.interlaced) == (film.rotation or 0, bool(film.interlaced))
    assert made.pixel_aspect == (film.pixel_aspect or 1)
    assert find_traces(covered.path, source) == []


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "ffv1"), ("a.webm", "libvpx-vp9")])
@pytest.mark.parametrize("size", [(64, 48), (720, 480), (1440, 1080)])
@pytest.mark.parametrize("aspect", [Fraction(64, 45), Fraction(8, 9), Fraction(4, 3), Fraction(1, 3)])
def test_the_shape_of_pixels_is_written_into_matroska(
    name: str, codec: str, size: tuple[int, int], aspect: Fraction, tmp_path: Path
) -> None:
    path = write_film(tmp_path / name, Film(codec, size=size, count=1, pixel_aspect=aspect))
    assert read_properties(path).pixel_aspect == pytest.approx(aspect, rel=5e-4)
    tracks = re.search(rb"\x16\x54\xae\x6b([\x40-\x7f].)\xbf\x84(.{4})", path.read_bytes(), re.DOTALL)
    if name == "a.mkv":
        # The muxer writes a checksum into Matroska only.
        assert tracks is not None
        size_of_tracks = int.from_bytes(tracks[1], "big") & 0x3FFF
        content = path.read_bytes()[tracks.end() : tracks.end() - 6 + size_of_tracks]
        assert zlib.crc32(content) == int.from_bytes(tracks[2], "little")


@pytest.mark.parametrize("case", TIMES)
def test_every_picture_is_kept_at_its_time(case: str, tmp_path: Path) -> None:
    name, film = TIMES[case]
    source = write_film(tmp_path / name, film)
    shown = list_shown(source)
    covered = cover_film(source, tmp_path, document=lambda info: build_document(info, shown))
    check_fed(source, covered)
    check_times(source, covered)
    assert read_pictures(covered.path)[0][0] == 0
    assert len(covered.fed) == len(film.ticks or range(film.count))


@pytest.mark.parametrize(
    ("name", "film"),
    [
        ("a.avi", Film("mpeg4", count=30, context={"max_b_frames": 2})),
        ("a.avi", Film(count=30, options=B_FRAMES)),
        ("a.mpg", Film("mpeg2video", count=30)),
    ],
)
def test_pictures_without_a_time_are_kept_in_order(name: str, film: Film, tmp_path: Path) -> None:
    source = write_film(tmp_path / name, film)
    shown = list_shown(source)
    covered = cover_film(source, tmp_path, document=lambda info: build_document(info, shown))
    # Blender's strip ends before such a film does.
    counts = [re.match(r"\d+(?= pictures? )", text) for text in covered.warnings]
    check_fed(source, covered, whole=sum(int(count[0]) for count in counts if count))
    times = [time for time, _ in read_pictures(covered.path)]
    steps = np.diff(np.array(times, float))
    assert len(times) == 30 and steps.min() > 0.038 and steps.max() < 0.042


@pytest.mark.parametrize("colors", COLORS)
@pytest.mark.parametrize("name", COLORED)
def test_colors_are_named_like_the_sources(name: str, colors: str, tmp_path: Path) -> None:
    source = write_film(tmp_path / name, replace(COLORED[name], context=COLORS[colors], count=4))
    covered = cover_film(source, tmp_path)
    check_fed(source, covered)
    check_unchanged(source, covered.path)
    expected = COLORS[colors]
    header = read_properties(covered.path).header_colors
    # ProRes has no full range.
    assert header[1:] == (expected["colorspace"], expected["color_primaries"], expected["color_trc"])


@pytest.mark.parametrize("curve", [PQ, HLG], ids=["pq", "hlg"])
@pytest.mark.parametrize("case", HDR)
def test_high_dynamic_range_keeps_its_curve_and_metadata(case: str, curve: Mapping[str, Any], tmp_path: Path) -> None:
    name, film = HDR[case]
    film = replace(film, pixel_format="yuv420p10le", context=curve, count=4)
    source = write_film(tmp_path / name, film)
    covered = cover_film(source, tmp_path)
    check_fed(source, covered)
    check_unchanged(source, covered.path)
    made = read_properties(covered.path)
    assert len(made.hdr) == 2 and made.chroma_location == (3 if film.codec == "libx265" else 0)
    assert not covered.warnings


def test_what_an_encoder_cannot_write_is_reported(tmp_path: Path) -> None:
    film = Film("libx265", "yuv420p10le", context=PQ, count=3, options=X265_HDR)
    source = write_film(tmp_path / "a.mkv", film)
    covered = cover_film(source, tmp_path, settings=BatchSettings(color=GREEN, codec="ffv1"))
    assert len(covered.warnings) == 1 and len(re.findall(",|and", covered.warnings[0])) == 1
    check_fed(source, covered)
    # Alpha of VP9 lies beside the pictures, where FFmpeg's decoder does not look.
    film = Film("libvpx-vp9", "yuva420p", count=3, options={"auto-alt-ref": "0"})
    assert len(cover_film(write_film(tmp_path / "b.webm", film), tmp_path).warnings) == 1


def make_brightness_message() -> bytes:
    """An H.265 message with HDR10+ metadata of one window (SMPTE ST 2094-40, annex A of CTA-861.4)."""
    bits = f"{0xB5:08b}{0x3C:016b}{1:016b}{4:08b}{1:08b}{1:02b}{1000:027b}0" + 4 * f"{90001:017b}"
    bits += f"{1:04b}{50:07b}{90001:017b}{999:010b}" + "0" * 3
    bits += "0" * (-len(bits) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"\x4e\x01\x04" + bytes([len(payload)]) + payload + b"\x80"


def make_dolby_vision_unit() -> bytes:
    """An H.265 unit with a Dolby Vision RPU of profile 8 (ETSI GS CCM 001): a curve with one piece for each component
    and no display management, which FFmpeg reads."""
    header = "000010" + "0" * 11 + "0001" + "0000" + "1"
    sequence = "0" + "00" + "000011000" + "01" + "0" + "011" + "011" + "00101" + "0" + "000" + "0" + "1"
    pivots = 3 * ("1" + f"{0:010b}{1023:010b}")
    curves = 3 * ("1" + "1" + "0" + "1" + "0" * 23 + "010" + "0" * 23)
    bits = header + sequence + "00" + "111" + pivots + "11" + curves
    bits += "0" * (-len(bits) % 8)
    body = b"\x19" + int(bits, 2).to_bytes(len(bits) // 8, "big") + b"\x12\x34\x56\x78\x80"
    # Payloads must not contain start codes.
    return b"\x7c\x01" + re.sub(rb"\x00\x00(?=[\x00-\x03])", b"\x00\x00\x03", body)


CAPTION = b"\x06\x04\x0e\xb5\x00\x31GA94\x03\x41\xff\xfc\x94\x2c\xff\x80"
"""An H.264 message with one closed caption code (ANSI/SCTE 128)."""


@pytest.mark.parametrize(
    ("codec", "unit", "name", "kept"),
    [
        ("libx265", make_brightness_message(), "DYNAMIC_HDR_PLUS", False),
        ("libx265", make_dolby_vision_unit(), "DOVI_RPU_BUFFER", False),
        ("libx264", CAPTION, "A53_CC", True),
    ],
)
def test_dynamic_brightness_is_reported_and_captions_are_kept(
    codec: str, unit: bytes, name: str, kept: bool, tmp_path: Path
) -> None:
    plain, source = write_film(tmp_path / "plain.mp4", Film(codec, options=B_FRAMES)), tmp_path / "a.mp4"
    with av.open(str(plain)) as before, av.open(str(source), "w") as after:
        stream = after.add_stream_from_template(before.streams.video[0])
        for packet in before.demux(video=0):
            if packet.size:
                sized = len(unit).to_bytes(4, "big") + unit
                # An RPU follows the picture.
                last = name == "DOVI_RPU_BUFFER"
                copy = av.Packet(bytes(packet) + sized if last else sized + bytes(packet))
                copy.stream, copy.time_base, copy.pts, copy.dts = stream, packet.time_base, packet.pts, packet.dts
                copy.is_keyframe = packet.is_keyframe
                after.mux(copy)
    assert name in list_side_data(source)
    covered = cover_film(source, tmp_path)
    assert len(covered.warnings) == (0 if kept else 1)
    assert (name in list_side_data(covered.path)) == kept
    other = cover_film(source, tmp_path, settings=BatchSettings(color=GREEN, codec="av1"))
    assert len(other.warnings) == 1 and name not in list_side_data(other.path)


def list_side_data(path: Path) -> set[str]:
    return {data.type.name for data in read_pictures(path)[0][1].side_data}


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "vp9", "prores"])
def test_transparency_is_kept_or_refused(codec: str, tmp_path: Path) -> None:
    settings = BatchSettings(color=GREEN, codec=codec)
    for pixel_format in ("yuva420p", "yuva444p10le", "bgra"):
        source = write_film(tmp_path / "a.mkv", Film("ffv1", pixel_format, count=2))
        if (codec, pixel_format) != ("prores", "yuva444p10le"):
            with pytest.raises(FaceBlurError, match="no encoder"):
                cover_film(source, tmp_path, settings=settings)
            continue
        covered = cover_film(source, tmp_path, settings=settings)
        for (_, frame), fed in zip(read_pictures(covered.path), covered.fed, strict=True):
            assert (read_planes(frame)[3] == fed[3]).all()


def test_lossless_films_equal_their_source_outside_of_covers(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mkv", Film(options=B_FRAMES))
    for codec in ("h264", "h265", "vp9", "ffv1"):
        settings = BatchSettings(color=GREEN, codec=codec, quality="lossless")
        covered = cover_film(source, tmp_path, settings=settings, output=tmp_path / f"{codec}.mkv")
        for (_, frame), fed in zip(read_pictures(covered.path), covered.fed, strict=True):
            assert all((one == other).all() for one, other in zip(read_planes(frame), fed, strict=True))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_named_output_gets_a_codec_that_its_container_holds(suffix: str, tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mkv", Film(options=B_FRAMES))
    covered = cover_film(source, tmp_path, output=tmp_path / f"b{suffix}")
    assert covered.path.suffix == suffix
    assert covered.painted["codec"] == ("av1" if suffix == ".webm" else "h264")
    assert len(covered.warnings) == (1 if suffix == ".webm" else 0)
    check_times(source, covered)


def test_a_film_whose_size_changes_is_not_painted(tmp_path: Path) -> None:
    small = write_film(tmp_path / "small.ts", Film(count=20)).read_bytes()
    ticks = [40 * number for number in range(20, 40)]
    large = write_film(tmp_path / "large.ts", Film(size=(320, 192), ticks=ticks, time_base=MS)).read_bytes()
    (tmp_path / "both.ts").write_bytes(small + large)
    with pytest.raises(FaceBlurError, match="changes midway"):
        cover_film(tmp_path / "both.ts", tmp_path)


@pytest.mark.parametrize(("codec", "notes"), [("h264", 0), ("prores", 0), ("ffv1", 0), ("h265", 1), ("vp9", 1)])
def test_interlacing_that_is_not_marked_is_reported(codec: str, notes: int) -> None:
    look = StreamLook(96, 64, Fraction(1), MS, Fraction(25), (1, 1, 1, 1), field_order=2)
    pixel_format = "yuv422p10le" if codec == "prores" else "yuv420p"
    assert len(choose_encoder("", pixel_format, codec, "high", look).notes) == notes


def test_a_size_that_an_encoder_refuses_leads_to_the_next_one() -> None:
    look = StreamLook(97, 63, Fraction(1), MS, Fraction(25), (1, 1, 1, 1))
    assert choose_encoder("mjpeg", "yuv420p", "auto", "high", look).codec == "ffv1"
    assert choose_encoder("h264", "yuv444p", "auto", "high", look).codec == "h264"
    assert choose_encoder("dnxhd", "yuv422p10le", "auto", "high", replace(look, width=96)).codec == "h264"
    # Each field of an interlaced picture needs whole chroma rows of its own.
    assert choose_encoder("h264", "yuv420p", "auto", "high", replace(look, width=96, height=66)).codec == "h264"
    interlaced = replace(look, width=96, height=66, field_order=2)
    assert choose_encoder("h264", "yuv420p", "auto", "high", interlaced).codec == "h265"
    with pytest.raises(FaceBlurError, match="97 x 63"):
        choose_encoder("h264", "yuv420p", "h264", "high", look)
