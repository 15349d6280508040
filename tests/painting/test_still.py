# SPDX-License-Identifier: GPL-3.0-or-later
"""Covered pictures keep their format, depth and channels, and all samples outside of the covers."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.run import run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.cover.effects import EffectSettings
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
)
from blender_faceblur.painting.jpeg import parse_jpeg
from blender_faceblur.painting.still import paint_still
from blender_faceblur.reporting.progress import Reporter

Image = pytest.importorskip("PIL.Image")

WIDTH, HEIGHT = 121, 83
FACE = Ellipse(50.0, 40.0, 9.0, 12.0)
BLACK = EffectSettings("solid", "000000", 6.0, "", False)


def make_document(width: int = WIDTH, height: int = HEIGHT, analysed: bool = True) -> TrackDocument:
    info = SourceInfo("picture", "image", width, height, 1, Fraction(25), "ab" * 32)
    tracks = [Track("Face 1", [Sample(0, FACE, Evidence.DETECTED, 0.9)])] if analysed else []
    return TrackDocument(info, "balanced", 1.4, [], [], tracks, [], analysed=[] if analysed else [(0, 0)])


def list_distances(width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.float64]:
    """How far each pixel is from the face's middle: 1 on its edge."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.asarray(np.hypot((x - FACE.cx) / FACE.rx, (y - FACE.cy) / FACE.ry))


INSIDE = list_distances() < 1.0
OUTSIDE = list_distances() > 2.2
"""Beyond the margin of 40 % and the soft edge."""


def draw(channels: int, bits: int) -> Any:
    """Random samples, the alpha (in the second or fourth channel) without 0."""
    generator = np.random.default_rng(channels * bits)
    samples = generator.integers(1, 1 << bits, (HEIGHT, WIDTH, channels))
    return samples.astype(np.uint8 if bits == 8 else np.uint16)


def paint(path: Path, effect: EffectSettings = BLACK) -> tuple[Path, list[str]]:
    output = path.with_name("output" + path.suffix)
    return output, paint_still(path, make_document(), effect, None, output)


def encode_with_opencv(suffix: str, samples: NDArray[Any], *options: int) -> bytes:
    import cv2

    order: list[int] | slice = [2, 1, 0, 3][: samples.shape[2]] if samples.shape[2] > 1 else slice(None)
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(samples[..., order]), options)[1].tobytes())


def encode_png(samples: NDArray[Any], kind: int, bits: int, *chunks: bytes) -> bytes:
    """`kind` is the colour type of the PNG specification; samples of fewer than 8 bits are packed."""
    rows = samples.reshape(len(samples), -1)
    if bits < 8:
        spread = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
        lines = [row.tobytes() for row in np.packbits(spread.reshape(len(rows), -1), axis=1)]
    else:
        lines = [row.astype(">u2" if bits == 16 else np.uint8).tobytes() for row in rows]
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, kind, 0, 0, 0)
    body = make_chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in lines)))
    return b"\x89PNG\r\n\x1a\n" + make_chunk(b"IHDR", header) + b"".join(chunks) + body + make_chunk(b"IEND", b"")


def make_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def encode_tiff(samples: NDArray[Any], **options: Any) -> bytes:
    tifffile = pytest.importorskip("tifffile")
    buffer = io.BytesIO()
    kind = "rgb" if samples.shape[2] > 2 else "minisblack"
    extra = [options.pop("alpha", "unassalpha")] if samples.shape[2] in (2, 4) else None
    shaped = samples[..., 0] if samples.shape[2] == 1 else samples
    if options.setdefault("planarconfig", "contig") == "separate":
        shaped = samples.transpose(2, 0, 1)
    tifffile.imwrite(buffer, shaped, photometric=kind, extrasamples=extra, **options)
    return buffer.getvalue()


def read_tiff(path: Path) -> NDArray[Any]:
    stored = pytest.importorskip("tifffile").imread(path)
    return np.asarray(stored.reshape(HEIGHT, WIDTH, -1))


