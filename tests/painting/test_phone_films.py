# SPDX-License-Identifier: GPL-3.0-or-later
"""Films and photos with the traits of those of phones go through the command: covered, in time, and without places."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.delivery.verify import read_sound
from blender_faceblur.files import paths
from tools.film import draw_frame

from .films import read_pictures, read_properties
from .phone_films import HIDDEN, MS, OWNER, PLACE, TICKS, write_phone_film
from .test_film_matrix import make_dolby_vision_unit

ROOT = Path(__file__).resolve().parents[2]


def run_command(*arguments: Any) -> list[dict[str, Any]]:
    try:
        paths.get_model_path("centerface")
    except FaceBlurError as error:
        pytest.skip(str(error))
    command = [sys.executable, "-m", "blender_faceblur.batch.cli", *map(str, arguments), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def list_texts(lines: list[dict[str, Any]], event: str) -> list[str]:
    return [line["message"] for line in lines if line["event"] == event]


@pytest.fixture(scope="module")
def covered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Any], list[dict[str, Any]]]:
    source = tmp_path_factory.mktemp("phone") / "film.mov"
    faces = write_phone_film(source, make_dolby_vision_unit())
    data = source.read_bytes()
    for trait in (b"dvvC", b"apac", b"mebx", PLACE.encode(), OWNER.encode()):
        assert trait in data
    output = source.with_name("film.blurred.mov")
    return source, output, faces, run_command(source, "--verify")


def test_every_picture_that_is_shown_is_there_at_its_time(covered: Any) -> None:
    source, output, _, _ = covered
    expected = [(tick - TICKS[HIDDEN]) * MS for tick in TICKS[HIDDEN:]]
    for path in (source, output):
        times = [time for time, _ in read_pictures(path)]
        assert len(times) == len(expected)
        assert max(abs(time - wanted) for time, wanted in zip(times, expected, strict=True)) < Fraction(2, 1000)


def test_the_face_is_covered_in_each_picture_and_the_rest_is_not_changed(covered: Any) -> None:
    source, output, faces, _ = covered
    pairs = zip(read_pictures(source), read_pictures(output), faces[HIDDEN:], strict=True)
    for (_, before), (_, after), face in pairs:
        lumas = []
        for frame in (before, after):
            samples: Any = np.frombuffer(frame.planes[0], np.uint16).reshape(frame.height, -1)[:, : frame.width]
            # Upright.
            lumas.append(np.rot90(samples.astype(float) / 4, -1))
        y, x = np.mgrid[: lumas[0].shape[0], : lumas[0].shape[1]] + 0.5
        distance = np.hypot((x - face.cx) / face.rx, (y - face.cy) / face.ry)
        assert lumas[1][distance < 0.9].max() < 30
        assert np.abs(lumas[0] - lumas[1])[distance > 3].mean() < 1.5


def test_brightness_and_rotation_stay(covered: Any) -> None:
    source, output, _, _ = covered
    before, after = read_properties(source), read_properties(output)
    assert after.pixel_format == "yuv420p10le" and after.rotation == before.rotation != 0
    assert after.colors == before.colors and after.colors[-1] == 18


def test_the_sound_in_four_channels_is_kept_packet_for_packet(covered: Any) -> None:
    source, output, _, _ = covered
    sounds = [read_sound(path) for path in (source, output)]
    assert len(sounds[1]) == 1 and sounds[0][0].sha256 == sounds[1][0].sha256 and sounds[1][0].packets > 10
    with av.open(str(output)) as container:
        assert container.streams.audio[0].codec_context.layout.name == "quad"


def test_places_and_names_are_gone_and_every_loss_is_reported(covered: Any) -> None:
    _, output, _, lines = covered
    data = output.read_bytes()
    for trait in (b"dvvC", b"apac", b"mebx", PLACE.encode(), b"ISO6709", OWNER.encode(), b"Apple"):
        assert trait not in data
    text = json.dumps(lines)
    assert "Not kept: the Dolby Vision layer." in text
    assert "Not carried over: 1 data stream, 1 unknown sound stream." in text
    with av.open(str(output)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]


def test_a_film_with_only_unknown_sound_fails_before_its_analysis(tmp_path: Path) -> None:
    source = tmp_path / "film.mov"
    write_phone_film(source)
    source.write_bytes(source.read_bytes().replace(b"mp4a", b"apac").replace(b"esds", b"dapa"))
    command = [sys.executable, "-m", "blender_faceblur.batch.cli", str(source)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "can neither be kept nor encoded again" in done.stdout + done.stderr
    assert "detect" not in done.stdout and list(tmp_path.iterdir()) == [source]


def test_the_film_behind_a_motion_photo_is_left_out_and_reported(tmp_path: Path) -> None:
    picture, truth = draw_frame(0.0, 320, 240, "steady")
    held = io.BytesIO()
    with av.open(held, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        container.mux([*stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")), *stream.encode(None)])
    source = tmp_path / "photo.jpg"
    source.write_bytes(cv2.imencode(".jpg", picture)[1].tobytes() + held.getvalue())
    lines = run_command(source)
    assert "The film in this motion photo is not written" in json.dumps(lines)
    data = (tmp_path / "photo.blurred.jpg").read_bytes()
    assert b"ftyp" not in data and b"moov" not in data
    face = truth[0].ellipse
    covered = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert covered is not None and covered[round(face.cy) - 4 : round(face.cy) + 4, round(face.cx)].max() < 12
