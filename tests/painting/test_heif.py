# SPDX-License-Identifier: GPL-3.0-or-later
"""HEIC and AVIF pictures are covered in their own format, and nothing else that their files hold is written."""

from __future__ import annotations

import random
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.run import run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.delivery.picture import finish_picture, list_notes, read_picture_record, verify_picture
from blender_faceblur.painting.still import paint_still
from blender_faceblur.reporting.progress import Reporter
from blender_faceblur.sources import open_source
from blender_faceblur.sources.heif import decode_heif, list_samples, parse_heif
from blender_faceblur.sources.image import decode_picture

from .heif_files import (
    ALPHA,
    DEPTH,
    GAIN_MAP,
    P3,
    Item,
    announce,
    cut,
    fill,
    make_item,
    pack,
    read_luma,
    write_heic,
)
from .test_still import BLACK, HEIGHT, WIDTH, list_distances, make_document

Image = pytest.importorskip("PIL.Image")
features = pytest.importorskip("PIL.features")

PROFILE = b"prof" + bytes(36) + b"acsp" + bytes(90)
SECRET = b"a thumbnail with a face"
RECORD = "faceblur:1:" + "ab" * 32 + ":1"
needs_avif = pytest.mark.skipif(not features.check("avif"), reason="Pillow has no AVIF here")


def draw_smooth(width: int, height: int) -> Any:
    """A frame of 4:2:0 in full range, with a soft pattern."""
    frame = fill(width, height, 128)
    y, x = np.mgrid[:height, :width]
    luma: Any = np.frombuffer(frame.planes[0], np.uint8).reshape(height, -1)
    luma[:, :width] = 140 + 50 * np.sin(x / 17) + 40 * np.cos(y / 11)
    return frame


def make_phone_picture(path: Path, turn: int = 3) -> tuple[Path, NDArray[np.uint8]]:
    """Four tiles of 64 x 64 of which 121 x 83 pixels are used, with all that phones add. Also the picture's luma."""
    whole = draw_smooth(128, 128)
    tiles = [make_item(cut(whole, x, y, 64, 64)) for y in (0, 64) for x in (0, 64)]
    grid = Item(
        b"grid",
        struct.pack(">BBBBHH", 0, 0, 1, 1, WIDTH, HEIGHT),
        [announce(WIDTH, HEIGHT), (b"colr", P3), (b"colr", PROFILE), (b"irot", bytes([turn]))],
        [(b"dimg", (1, 2, 3, 4))],
    )
    items = [
        *tiles,
        grid,
        make_item(fill(32, 32, 50), (b"auxC", bytes(4) + GAIN_MAP), auxl=(5,)),
        make_item(fill(32, 32, 60), (b"auxC", bytes(4) + DEPTH), auxl=(5,)),
        make_item(fill(32, 32, 70), thmb=(5,)),
        Item(b"Exif", struct.pack(">I", 0) + SECRET, [], [(b"cdsc", (5,))]),
    ]
    film = pack(b"mpvd", pack(b"ftyp", b"isom", bytes(4), b"isom"), pack(b"mdat", SECRET))
    write_heic(path, items, 5, film)
    luma: Any = np.frombuffer(whole.planes[0], np.uint8).reshape(128, -1)
    return path, np.asarray(luma[:HEIGHT, :WIDTH])


def paint(path: Path) -> tuple[Path, list[str]]:
    with open_source(path) as source:
        width, height = source.info.width, source.info.height
    output = path.with_name("output" + path.suffix)
    notes = paint_still(path, make_document(width, height), BLACK, None, output)
    finish_picture(output, RECORD)
    verify_picture(output, width, height)
    return output, notes


def check_luma(before: NDArray[Any], after: NDArray[Any], most: float) -> None:
    """`most`: the mean difference outside of the cover."""
    height, width = before.shape
    distances = list_distances(width, height)
    difference = np.abs(before.astype(float) - after[:height, :width])
    assert difference[distances > 2.2].mean() < most
    assert after[:height, :width][distances < 1.0].max() < 12


def test_a_grid_of_tiles_is_one_picture(tmp_path: Path) -> None:
    path, luma = make_phone_picture(tmp_path / "a.heic")
    frame, alpha, place = decode_heif(parse_heif(path.read_bytes(), "a"), "a")
    assert alpha is None and place == (0, 0, WIDTH, HEIGHT)
    assert np.array_equal(list_samples(frame)[0], luma)