def read_png(path: Path) -> tuple[NDArray[Any], int, int]:
    """The samples without any conversion, the colour type and the depth."""
    import cv2

    stored = path.read_bytes()
    kind, bits = stored[25], stored[24]
    samples: Any = cv2.imdecode(np.frombuffer(stored, np.uint8), cv2.IMREAD_UNCHANGED)
    # OpenCV reads grey with alpha as blue, green, red and alpha.
    order = {0: [0], 2: [2, 1, 0], 4: [0, 3], 6: [2, 1, 0, 3]}[kind]
    return samples.reshape(HEIGHT, WIDTH, -1)[..., order], kind, bits


def check_samples(before: NDArray[Any], after: NDArray[Any], channels: int) -> None:
    """Black under the cover, opaque there, and unchanged elsewhere."""
    assert after.dtype == before.dtype and after.shape == before.shape
    assert np.array_equal(after[OUTSIDE], before[OUTSIDE])
    colors = 1 if channels < 3 else 3
    assert not after[INSIDE][:, :colors].any()
    if channels in (2, 4):
        assert (after[INSIDE][:, -1] == np.iinfo(before.dtype).max).all()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("channels", "kind"), [(1, 0), (2, 4), (3, 2), (4, 6)])
def test_a_png_keeps_depth_and_channels(tmp_path: Path, channels: int, kind: int, bits: int) -> None:
    samples = draw(channels, bits)
    (tmp_path / "a.png").write_bytes(encode_png(samples, kind, bits))
    output, notes = paint(tmp_path / "a.png")
    assert notes == []
    after, kind_after, bits_after = read_png(output)
    assert (kind_after, bits_after) == (kind, bits)
    check_samples(samples, after, channels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_becomes_grey_of_8_bits(tmp_path: Path, bits: int) -> None:
    samples = draw(1, 8) % (1 << bits)
    (tmp_path / "a.png").write_bytes(encode_png(samples, 0, bits))
    output, notes = paint(tmp_path / "a.png")
    assert notes == [f"The picture has {bits} bit{'s' * (bits > 1)} per pixel. The output has 8."]
    after, *kind = read_png(output)
    assert kind == [0, 8]
    check_samples(samples * (255 // ((1 << bits) - 1)), after, 1)


@pytest.mark.parametrize(("alpha", "kind"), [(b"", 2), (b"\xff\x80", 6)])
def test_a_palette_becomes_colours(tmp_path: Path, alpha: bytes, kind: int) -> None:
    colors = np.random.default_rng(1).integers(0, 256, (16, 3), np.uint8)
    indices = draw(1, 8) % 16
    palette = make_chunk(b"PLTE", colors.tobytes()) + (make_chunk(b"tRNS", alpha) if alpha else b"")
    (tmp_path / "a.png").write_bytes(encode_png(indices, 3, 4, palette))
    output, notes = paint(tmp_path / "a.png")
    assert notes == ["The picture has a palette. The output stores the colour of each pixel instead."]
    after, *stored = read_png(output)
    assert stored == [kind, 8]
    shown = colors[indices[..., 0]]
    if alpha:
        shown = np.dstack((shown, np.where(indices[..., 0] == 1, 128, 255).astype(np.uint8)))
    check_samples(shown, after, shown.shape[2])


def test_a_png_keeps_what_its_colours_mean_and_nothing_else(tmp_path: Path) -> None:
    kept = [make_chunk(b"gAMA", struct.pack(">I", 100000)), make_chunk(b"pHYs", struct.pack(">IIB", 2835, 2835, 1))]
    dropped = [make_chunk(b"tEXt", b"Author\0Ada"), make_chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0")]
    (tmp_path / "a.png").write_bytes(encode_png(draw(3, 8), 2, 8, *kept, *dropped))
    output, _ = paint(tmp_path / "a.png")
    written = output.read_bytes()
    assert all(chunk in written for chunk in kept)
    assert not any(chunk[4:8] in written for chunk in dropped)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_keeps_depth_and_channels(tmp_path: Path, channels: int, bits: int, order: str) -> None:
    samples = draw(channels, bits)
    (tmp_path / "a.tif").write_bytes(encode_tiff(samples, byteorder=order, resolution=(300, 301)))
    output, notes = paint(tmp_path / "a.tif")
    assert notes == []
    check_samples(samples, read_tiff(output).astype(samples.dtype), channels)
    with pytest.importorskip("tifffile").TiffFile(output) as written:
        tags = written.pages[0].tags
        assert (tags["XResolution"].value, tags["YResolution"].value) == ((300, 1), (301, 1))
        assert channels in (1, 3) or [int(kind) for kind in tags["ExtraSamples"].value] == [2]


@pytest.mark.parametrize("options", [{"planarconfig": "separate"}, {"compression": "zlib", "predictor": True}])
def test_other_kinds_of_tiff_keep_their_samples(tmp_path: Path, options: dict[str, Any]) -> None:
    samples = draw(3, 16)
    (tmp_path / "a.tif").write_bytes(encode_tiff(samples, **options))
    output, notes = paint(tmp_path / "a.tif")
    assert notes == []
    check_samples(samples, read_tiff(output), 3)


def test_colours_multiplied_by_alpha_stay_so(tmp_path: Path) -> None:
    samples = draw(4, 8)
    samples[..., :3] = samples[..., :3].astype(np.uint16) * samples[..., 3:] // 255
    (tmp_path / "a.tif").write_bytes(encode_tiff(samples, alpha="assocalpha"))
    output, _ = paint(tmp_path / "a.tif")
    check_samples(samples, read_tiff(output), 4)
    with pytest.importorskip("tifffile").TiffFile(output) as written:
        assert [int(kind) for kind in written.pages[0].tags["ExtraSamples"].value] == [1]


@pytest.mark.parametrize(("channels", "bits"), [(1, 8), (3, 8), (3, 16), (4, 16)])
def test_a_tiff_in_tiles_keeps_its_samples(tmp_path: Path, channels: int, bits: int) -> None:
    """FFmpeg cannot read it."""
    samples = draw(channels, bits)
    (tmp_path / "a.tif").write_bytes(encode_tiff(samples, tile=(32, 32)))
    output, notes = paint(tmp_path / "a.tif")
    assert notes == []
    check_samples(samples, read_tiff(output).astype(samples.dtype), channels)


def test_further_pages_are_reported(tmp_path: Path) -> None:
    page = Image.fromarray(draw(3, 8))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    output, notes = paint(tmp_path / "a.tif")
    assert notes == ["Only the first of several pages is written."]
    check_samples(draw(3, 8), read_tiff(output), 3)


def test_an_orientation_tag_does_not_move_covers(tmp_path: Path) -> None:
    samples = draw(3, 16)
    (tmp_path / "a.tif").write_bytes(encode_tiff(samples, extratags=[(274, 3, 1, 6, True)]))
    output, _ = paint(tmp_path / "a.tif")
    check_samples(samples, read_tiff(output), 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_bmp_keeps_its_channels(tmp_path: Path, channels: int) -> None:
    samples = draw(channels, 8)
    (tmp_path / "a.bmp").write_bytes(encode_with_opencv(".bmp", samples))
    output, notes = paint(tmp_path / "a.bmp")
    assert notes == []
    with Image.open(output) as written:
        assert written.mode == {1: "L", 3: "RGB"}[channels]
        check_samples(samples, np.asarray(written).reshape(samples.shape), channels)


@pytest.mark.parametrize(("mask", "mode"), [(0xFF000000, "RGBA"), (0, "RGB")])
def test_a_bmp_has_alpha_only_if_its_header_says_so(tmp_path: Path, mask: int, mode: str) -> None:
    samples = draw(4, 8)
    pixels = samples[::-1, :, [2, 1, 0, 3]].tobytes()
    header = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, len(pixels), 0, 0, 0, 0)
    header += struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, mask) + b"BGRs" + bytes(48)
    start = b"BM" + struct.pack("<IHHI", 14 + len(header) + len(pixels), 0, 0, 14 + len(header))
    (tmp_path / "a.bmp").write_bytes(start + header + pixels)
    output, notes = paint(tmp_path / "a.bmp")
    assert notes == []
    with Image.open(output) as written:
        assert written.mode == mode
        check_samples(samples[..., : len(mode)], np.asarray(written), len(mode))


@pytest.mark.parametrize("channels", [3, 4])
def test_a_lossless_webp_stays_lossless(tmp_path: Path, channels: int) -> None:
    samples = draw(channels, 8)
    (tmp_path / "a.webp").write_bytes(encode_with_opencv(".webp", samples, 64, 101))
    output, notes = paint(tmp_path / "a.webp")
    assert notes == [] and b"VP8L" in output.read_bytes()[:40]
    with Image.open(output) as written:
        check_samples(samples, np.asarray(written), channels)


def test_lost_colours_of_transparent_pixels_are_reported(tmp_path: Path) -> None:
    samples = draw(4, 8)
    samples[70:, :, 3] = 0
    Image.fromarray(samples).save(tmp_path / "a.webp", lossless=True, exact=True)
    output, notes = paint(tmp_path / "a.webp")
    assert notes == ["The colours of completely transparent pixels are lost, because WebP's encoder removes them."]
    with Image.open(output) as written:
        after = np.asarray(written)
    assert np.array_equal(after[:70][OUTSIDE[:70]], samples[:70][OUTSIDE[:70]])
    assert not after[70:, :, 3].any()


def draw_smooth(channels: int = 3) -> Any:
    import cv2

    return cv2.GaussianBlur(draw(channels, 8), (0, 0), 3)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_lossy_webp_stays_lossy_and_similar(tmp_path: Path, channels: int) -> None:
    picture = Image.fromarray(draw_smooth(channels))
    picture.save(tmp_path / "a.webp", quality=80)
    output, notes = paint(tmp_path / "a.webp")
    assert notes == [] and b"VP8L" not in output.read_bytes()
    with Image.open(tmp_path / "a.webp") as source, Image.open(output) as written:
        before, after = (np.asarray(opened).astype(int) for opened in (source, written))
    assert np.abs(before - after)[OUTSIDE].mean() < 1.5
    assert after[list_distances() < 0.9][:, :3].mean() < 3


def test_a_lossy_webp_hardly_grows(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data")
    Image.fromarray(data.astronaut()).save(tmp_path / "a.webp", quality=80)
    paint_still(tmp_path / "a.webp", make_document(512, 512), BLACK, None, tmp_path / "output.webp")
    sizes = [(tmp_path / name).stat().st_size for name in ("a.webp", "output.webp")]
    assert sizes[1] < 1.25 * sizes[0]


@pytest.mark.parametrize("sampling", [0x221111, 0x211111, 0x121111, 0x411111, 0x111111])
@pytest.mark.parametrize("quality", [60, 95])
def test_a_jpeg_keeps_its_tables_and_chroma(tmp_path: Path, sampling: int, quality: int) -> None:
    import cv2

    options = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling)
    (tmp_path / "a.jpg").write_bytes(encode_with_opencv(".jpg", draw_smooth(), *options))
    output, notes = paint(tmp_path / "a.jpg")
    assert notes == []
    check_jpeg(tmp_path / "a.jpg", output)


def check_jpeg(source: Path, output: Path) -> None:
    """The same tables and sampling, nearly the same samples beyond the blocks of the cover, and black under it."""
    assert parse_jpeg(source.read_bytes()).tables == parse_jpeg(output.read_bytes()).tables
    with Image.open(source) as opened, Image.open(output) as written:
        assert opened.mode == written.mode
        assert [layer[1:3] for layer in opened.layer] == [layer[1:3] for layer in written.layer]
        before, after = (np.asarray(picture).astype(int) for picture in (opened, written))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    beyond = (np.abs(x - FACE.cx) > 52) | (np.abs(y - FACE.cy) > 58)
    difference = np.abs(before - after)
    assert beyond.any() and difference[beyond].max() <= 6 and difference[beyond].mean() < 0.4
    assert after[list_distances() < 0.7].mean() < 6


def test_a_progressive_jpeg_is_painted(tmp_path: Path) -> None:
    import cv2

    options = (cv2.IMWRITE_JPEG_QUALITY, 90, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    (tmp_path / "a.jpg").write_bytes(encode_with_opencv(".jpg", draw_smooth(), *options))
    output, _ = paint(tmp_path / "a.jpg")
    check_jpeg(tmp_path / "a.jpg", output)


def test_a_grey_jpeg_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(draw_smooth(1).reshape(HEIGHT, WIDTH)).save(tmp_path / "a.jpg", quality=80, dpi=(300, 300))
    output, notes = paint(tmp_path / "a.jpg")
    assert notes == []
    check_jpeg(tmp_path / "a.jpg", output)
    with Image.open(output) as written:
        assert written.mode == "L" and written.info["dpi"] == (300, 300)


def test_a_jpeg_of_red_green_and_blue_stays_so(tmp_path: Path) -> None:
    Image.fromarray(draw_smooth()).save(tmp_path / "a.jpg", quality=90, keep_rgb=True)
    output, notes = paint(tmp_path / "a.jpg")
    assert notes == [] and b"Adobe" in output.read_bytes()[:40]
    check_jpeg(tmp_path / "a.jpg", output)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, name: str) -> None:
    import cv2

    Image.fromarray(draw_smooth()).convert("CMYK").save(tmp_path / name, quality=95)
    output, notes = paint(tmp_path / name)
    assert notes == ["The picture has the colours cyan, magenta, yellow and black. The output has red, green and blue."]
    with Image.open(output) as written:
        assert written.mode == "RGB"
    before, after = (np.asarray(cv2.imread(str(path))).astype(int) for path in (tmp_path / name, output))
    assert np.abs(before - after)[list_distances() > 3.0].mean() < 1.5
    assert after[list_distances() < 0.7].mean() < 6


def test_further_pictures_in_a_jpeg_are_reported_and_left_out(tmp_path: Path) -> None:
    first, second = (Image.fromarray(draw_smooth()) for _ in range(2))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[second])
    output, notes = paint(tmp_path / "a.jpg")
    assert len(notes) == 1 and notes[0].startswith("Further pictures in the file")
    assert output.read_bytes().count(b"\xff\xd8\xff") == 1


def test_pictures_of_the_size_of_few_blocks_are_encoded(tmp_path: Path) -> None:
    """Beyond the picture's edge, blocks are filled."""
    from blender_faceblur.painting.jpeg import encode_jpeg

    for width, height in ((1, 1), (8, 8), (17, 9), (33, 16)):
        luma = np.full((height, width), 200, np.uint8)
        chroma = np.full((-(-height // 2), -(-width // 2)), 128, np.uint8)
        data = encode_jpeg([luma, chroma, chroma], [[2] * 64] * 3, chroma_shift=(1, 1))
        with Image.open(io.BytesIO(data)) as written:
            assert written.size == (width, height)
            assert (np.asarray(written) == 200).all()


def test_a_file_keeps_its_format_whatever_its_name(tmp_path: Path) -> None:
    samples = draw(4, 16)
    (tmp_path / "a.jpg").write_bytes(encode_png(samples, 6, 16))
    output, _ = paint(tmp_path / "a.jpg")
    after, kind, bits = read_png(output)
    assert (kind, bits) == (6, 16)
    check_samples(samples, after, 4)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_with_opencv(".ppm", draw(3, 8)))
    with pytest.raises(FaceBlurError, match="is not a JPEG"):
        paint(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["mosaic", "blur", "erase"])
def test_an_effect_hides_the_face_in_16_bits_and_makes_it_opaque(tmp_path: Path, kind: str) -> None:
    samples = draw(4, 16)
    samples[INSIDE] = 65535
    samples[INSIDE, 3] = 90
    (tmp_path / "a.png").write_bytes(encode_png(samples, 6, 16))
    output, _ = paint(tmp_path / "a.png", EffectSettings(kind, "000000", 3.0, "", False))
    after, *_ = read_png(output)
    assert np.array_equal(after[OUTSIDE], samples[OUTSIDE])
    assert (after[INSIDE][:, 3] == 65535).all()
    assert (after[INSIDE][:, :3] < 65535).all() and after[INSIDE][:, :3].min() > 10_000


def test_an_inverse_cover_shows_only_the_face(tmp_path: Path) -> None:
    samples = draw(2, 16)
    (tmp_path / "a.png").write_bytes(encode_png(samples, 4, 16))
    output, _ = paint(tmp_path / "a.png", EffectSettings("solid", "FFFFFF", 6.0, "", True))
    after, *_ = read_png(output)
    assert np.array_equal(after[INSIDE], samples[INSIDE])
    assert (after[OUTSIDE] == 65535).all()


def test_a_cover_in_a_grey_picture_is_grey(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(draw(1, 8), 0, 8))
    output, _ = paint(tmp_path / "a.png", EffectSettings("solid", "FF0000", 6.0, "", False))
    after, *_ = read_png(output)
    assert set(after[INSIDE].ravel()) == {round(0.299 * 255)}


def test_a_picture_that_was_not_analysed_is_covered_completely(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode_png(draw(3, 8), 2, 8))
    output = tmp_path / "output.png"
    notes = paint_still(tmp_path / "a.png", make_document(analysed=False), BLACK, None, output)
    assert notes == ["The picture is covered completely, because it was not analysed."]
    assert not read_png(output)[0].any()


FAST = "The fast preset uses one detector and may miss dark and defocused faces. Balanced finds more."


def write_portrait(path: Path, change: Callable[[NDArray[np.uint8]], NDArray[Any]], *options: int) -> None:
    data = pytest.importorskip("skimage.data")
    path.write_bytes(encode_with_opencv(path.suffix, change(data.astronaut()), *options))


def test_a_batch_paints_pictures_in_their_own_depth(tmp_path: Path) -> None:
    import cv2

    write_portrait(tmp_path / "deep.png", lambda picture: picture.astype(np.uint16) * 256 + 77)
    write_portrait(tmp_path / "plain.jpg", lambda picture: picture, cv2.IMWRITE_JPEG_QUALITY, 88)
    jobs = plan_jobs([tmp_path / "deep.png", tmp_path / "plain.jpg"], None, False)
    outcomes = list(run_jobs(jobs, BatchSettings(preset="fast"), Reporter()))
    assert [(outcome.status, outcome.reason, outcome.warnings) for outcome in outcomes] == [("done", "", (FAST,))] * 2
    before, after = (
        cv2.imread(str(tmp_path / name), cv2.IMREAD_UNCHANGED) for name in ("deep.png", "deep.blurred.png")
    )
    changed = (before != after).any(axis=2)
    # The astronaut's face.
    assert after.dtype == np.uint16 and not after[90:130, 200:240].any()
    assert not changed[250:].any() and not changed[:, :120].any() and not changed[:, 330:].any()
    tables = [parse_jpeg((tmp_path / name).read_bytes()).tables for name in ("plain.jpg", "plain.blurred.jpg")]
    assert tables[0] == tables[1]
    covered = cv2.imread(str(tmp_path / "plain.blurred.jpg"))
    assert covered[90:130, 200:240].max() < 8
    difference = np.abs(covered[250:].astype(int) - cv2.imread(str(tmp_path / "plain.jpg"))[250:])
    assert difference.mean() < 0.2
