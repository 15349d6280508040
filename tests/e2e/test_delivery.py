# SPDX-License-Identifier: GPL-3.0-or-later
"""Unusual films and pictures through Blender's renderer: the face is covered and everything else is unchanged.

tests/painting does the same for the direct renderer.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.types import Ellipse, FaceBlurError
from blender_faceblur.delivery.verify import read_sound
from blender_faceblur.files import paths
from blender_faceblur.sources import open_source
from blender_faceblur.sources.image import parse_orientation
from tests.core.test_delivery import encode_tone
from tools.film import make_film

ROOT = Path(__file__).resolve().parents[2]
SIZE = (320, 180)
FRAMES = 8
TICKS = (0, 1, 2, 4, 5, 8, 9, 10)
"""The times of the pictures of the variable-rate film, in 1/25 s."""

Picture = NDArray[Any]


@dataclass(frozen=True)
class Run:
    """The inputs and outputs, the position of the face in the upright picture, and the reported messages."""

    inputs: Path
    outputs: Path
    faces: list[Ellipse]
    reported: dict[str, list[str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    try:
        paths.get_model_path("centerface")
    except FaceBlurError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("delivery")
    inputs, outputs = folder / "in #1 100%", folder / "out #2 '%d'"
    inputs.mkdir()
    made = folder / "made.mp4"
    truth = make_film(made, width=SIZE[0], height=SIZE[1], frame_rate=Fraction(25), seconds=1, scene="steady")
    with av.open(str(made)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in islice(container.decode(video=0), FRAMES)]
    odd = [np.ascontiguousarray(np.pad(picture, ((0, 1), (0, 1), (0, 0)), "edge")) for picture in pictures]
    turned = [np.ascontiguousarray(np.rot90(picture)) for picture in pictures]
    write(inputs / "odd.webm", odd, "libvpx-vp9", options={"crf": "8", "b:v": "0"})
    write(inputs / "turned.mp4", turned, rotation=-90, aspect=Fraction(4, 3))
    write(inputs / "short.mkv", pictures, sound=True)
    write(inputs / "varying.mp4", pictures, ticks=TICKS, sound=True)
    write(inputs / "sd #3.mov", pictures, matrix=5, sound=True)
    write_pictures(inputs, pictures[0], turned[0])
    command = [sys.executable, "-m", "blender_faceblur.batch.cli", str(inputs), "-o", str(outputs), "--json"]
    command += ["--renderer", "blender"]
    temp = folder / "temp"
    temp.mkdir()
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temp), "TEMP": str(temp)},
    )
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [message for message in messages if message["type"] == "finish" and message["status"] != "done"]
    assert done.returncode == 0 and not failed, (failed, done.stderr)
    reported: dict[str, list[str]] = {}
    for message in messages:
        if message["type"] == "warning":
            reported.setdefault(Path(message["source"]).name, []).append(message["text"])
    return Run(inputs, outputs, [faces[0].ellipse for faces in truth], reported)


def write(
    path: Path,
    pictures: list[Picture],
    codec: str = "libx264",
    *,
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    aspect: Fraction | None = None,
    ticks: tuple[int, ...] | None = None,
    matrix: int = 1,
    sound: bool = False,
) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {"crf": "8"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.time_base = Fraction(1, 25)
        context.colorspace, context.color_range = matrix, 1
        if aspect is not None:
            context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation)
        tone = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        times = ticks or tuple(range(len(pictures)))
        for time, picture in zip(times, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=1)
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for packet in encode_tone(tone, Fraction(times[-1] + 1, 25)) if tone is not None else ():
            container.mux(packet)


def write_pictures(folder: Path, upright: Picture, turned: Picture) -> None:
    import cv2

    deep = (upright[:, :, ::-1].astype(np.uint16) << 8) + 77
    (folder / "deep.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    jpeg = cv2.imencode(".jpg", np.ascontiguousarray(turned[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 97])[1].tobytes()
    # EXIF: orientation 6 and a description.
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x0e\x01\x02\0\x04\0\0\0Jane\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (folder / "turned.jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])


def read(path: Path, count: int | None = None) -> list[Picture]:
    with open_source(path) as source:
        return [picture.astype(float) for _, picture in source.read_frames(0, count)]


def compare(before: Picture, after: Picture, face: Ellipse) -> tuple[float, float]:
    """PSNR away from the face, and the mean difference on it (levels)."""
    height, width = before.shape[:2]
    y, x = np.mgrid[0:height, 0:width] + 0.5
    distance = np.hypot((x - face.cx) / face.rx, (y - face.cy) / face.ry)
    away, on = distance > 2.6, distance < 0.8
    # Blender 5.0.1 covers the upper right pixel of the picture.
    away[0, -1] = False
    error = float(((before - after)[away] ** 2).mean())
    return 10 * math.log10(255**2 / error), float(np.abs(before - after)[on].mean())


@pytest.mark.parametrize(
    ("name", "result", "least_psnr"),
    [
        ("odd.webm", "odd.blurred.mkv", 40),
        ("turned.mp4", "turned.blurred.mp4", 40),
        ("short.mkv", "short.blurred.mkv", 40),
        ("varying.mp4", "varying.blurred.mp4", 40),
        ("sd #3.mov", "sd #3.blurred.mov", 40),
    ],
)
def test_film_is_covered_and_kept(run: Run, name: str, result: str, least_psnr: float) -> None:
    source, output = run.inputs / name, run.outputs / result
    with open_source(source) as opened, open_source(output) as written:
        ours, theirs = written.info, opened.info
        assert (ours.width, ours.height) == (theirs.width, theirs.height)
        assert (ours.frame_rate, ours.pixel_aspect) == (theirs.frame_rate, theirs.pixel_aspect)
        count = theirs.frame_count
    with av.open(str(output)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert len(frames) == count
        assert frames[0].rotation == 0
        assert (int(frames[0].colorspace), int(frames[0].color_range)) == (1, 1)
    sound, original = read_sound(output), read_sound(source)
    assert [(stream.sha256, stream.packets) for stream in sound] == [
        (stream.sha256, stream.packets) for stream in original
    ]
    shown = [
        max(n for n in range(FRAMES) if TICKS[n] <= frame) if name == "varying.mp4" else min(frame, FRAMES - 1)
        for frame in range(count)
    ]
    bias = []
    for frame, (before, after) in enumerate(zip(read(source, count), read(output, count), strict=True)):
        psnr, on = compare(before, after, run.faces[shown[frame]])
        assert psnr > least_psnr, frame
        assert on > 12, frame
        bias.append((after - before)[:20].mean(axis=(0, 1)))
    # Wrong colour tags shift whole areas by 5 to 20 levels.
    assert np.abs(np.mean(bias, axis=0)).max() < 1


def test_warnings_are_reported(run: Run) -> None:
    assert any("321 x 181 is odd" in text for text in run.reported["odd.webm"])
    assert any("variable frame rate" in text for text in run.reported["varying.mp4"])
    assert any("orientation tag" in text for text in run.reported["turned.jpg"])


def test_variable_rate_keeps_its_duration(run: Run) -> None:
    durations = []
    for path in (run.inputs / "varying.mp4", run.outputs / "varying.blurred.mp4"):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.duration is not None and stream.time_base is not None
            durations.append(stream.duration * stream.time_base)
    assert durations[0] == durations[1]
    with av.open(str(run.outputs / "varying.blurred.mp4")) as container:
        times = sorted(frame.pts * frame.time_base for frame in container.decode(video=0))
        assert [after - before for before, after in pairwise(times)] == [Fraction(1, 25)] * 10


def test_deep_picture(run: Run) -> None:
    import cv2

    before = cv2.imdecode(np.fromfile(run.inputs / "deep.png", np.uint8), cv2.IMREAD_UNCHANGED)
    after = cv2.imdecode(np.fromfile(run.outputs / "deep.blurred.png", np.uint8), cv2.IMREAD_UNCHANGED)
    assert after.dtype == np.uint16 and after.shape == before.shape
    psnr, on = compare(before / 257, after / 257, run.faces[0])
    assert psnr > 80 and on > 12


def test_picture_on_its_side(run: Run) -> None:
    output = run.outputs / "turned.blurred.jpg"
    tag = parse_orientation(output.read_bytes())
    assert tag is not None and tag[2] == 6
    assert b"Jane" not in output.read_bytes()
    before, after = (np.rot90(read(path)[0], -1) for path in (run.inputs / "turned.jpg", output))
    psnr, on = compare(before, after, run.faces[0])
    assert psnr > 40 and on > 12


def test_no_other_files_are_left(run: Run) -> None:
    assert sorted(path.name for path in run.outputs.iterdir()) == [
        "deep.blurred.png",
        "odd.blurred.mkv",
        "sd #3.blurred.mov",
        "short.blurred.mkv",
        "turned.blurred.jpg",
        "turned.blurred.mp4",
        "varying.blurred.mp4",
    ]
    assert [path for path in (run.outputs.parent / "temp").rglob("*") if path.is_file()] == []