def test_a_phone_picture_is_covered_and_keeps_only_what_its_pixels_mean(tmp_path: Path) -> None:
    path, luma = make_phone_picture(tmp_path / "a.heic")
    output, notes = paint(path)
    check_luma(luma, read_luma(output), 1.0)
    gain_map = "the gain map, which makes the picture brighter on HDR screens"
    assert notes == [f"Not written: the depth map, the film in the file, {gain_map}."]
    data = output.read_bytes()
    assert SECRET not in data and b"hdrgainmap" not in data
    written = parse_heif(data, "output")
    assert written.properties == [
        (b"colr", P3, False), (b"colr", PROFILE, False), (b"irot", b"\3", True)
    ]  # fmt: skip
    assert (written.width, written.height, written.place) == (WIDTH + 1, HEIGHT + 1, (0, 0, WIDTH, HEIGHT))
    assert not written.left_out and list_notes(output) == []
    assert "Exif" in list_notes(path) and "mpvd" in list_notes(path)


def test_the_record_is_in_a_box_that_readers_skip_and_is_written_once(tmp_path: Path) -> None:
    output, _ = paint(make_phone_picture(tmp_path / "a.heic")[0])
    once = output.read_bytes()
    finish_picture(output, RECORD)
    assert output.read_bytes() == once and read_picture_record(output) == RECORD
    assert once[-(len(RECORD) + 6) :] == b"free\n" + RECORD.encode() + b"\n"


@pytest.mark.parametrize(("turn", "upright"), [(0, 0), (1, 270), (2, 180), (3, 90)])
def test_the_rotation_says_how_people_stand(turn: int, upright: int, tmp_path: Path) -> None:
    path, _ = make_phone_picture(tmp_path / "a.heic", turn)
    with open_source(path) as source:
        assert (source.info.width, source.info.height, source.upright_turn) == (WIDTH, HEIGHT, upright)
        assert "does not show HEIC" in source.blender_problem


@needs_avif
@pytest.mark.parametrize("tag", range(1, 9))
def test_an_avif_is_turned_as_its_writer_meant_and_stays_so(tag: int, tmp_path: Path) -> None:
    path = tmp_path / "a.avif"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = tag, SECRET.decode()
    Image.fromarray(np.full((96, 128, 3), 120, np.uint8)).save(path, exif=exif)
    with open_source(path) as source:
        assert source.upright_turn == {1: 0, 2: 0, 3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}[tag]
    output, _ = paint(path)
    assert SECRET not in output.read_bytes()
    with Image.open(output) as written:
        assert dict(written.getexif()) == ({} if tag == 1 else {0x0112: tag})


