# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the command survives damaged files of many kinds, and covers the face in all others: build.py bench hostile.

Films and pictures of a face whose place is known are damaged in a seeded way and given to the real command, with limits
on time and memory. What it makes is read with PyAV and OpenCV alone.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import Ellipse
from blender_faceblur.painting.formats import choose_planar
from blender_faceblur.painting.heif import encode_heif
from blender_faceblur.sources.heif import HeifPicture
from tools.film import draw_frame

from .portraits import open_yunet

ROOT = Path(__file__).resolve().parents[1]
SIZE = (256, 144)
FRAMES = 15
BATCH = 8
MEMORY_BYTES = 8 << 30
FILE_BYTES = 1 << 30
SECONDS_FOR_EACH = 45
RATE = Fraction(25)
MS = Fraction(1, 1000)
LEAST_DIFFERENCE = 12.0
"""Mean difference of grey levels on the face from which it counts as covered. The uncovered parts differ by less."""

MOST_DIFFERENCE = 6.0
SURE = 0.85
"""The confidence from which a face that YuNet finds in an output counts as visible."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file. `ticks` are the times of its pictures in milliseconds; None for a constant rate."""

    suffix: str
    codec: str = ""
    pixel_format: str = "yuv420p"
    sound: tuple[str, ...] = ()
    ticks: tuple[int, ...] | None = None
    rotation: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    container: Mapping[str, str] = field(default_factory=dict)
    second_video: bool = False
    hidden: int = 0
    """How many pictures at the beginning an edit list hides."""
    keeps_times: bool = True
    """Whether the container holds the time of every picture."""


EARLY = {"avoid_negative_ts": "disabled"}
KINDS: dict[str, Kind] = {
    "mp4 h264 aac": Kind(".mp4", "libx264", sound=("aac",), options={"bf": "2", "g": "6"}),
    "mp4 faststart": Kind(".mp4", "libx264", sound=("aac",), container={"movflags": "+faststart"}),
    "mp4 fragments": Kind(".mp4", "libx264", container={"movflags": "frag_keyframe+empty_moov"}, options={"g": "5"}),
    "mp4 h265 10 bits": Kind(".mp4", "libx265", "yuv420p10le", options={"x265-params": "log-level=none"}),
    "mp4 av1": Kind(".mp4", "libsvtav1", options={"preset": "12"}),
    "mp4 variable rate": Kind(".mp4", "libx264", ticks=tuple(40 * n + 15 * (n % 3 == 1) for n in range(FRAMES))),
    "mp4 rotated": Kind(".mp4", "libx264", rotation=90),
    "mp4 edit list": Kind(".mp4", "libx264", sound=("aac",), options={"g": "5", "bf": "0"}, hidden=5),
    "mp4 two videos": Kind(".mp4", "libx264", second_video=True),
    "mov prores pcm": Kind(".mov", "prores_ks", "yuv422p10le", sound=("pcm_s16le",)),
    "mov mjpeg": Kind(".mov", "mjpeg", "yuvj420p"),
    "mov qtrle": Kind(".mov", "qtrle", "argb"),
    "3gp mpeg4": Kind(".3gp", "mpeg4", sound=("aac",)),
    "mkv h264 two sounds": Kind(".mkv", "libx264", sound=("aac", "flac"), options={"bf": "2"}),
    "mkv early": Kind(".mkv", "libx264", ticks=tuple(40 * n - 200 for n in range(FRAMES)), container=EARLY),
    "mkv ffv1 rgb": Kind(".mkv", "ffv1", "bgr0"),
    "mkv vp9 opus": Kind(".mkv", "libvpx-vp9", sound=("libopus",), options={"deadline": "realtime", "cpu-used": "8"}),
    "webm vp8 opus": Kind(".webm", "libvpx", sound=("libopus",), options={"deadline": "realtime", "cpu-used": "8"}),
    "avi mpeg4 mp3": Kind(".avi", "mpeg4", sound=("libmp3lame",), keeps_times=False),
    "avi mjpeg": Kind(".avi", "mjpeg", "yuvj422p"),
    "flv sorenson": Kind(".flv", "flv", sound=("libmp3lame",)),
    "flv h264": Kind(".flv", "libx264", sound=("aac",)),
    "ts mpeg2": Kind(".ts", "mpeg2video", sound=("mp2",)),
    "ts h264 aac": Kind(".ts", "libx264", sound=("aac",), options={"bf": "2"}),
    "mpg": Kind(".mpg", "mpeg2video", sound=("mp2",), keeps_times=False),
    "wmv": Kind(".wmv", "wmv2"),
    "jpg": Kind(".jpg"),
    "png": Kind(".png"),
    "tif": Kind(".tif"),
    "bmp": Kind(".bmp"),
    "webp": Kind(".webp"),
    "heic": Kind(".heic"),
    "avif": Kind(".avif"),
}


