# SPDX-License-Identifier: GPL-3.0-or-later
"""--encoder auto, cpu and NAME, with an encoder that pretends to be NVENC. The tests' machines have none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.painting import encoders, film

from .films import GREEN, Covered, Film, check_times, cover_film, write_film

NVENC = "h264_nvenc"
FAILED = f"The hardware encoder {NVENC} failed: the device is lost. Use --encoder cpu."
USED = f"The film is encoded by the hardware encoder {NVENC}."
real_open = encoders.open_encoder


class FailingStream:
    """A stream whose encoder fails at a picture, counted from 1."""

    def __init__(self, stream: Any, fails_at: int) -> None:
        self._stream, self._left = stream, fails_at
        self.codec_context = stream.codec_context

    def encode(self, frame: Any) -> Any:
        self._left -= 1
        if not self._left:
            raise av.error.ExternalError(5, "the device is lost")
        return self._stream.encode(frame)


def pretend(patch: pytest.MonkeyPatch, fails_at: int = 0) -> list[str]:
    """Let libx264 do what NVENC is asked for, except for the trial, until it fails. Returns who was opened."""
    opened: list[str] = []

    def open_encoder(container: Any, choice: Any, look: Any, threads: int = 0) -> Any:
        opened.append(choice.encoder)
        if choice.encoder != NVENC:
            return real_open(container, choice, look, threads)
        options = {"preset": "ultrafast", "qp": "12"}
        own = replace(choice, encoder="libx264", options=options, pixel_format="yuv420p")
        stream = real_open(container, own, look, threads)
        is_trial = not str(container.name).endswith(".part")
        return FailingStream(stream, fails_at) if fails_at and not is_trial else stream

    for module in (encoders, film):
        patch.setattr(module, "open_encoder", open_encoder)
    patch.setitem(encoders._HARDWARE, "h264", (NVENC,))
    return opened


def read_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def cover(source: Path, encoder: str) -> Covered:
    return cover_film(source, source.parent, settings=BatchSettings(color=GREEN, encoder=encoder))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_film(tmp_path / "a.mp4", Film())


def has_nvenc_format() -> bool:
    try:
        return "yuv420p" in {one.name for one in av.codec.Codec(NVENC, "w").video_formats or ()}
    except av.error.FFmpegError:
        return False


needs_name = pytest.mark.skipif(not has_nvenc_format(), reason="this build of FFmpeg has no NVENC")


@needs_name
@pytest.mark.parametrize("encoder", ["auto", NVENC])
def test_a_hardware_encoder_that_works_is_used_and_named(
    encoder: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = pretend(monkeypatch)
    covered = cover(source, encoder)
    assert set(opened) == {NVENC} and covered.warnings == [USED]
    check_times(source, covered)


@needs_name
def test_the_processor_is_used_unless_hardware_is_asked_for(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = pretend(monkeypatch)
    covered = cover(source, "cpu")
    assert set(opened) == {"libx264"} and covered.warnings == []


@needs_name
@pytest.mark.parametrize("fails_at", [1, 7, 13])
def test_auto_begins_again_on_the_processor_if_the_encoder_fails_midway(
    fails_at: int, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read_packets(cover(source, "cpu").path)
    opened = pretend(monkeypatch, fails_at)
    covered = cover(source, "auto")
    assert covered.warnings == [USED, f"{FAILED} That is done now."]
    assert opened[-1] == "libx264" and set(opened[:-1]) == {NVENC}
    # Nothing of the first attempt is in the film. The flush of the encoder is the 13th call.
    assert len(plain) == 12 and read_packets(covered.path) == plain


@needs_name
def test_an_encoder_that_was_asked_for_and_fails_midway_fails_the_film(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, 7)
    with pytest.raises(FaceBlurError, match=r"the device is lost\. Use --encoder cpu"):
        cover(source, NVENC)
    assert not list(source.parent.glob("*.blurred*"))
    assert not [path for path in (source.parent / "storage").rglob("*") if path.is_file()]


def test_an_encoder_that_does_not_open_is_left_out_by_auto_and_refused_by_name(source: Path) -> None:
    """Without a stand-in: the machines of the tests have no GPU."""
    covered = cover(source, "auto")
    if any("is encoded by the hardware encoder" in warning for warning in covered.warnings):
        pytest.skip("a hardware encoder works here")
    assert covered.warnings == ["No hardware encoder works here for this film, so libx264 encodes it."]
    # FFmpeg has some of them on each system, and others on none.
    for name in encoders._HARDWARE["h264"]:
        with pytest.raises(FaceBlurError, match=f"{name} cannot be opened for this film; use --encoder cpu"):
            cover(source, name)


def test_hardware_is_not_lossless(source: Path) -> None:
    settings = BatchSettings(color=GREEN, encoder=NVENC, quality="lossless")
    with pytest.raises(FaceBlurError, match="use --encoder cpu"):
        cover_film(source, source.parent, settings=settings)