@needs_avif
@pytest.mark.parametrize("size", [(128, 96), (121, 83), (33, 21)])
@pytest.mark.parametrize("sampling", ["4:2:0", "4:4:4"])
def test_an_avif_is_covered_and_read_by_others(sampling: str, size: tuple[int, int], tmp_path: Path) -> None:
    y, x = np.mgrid[: size[1], : size[0]]
    samples = np.stack([90 + x // 2, 120 + y // 2, np.full_like(x, 140)], axis=-1).astype(np.uint8)
    Image.fromarray(samples).save(tmp_path / "a.avif", quality=95, subsampling=sampling)
    output, notes = paint(tmp_path / "a.avif")
    assert [note for note in notes if "half resolution" in note] == (notes if sampling == "4:4:4" else [])
    distances = list_distances(*size)
    after = np.asarray(Image.open(output))
    assert after.shape == samples.shape
    assert (after[distances < 1.0] < 12).all()
    assert np.abs(after.astype(int) - samples)[distances > 2.4].mean() < 2


@needs_avif
def test_transparency_of_an_avif_is_kept_and_the_cover_is_opaque(tmp_path: Path) -> None:
    samples = np.full((HEIGHT, WIDTH, 4), 150, np.uint8)
    samples[..., 3] = np.linspace(20, 250, WIDTH)
    Image.fromarray(samples).save(tmp_path / "a.avif", quality=95)
    output, notes = paint(tmp_path / "a.avif")
    after = np.asarray(Image.open(output))
    distances = list_distances()
    assert notes == [] and after.shape == samples.shape
    assert np.abs(after.astype(int) - samples)[distances > 2.4].max() < 12
    assert after[distances < 1.0][:, :3].max() < 12 and after[distances < 1.0][:, 3].min() > 245


def test_transparency_of_a_heic_is_kept(tmp_path: Path) -> None:
    picture, alpha = draw_smooth(128, 96), fill(128, 96, 77, "gray")
    items = [make_item(picture), make_item(alpha, (b"auxC", bytes(4) + ALPHA), auxl=(1,))]
    output, _ = paint(write_heic(tmp_path / "a.heic", items, 1))
    _, written, _ = decode_heif(parse_heif(output.read_bytes(), "a"), "a")
    assert written is not None
    distances = list_distances(128, 96)
    assert np.abs(written[distances > 2.4].astype(int) - 77).max() < 4 and written[distances < 1.0].min() > 250


@pytest.mark.parametrize("name", ["yuv420p10le", "yuv444p", "gray", "gbrp", "yuv422p12le"])
def test_a_heic_keeps_its_pixel_format(name: str, tmp_path: Path) -> None:
    frame = fill(128, 96, 1 if name.endswith("le") else 90, name)
    output, notes = paint(write_heic(tmp_path / "a.heic", [make_item(frame)], 1))
    written = decode_heif(parse_heif(output.read_bytes(), "a"), "a")[0]
    assert written.format.name.replace("yuvj", "yuv") == name and not notes


def test_what_is_cut_off_is_not_written(tmp_path: Path) -> None:
    picture = draw_smooth(128, 96)
    luma: Any = np.frombuffer(picture.planes[0], np.uint8).reshape(96, -1)
    luma[:, :20] = 255
    # 101 x 70 pixels from (21, 5) on: the offsets of the middle are 21 + 50.5 - 64 and 5 + 35 - 48.
    clap = struct.pack(">IIIIiIiI", 101, 1, 70, 1, 15, 2, -16, 2)
    path = write_heic(tmp_path / "a.heic", [make_item(picture, (b"clap", clap))], 1)
    assert parse_heif(path.read_bytes(), "a").place == (21, 5, 101, 70)
    output, _ = paint(path)
    written = parse_heif(output.read_bytes(), "output")
    assert written.place == (1, 1, 101, 70) and (written.width, written.height) == (102, 72)
    assert read_luma(output).max() < 250


@pytest.mark.parametrize("size", [(60000, 60000), (100000, 10)])
def test_a_huge_picture_is_refused_by_its_header(size: tuple[int, int], tmp_path: Path) -> None:
    item = make_item(fill(64, 64, 90))
    item.properties[1] = announce(*size)
    with pytest.raises(FaceBlurError, match="too large"):
        open_source(write_heic(tmp_path / "a.heic", [item], 1))


def test_a_codec_that_promises_more_than_the_container_is_refused(tmp_path: Path) -> None:
    item = make_item(fill(2048, 2048, 90))
    item.properties[1] = announce(64, 64)
    with pytest.raises(FaceBlurError, match="damaged"):
        open_source(write_heic(tmp_path / "a.heic", [item], 1))


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    intact = make_phone_picture(tmp_path / "a.heic")[0].read_bytes()
    end = intact.index(b"mdat")
    draw = random.Random(7)
    refused = 0
    for _ in range(400):
        damaged = bytearray(intact)
        for _ in range(draw.randrange(1, 4)):
            damaged[draw.randrange(12, end)] = draw.choice([0, 1, 255, draw.randrange(256)])
        try:
            decode_picture(bytes(damaged), "a")
        except FaceBlurError:
            refused += 1
    assert 0 < refused < 400
    for at in range(0, len(intact), 97):
        try:
            decode_picture(intact[:at] if at > 12 else intact[:13], "a")
        except FaceBlurError:
            refused += 1


def test_animated_pictures_and_sequences_are_refused(tmp_path: Path) -> None:
    item = make_item(fill(64, 64, 90))
    with pytest.raises(FaceBlurError, match="animated"):
        open_source(write_heic(tmp_path / "a.avif", [item], 1, brand=b"avis"))
    for name in ("1.heic", "2.heic"):
        write_heic(tmp_path / name, [item], 1)
    with pytest.raises(FaceBlurError, match="does not show HEIC"):
        open_source(tmp_path, ["1.heic", "2.heic"], Fraction(25))


def test_a_batch_covers_the_face_in_a_turned_heic(tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data")
    frame = av.VideoFrame.from_ndarray(np.rot90(data.astronaut()).copy(), format="rgb24").reformat(format="yuv420p")
    write_heic(tmp_path / "a.heic", [make_item(frame, (b"irot", b"\3"), (b"colr", P3[:10] + b"\0"))], 1)
    outcomes = list(run_jobs(plan_jobs([tmp_path / "a.heic"], None, False), BatchSettings(preset="fast"), Reporter()))
    assert [(outcome.status, outcome.reason) for outcome in outcomes] == [("done", "")]
    after = np.rot90(read_luma(tmp_path / "a.blurred.heic"), -1)
    # The astronaut's face, and what lies below.
    assert after[90:130, 200:240].max() < 24
    before = np.rot90(read_luma(tmp_path / "a.heic"), -1)
    assert np.abs(after[250:].astype(int) - before[250:]).mean() < 1.0