@cache
def draw(number: int, size: tuple[int, int] = SIZE) -> tuple[NDArray[np.uint8], Ellipse]:
    """Picture `number` and the face in it."""
    picture, faces = draw_frame(number / FRAMES, *size, "steady")
    return picture, faces[0].ellipse


def write(kind: Kind, path: Path) -> None:
    if path.suffix == ".heic":
        write_heic(path)
        return
    if path.suffix == ".avif":
        with av.open(str(path), "w", format="avif") as container:
            stream: Any = container.add_stream("libsvtav1", rate=RATE, options={"preset": "8", "crf": "12"})
            stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
            frame = av.VideoFrame.from_ndarray(draw(0, (320, 240))[0], "bgr24").reformat(format="yuv420p")
            container.mux([*stream.encode(frame), *stream.encode(None)])
        return
    if not kind.codec:
        path.write_bytes(cv2.imencode(path.suffix, draw(0, (320, 240))[0])[1].tobytes())
        return
    with av.open(str(path), "w", container_options=dict(kind.container)) as container:
        container.metadata["title"] = "hostile"
        base = MS if kind.ticks is not None else 1 / RATE
        streams: list[Any] = []
        for _ in range(1 + kind.second_video):
            stream = container.add_stream(kind.codec, rate=RATE, options=dict(kind.options))
            stream.width, stream.height = SIZE[::-1] if kind.rotation else SIZE
            stream.pix_fmt = kind.pixel_format
            stream.codec_context.time_base = stream.time_base = base
            if kind.codec not in ("libx264", "libx265", "ffv1", "qtrle", "libsvtav1"):
                stream.codec_context.bit_rate = 3_000_000
            streams.append(stream)
        if kind.rotation:
            streams[0].set_display_rotation(-kind.rotation)
        sounds = [container.add_stream(codec, rate=48000, layout="mono") for codec in kind.sound]
        for sound in sounds:
            sound.codec_context.bit_rate = 128_000
            container.mux(_encode_tone(sound))
        for number in range(FRAMES):
            picture = np.ascontiguousarray(np.rot90(draw(number)[0], kind.rotation // 90))
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(picture, "bgr24").reformat(format=kind.pixel_format)
                frame.pts, frame.time_base = (kind.ticks[number] if kind.ticks is not None else number), base
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    if kind.hidden:
        hide_beginning(path, kind.hidden)


def write_heic(path: Path) -> None:
    """FFmpeg has no writer, so it is ours."""
    picture: Any = HeifPicture("HEIC", 320, 240, cast(Any, None), None, False, (0, 0, 320, 240), [], [])
    frame = av.VideoFrame.from_ndarray(draw(0, (320, 240))[0], "bgr24").reformat(format="yuv420p")
    path.write_bytes(encode_heif(picture, frame, picture.place, choose_planar("yuv420p"))[0])


def read_still(data: bytes) -> Any:
    """The picture (BGR) by OpenCV, or of HEIC and AVIF by FFmpeg's reader; None if it cannot be read."""
    if data[4:8] != b"ftyp":
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    try:
        with av.open(io.BytesIO(data)) as container:
            return next(container.decode(video=0)).to_ndarray(format="bgr24")
    except (av.error.FFmpegError, StopIteration, IndexError):
        return None


def _encode_tone(stream: Any) -> list[Any]:
    wave = (8000 * np.sin(np.arange(FRAMES * 1920) / 20)).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
    return [*stream.encode(frame), *stream.encode(None)]


def hide_beginning(path: Path, pictures: int) -> None:
    """Let the edit lists of an MP4 begin the given number of pictures later."""
    with av.open(str(path)) as container:
        bases = [Fraction(stream.time_base) for stream in container.streams]
    content, at = bytearray(path.read_bytes()), -1
    for base in bases:
        at = content.index(b"elst", at + 1)
        start = int.from_bytes(content[at + 16 : at + 20], "big")
        moved = start + round(pictures / RATE / base)
        content[at + 16 : at + 20] = moved.to_bytes(4, "big")
    path.write_bytes(content)


def _truncate(content: bytes, random: np.random.Generator) -> bytes:
    return content[: int(len(content) * random.uniform(0.05, 0.98))]


def _flip(content: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(content)
    for place in random.integers(0, len(content), max(1, len(content) // int(random.choice([200, 2000, 20000])))):
        changed[place] ^= 1 << int(random.integers(8))
    return bytes(changed)


def _zero(content: bytes, random: np.random.Generator) -> bytes:
    start = int(random.integers(len(content)))
    length = int(random.integers(1, max(2, len(content) // 4)))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def _swap(content: bytes, random: np.random.Generator) -> bytes:
    """Exchange two parts, which breaks the positions that an index names."""
    first, second = sorted(int(place) for place in random.integers(0, len(content), 2))
    return content[:first] + content[second:] + content[first:second]


def _enlarge(content: bytes, random: np.random.Generator) -> bytes:
    """Write huge numbers into the header: into boxes that are known, else into any place."""
    changed = bytearray(content)
    names = [b"stsz", b"stts", b"trak", b"mdat", b"avc1", b"tkhd", b"elst", b"IHDR", b"strf", b"idx1", b"stco"]
    places = [content.find(name) for name in names if content.find(name) >= 0]
    place = int(random.choice(places)) + int(random.choice([-4, 4, 8, 12])) if places else int(random.integers(200))
    place = max(place, 0)
    changed[place : place + 4] = random.choice([b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"])
    return bytes(changed[: len(content)])


DAMAGES: dict[str, Callable[[bytes, np.random.Generator], bytes]] = {
    "none": lambda content, random: content,
    "truncated": _truncate,
    "bits": _flip,
    "zeros": _zero,
    "swapped": _swap,
    "sizes": _enlarge,
    "extension": lambda content, random: content,
}
SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".ts", ".jpg", ".png", ".webm")


@dataclass(frozen=True, slots=True)
class Case:
    """One file: its kind and damage, and the seed that makes it again."""

    kind: str
    damage: str
    seed: int


def make(case: Case, folder: Path, originals: Path) -> Path:
    """Write the file of a case; returns its path."""
    kind = KINDS[case.kind]
    original = originals / f"{case.kind}{kind.suffix}"
    if not original.exists():
        write(kind, original)
    random = np.random.default_rng(case.seed)
    suffix = kind.suffix
    if case.damage == "extension":
        suffix = str(random.choice([other for other in SUFFIXES if other != kind.suffix]))
    path = folder / f"{case.seed:06}{suffix}"
    path.write_bytes(DAMAGES[case.damage](original.read_bytes(), random))
    return path


def limit(process: subprocess.Popen[bytes]) -> None:
    """Limit the memory and the files of a process and of those that it starts."""
    if sys.platform == "linux":
        import resource

        for what, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_FSIZE, FILE_BYTES)):
            resource.prlimit(process.pid, what, (most, most))


def run_limited(command: list[str], place: Path, variables: dict[str, str], files: int) -> tuple[int | None, str, str]:
    """Run a command. Returns its exit code (None if it took too long), standard output and error output."""
    log, errors = place / "stdout", place / "stderr"
    with log.open("wb") as into, errors.open("wb") as wrong:
        process = subprocess.Popen(command, stdout=into, stderr=wrong, env=variables)
        limit(process)
        code: int | None = None
        try:
            code = process.wait(timeout=SECONDS_FOR_EACH * files)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
    return code, log.read_text(encoding="utf-8"), errors.read_text(encoding="utf-8", errors="replace")


def run_batch(cases: list[Case], place: Path, originals: Path) -> Iterator[tuple[Case, str, list[str]]]:
    """Run the command on the files of these cases. Yields each case, its outcome and what is wrong with it."""
    inputs, output, temporary = place / "in", place / "out", place / "temporary"
    for folder in (inputs, output, temporary):
        folder.mkdir(parents=True)
    paths = [make(case, inputs, originals) for case in cases]
    before = [hashlib.sha256(path.read_bytes()).digest() for path in paths]
    names = ("TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **dict.fromkeys(names, str(temporary))}
    command = [sys.executable, "-P", "-m", "blender_faceblur.batch.cli", *map(str, paths), "-o", str(output)]
    code, stdout, stderr = run_limited([*command, "--preset", "fast", "--json"], place, variables, len(cases))
    messages = [json.loads(line) for line in stdout.splitlines()]
    finished = {message["source"]: message for message in messages if message["type"] == "finish"}
    statuses = [finished[str(path)]["status"] if str(path) in finished else "missing" for path in paths]
    problems = []
    if code is None:
        problems.append("the command takes too long")
    elif code != (0 if set(statuses) <= {"done"} else 1):
        problems.append(f"the exit code is {code}")
    if stderr.strip():
        problems.append(f"on the error output: {stderr.strip().splitlines()[-1]}")
    outputs = {message["output"] for message in finished.values() if message["output"]}
    left = [str(file.relative_to(place)) for file in temporary.rglob("*") if file.is_file()]
    left += [str(file.relative_to(place)) for file in output.rglob("*") if str(file) not in outputs]
    problems += [f"left behind: {name}" for name in left]
    for case, path, digest, status in zip(cases, paths, before, statuses, strict=True):
        faults = list(problems)
        if hashlib.sha256(path.read_bytes()).digest() != digest:
            faults.append("the source has changed")
        message = finished.get(str(path), {})
        if status == "missing":
            faults.append("no outcome")
        elif status == "failed" and (not message["reason"] or "\n" in message["reason"]):
            faults.append(f"not one line: {message['reason']!r}")
        elif status == "done":
            faults += check(case, path, Path(message["output"]), originals)
        elif case.damage == "none":
            faults.append(f"an intact file fails: {message['reason']}")
        yield case, status, faults


def check(case: Case, source: Path, output: Path, originals: Path) -> list[str]:
    """What is wrong with an output."""
    kind = KINDS[case.kind]
    try:
        if not kind.codec:
            picture = read_still(output.read_bytes())
            if picture is None:
                return ["the output cannot be read"]
            made = [(Fraction(0), np.asarray(picture, np.uint8))]
        else:
            made = read_pictures(output)
    except (av.error.FFmpegError, OSError) as error:
        return [f"the output cannot be read: {error}"]
    problems = []
    if not made:
        return ["the output has no pictures"]
    yunet = open_yunet()
    turned = [np.ascontiguousarray(np.rot90(picture, -kind.rotation // 90)) for _, picture in made]
    for number in range(0, len(turned), 4):
        found = max((face.confidence for face in yunet.detect(turned[number])), default=0)
        if found >= SURE:
            problems.append(f"a face is visible in picture {number} ({found:.2f})")
    if case.damage in ("none", "extension"):
        problems += _check_intact(kind, source, output, made)
    return problems


def _check_intact(kind: Kind, source: Path, output: Path, made: list[tuple[Fraction, NDArray[np.uint8]]]) -> list[str]:
    if not kind.codec:
        whole = [(Fraction(0), np.asarray(read_still(source.read_bytes()), np.uint8))]
    else:
        whole = read_pictures(source)
    if len(whole) != len(made) or len(made) != (FRAMES - kind.hidden if kind.codec else 1):
        return [f"{len(made)} pictures instead of {len(whole)}"]
    problems = []
    for number, ((time_before, before), (time_after, after)) in enumerate(zip(whole, made, strict=True)):
        place = number + kind.hidden
        wanted = time_before - whole[0][0]
        if kind.ticks is not None:
            wanted = (kind.ticks[place] - kind.ticks[0]) * MS
        if kind.keeps_times and abs(time_after - made[0][0] - wanted) > 2 * MS:
            problems.append(f"picture {number} is shown {float(time_after - made[0][0] - wanted):+.3f} s late")
        face = draw(place, SIZE if kind.codec else (320, 240))[1]
        height, width = (before.shape[1], before.shape[0]) if kind.rotation else before.shape[:2]
        y, x = np.mgrid[0:height, 0:width]
        away = np.rot90(np.hypot((x - face.cx) / face.rx, (y - face.cy) / face.ry), kind.rotation // 90)
        difference = np.abs(before.astype(int) - after).mean(axis=2)
        if difference[away < 1].mean() < LEAST_DIFFERENCE:
            problems.append(f"the face of picture {number} is not covered")
        if difference[away > 2.2].mean() > MOST_DIFFERENCE:
            problems.append(f"picture {number} differs outside of the cover")
    if kind.codec:
        problems += _check_sound(kind, source, output)
    return problems


def _check_sound(kind: Kind, source: Path, output: Path) -> list[str]:
    before, after = read_sound(source), read_sound(output)
    if len(after) != len(kind.sound):
        return [f"{len(after)} sound streams instead of {len(kind.sound)}"]
    # A packet has 1024 samples of AAC, and the first one only primes the decoder.
    hidden = kind.hidden / RATE * 48000 / 1024 + bool(kind.hidden)
    for number, (whole, made) in enumerate(zip(before, after, strict=True)):
        # At most one packet of what is hidden stays.
        if not made or whole[-len(made) :] != made or not hidden - 1 <= len(whole) - len(made) <= hidden:
            return [f"sound stream {number} has other packets ({len(made)} of {len(whole)})"]
    return []


def read_pictures(path: Path) -> list[tuple[Fraction, NDArray[np.uint8]]]:
    """The time in seconds and the content (BGR) of each picture of the first video stream that can be decoded."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = Fraction(stream.time_base)
        return [((frame.pts or 0) * base, frame.to_ndarray(format="bgr24")) for frame in container.decode(stream)]


def read_sound(path: Path) -> list[list[bytes]]:
    """The packets of each sound stream, without the headers that MPEG-TS adds to AAC."""
    sounds = []
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    for number in range(count):
        with av.open(str(path)) as container:
            packets = [bytes(packet) for packet in container.demux(audio=number) if packet.size]
            sounds.append([data[7:] if data[:2] in (b"\xff\xf1", b"\xff\xf9") else data for data in packets])
    return sounds


def list_cases(seed: int) -> Iterator[Case]:
    """All kinds undamaged, then kinds and damages in turn, without end."""
    number = seed * 100_000
    for kind in KINDS:
        yield Case(kind, "none", number)
        number += 1
    random = np.random.default_rng(seed)
    damages = [name for name in DAMAGES if name != "none"]
    while True:
        pairs = [(kind, damage) for kind in KINDS for damage in damages]
        random.shuffle(pairs)
        for kind, damage in pairs:
            yield Case(kind, damage, number)
            number += 1


def print_table(outcomes: Counter[tuple[str, str, str]]) -> None:
    """Kinds by damages: how many files were covered, refused, and handled wrongly."""
    print(f"{'':20}" + "".join(f"{name:>12}" for name in DAMAGES))
    for kind in KINDS:
        cells = ["/".join(str(outcomes[kind, name, how]) for how in ("done", "failed", "wrong")) for name in DAMAGES]
        print(f"{kind:20}" + "".join(f"{'' if cell == '0/0/0' else cell:>12}" for cell in cells))
    print("covered/refused/wrong")


def run(cases: Iterator[Case], minutes: float) -> tuple[Counter[tuple[str, str, str]], list[tuple[Case, list[str]]]]:
    """Run cases until the time is over. Returns how often each happened, and the faults."""
    outcomes: Counter[tuple[str, str, str]] = Counter()
    faults = []
    end = time.monotonic() + 60 * minutes
    with tempfile.TemporaryDirectory(prefix="hostile") as folder:
        originals = Path(folder, "originals")
        originals.mkdir()
        number = 0
        while time.monotonic() < end:
            batch = [case for _, case in zip(range(BATCH), cases, strict=False)]
            if not batch:
                break
            place = Path(folder, f"batch {number}")
            number += 1
            for case, status, wrong in run_batch(batch, place, originals):
                outcomes[case.kind, case.damage, "wrong" if wrong else status] += 1
                if wrong:
                    faults.append((case, wrong))
                    print(f"{case.kind}, {case.damage}, seed {case.seed}: {'; '.join(wrong)}", flush=True)
    return outcomes, faults


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="build.py bench hostile", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true", help="let things go wrong while the command runs, instead")
    options = parser.parse_args(arguments)
    os.environ.setdefault("SVT_LOG", "1")
    if options.faults:
        from .faults import main as break_runs

        return break_runs(options.seed, options.minutes)
    outcomes, faults = run(list_cases(options.seed), options.minutes)
    print_table(outcomes)
    print(f"{sum(outcomes.values())} files, {len(faults)} with faults, {os.cpu_count()} cores, {sys.platform}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
