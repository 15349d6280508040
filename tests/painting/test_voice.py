# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound that is left out is gone; a lowered voice is lower, in sync, and as long as before."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.delivery.verify import Expected, verify_film
from blender_faceblur.delivery.voice import DISGUISE, Voice, lower_frames

from .films import GREEN, Film, cover_film, write_film
from .test_kept_streams import Extras

RATE = 44100


def play(path: Path, number: int) -> NDArray[np.float32]:
    """The first channel of a sound stream, 48000 samples a second, with silence before a late start."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[number]
        resampler = av.AudioResampler("flt", "mono", 48000)
        pieces, start = [], None
        for frame in container.decode(stream):
            start = float(frame.pts * frame.time_base) if start is None else start
            pieces += [one.to_ndarray()[0] for one in resampler.resample(frame)]
    return np.concatenate([np.zeros(round(48000 * (start or 0)), np.float32), *pieces])


def measure_pitch(sound: NDArray[np.float32]) -> float:
    """The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(spectrum.argmax()) * 48000 / len(sound)


def make_tone(pauses: tuple[tuple[float, float], ...] = ()) -> list[av.AudioFrame]:
    """Four seconds, with a tone of 440 Hz from 1 to 3; no frames within the pauses, in seconds."""
    times = np.arange(RATE * 4) / RATE
    wave = np.where((times >= 1) & (times < 3), 0.5 * np.sin(2 * np.pi * 440 * times), 0).astype(np.float32)
    frames = []
    for start in range(0, len(wave), 1024):
        if any(first <= start / RATE < last for first, last in pauses):
            continue
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        frames.append(frame)
    return frames


@pytest.mark.parametrize("pauses", [(), ((0.3, 0.6),), ((0.3, 0.6), (3.2, 3.9))])
def test_a_tone_is_lower_and_stays_where_it_was(pauses: tuple[tuple[float, float], ...]) -> None:
    lowered = np.concatenate([frame.to_ndarray()[0] for frame in lower_frames(iter(make_tone(pauses)), "mono")])
    heard = np.flatnonzero(np.abs(lowered) > 0.1) / 48000
    assert abs(heard[0] - 1) < 0.04 and abs(heard[-1] - 3) < 0.04
    assert abs(len(lowered) / 48000 - 4) < 0.1
    assert abs(measure_pitch(lowered[72000:120000]) - 440 * DISGUISE.pitch) < 3


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.webm"])
def test_every_stream_of_a_film_is_lowered(name: str, tmp_path: Path) -> None:
    codec = "libopus" if name == "a.webm" else "aac"
    extras = Extras((codec, codec), sound_s=0.48)
    source = write_film(tmp_path / name, Film("libvpx-vp9" if name == "a.webm" else "libx264"), extras.add)
    covered = cover_film(source, tmp_path, settings=BatchSettings(color=GREEN, voice=Voice.DISGUISE))
    assert covered.path.suffix == source.suffix and covered.warnings == []
    for number in (0, 1):
        before, after = play(source, number), play(covered.path, number)
        assert abs(len(after) - len(before)) < 0.15 * 48000
        span = slice(round(0.1 * 48000), round(0.4 * 48000))
        assert measure_pitch(after[span]) == pytest.approx(measure_pitch(before[span]) * DISGUISE.pitch, abs=8)
    with av.open(str(source)) as before_it, av.open(str(covered.path)) as container:
        languages = [[one.metadata.get("language") for one in file.streams.audio] for file in (before_it, container)]
        assert languages[0] == languages[1]


def test_muted_films_have_no_sound_in_them(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", Film(), Extras().add)
    covered = cover_film(source, tmp_path, settings=BatchSettings(color=GREEN, voice=Voice.MUTE))
    with av.open(str(covered.path)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_sound_that_was_not_changed_fails_the_check(tmp_path: Path) -> None:
    source = write_film(tmp_path / "a.mp4", Film(), Extras().add)
    covered = cover_film(source, tmp_path)
    with av.open(str(covered.path)) as container:
        stream = container.streams.video[0]
        expected = Expected(stream.frames, Fraction(25), stream.width, stream.height)
    verify_film(covered.path, source, expected, False)
    for voice in (Voice.MUTE, Voice.DISGUISE):
        with pytest.raises(FaceBlurError, match="sound"):
            verify_film(covered.path, source, expected, False, voice)
