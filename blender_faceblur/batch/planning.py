# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the outputs of a batch: which inputs, which paths, which containers."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import overload

from ..core.types import FaceBlurError
from ..delivery.container import MATROSKA, Container, choose_container, get_container, list_sound
from ..delivery.voice import Voice, list_disguised
from ..painting.encoders import CODECS, choose_encoder
from ..painting.film import read_stream
from ..sources import FrameSource, MovieSource
from .settings import BatchSettings

MakeJob = Callable[[Path, Path], "FilmJob"]
"""The job of a source, which gets its results below the second path in the folders that the user named."""

OWN_MARK = ".blurred"
"""The mark before the suffix of our outputs. The search through a folder skips files with it."""


FILM_ENDINGS = frozenset(
    {
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".avi",
        ".webm",
        ".mts",
        ".m2ts",
        ".ts",
        ".mpg",
        ".mpeg",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".mxf",
        ".gif",
    }
)


PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp", ".heic", ".heif", ".avif"})


SPARE_BYTES = 4 << 20
"""The free disk space that is needed to begin an output."""


SMALLEST_SIDES = {"image": 4, "movie": 16}
"""The fewest pixels on a side that Blender renders (5.0.1, 5.2.2). It makes smaller pictures larger, and refuses to
write smaller films."""


@dataclass(frozen=True, slots=True)
class FilmJob:
    """One input, and the paths of its results. With `choose_ending`, `output` gets the suffix of its container.

    `problem` says why the input cannot be read, where planning has found that already.
    """

    source: Path
    output: Path
    choose_ending: bool = True
    save_blend: Path | None = None
    save_tracks: Path | None = None
    report: Path | None = None
    save_mattes: Path | None = None
    """A film (.mkv, .mov), a picture (.png), or else a folder for a sequence of pictures."""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Endings:
    """The endings of files in folders that the user names. Empty for mattes as a folder of pictures."""

    tracks: str = ".json"
    mattes: str = ".mkv"


class Plan(Sequence[FilmJob]):
    """The jobs of a batch. Each is made anew when it is asked for, so that 100,000 inputs take little memory."""

    def __init__(self, inputs: Sequence[tuple[str, str]], problems: Mapping[Path, str], make: MakeJob) -> None:
        """`inputs` are the paths of the sources, each with that of its folder below the folder that the user named.

        `problems` are folders that cannot be read, with the reason, and `make` makes the job of a source.
        """
        self._inputs, self._problems, self._make = inputs, list(problems.items()), make

    def __len__(self) -> int:
        return len(self._inputs) + len(self._problems)

    @overload
    def __getitem__(self, number: int) -> FilmJob: ...

    @overload
    def __getitem__(self, number: slice) -> list[FilmJob]: ...

    def __getitem__(self, number: int | slice) -> FilmJob | list[FilmJob]:
        if isinstance(number, slice):
            return [self[at] for at in range(*number.indices(len(self)))]
        at = range(len(self))[number]
        if at < len(self._inputs):
            source, under = self._inputs[at]
            return self._make(Path(source), Path(under))
        folder, problem = self._problems[at - len(self._inputs)]
        return FilmJob(folder, folder, problem=problem)


def plan_jobs(
    inputs: Iterable[Path],
    output: Path | None,
    recursive: bool,
    save_blend: Path | None = None,
    save_tracks: Path | None = None,
    report: Path | None = None,
    save_mattes: Path | None = None,
    endings: Endings = Endings(),
) -> Plan:
    """One job for each input, and for each film and picture in an input folder, in order and without duplicates.

    A folder that cannot be read gets a job with a `problem`, so that its contents are not skipped unnoticed.
    `output` is taken for a folder if it is one, if its name has no suffix, or if there are several inputs; likewise
    `save_blend`, `save_tracks`, `report` and `save_mattes`. Raises FaceBlurError when the options don't fit the inputs.
    """
    # Texts, since a Path takes four times their memory.
    found: dict[str, tuple[str, str]] = {}
    unreadable: dict[Path, str] = {}
    given = list(inputs)
    output, save_blend, save_tracks, report, save_mattes = (
        None if place is None else secure_path(place)
        for place in (output, save_blend, save_tracks, report, save_mattes)
    )
    for entry in given:
        if _is_folder(entry):
            paths, problems = _list_folder(entry, recursive, output)
            unreadable.update(problems)
            for path in paths:
                under = sys.intern(str(Path(path).relative_to(entry).parent))
                found.setdefault(os.path.normcase(path), (path, under))
        else:
            found.setdefault(os.path.normcase(entry), (str(entry), "."))
    single = len(given) == 1 and not _is_folder(given[0])
    for name, place in (
        ("--output", output),
        ("--save-blend", save_blend),
        ("--save-tracks", save_tracks),
        ("--report", report),
        ("--save-mattes", save_mattes),
    ):
        if place is not None and not single and os.path.lexists(place) and not _is_folder(place):
            raise FaceBlurError(f"{name} {place} is a file, but there are several inputs. Name a folder.")
    if (
        output is not None
        and not single
        and output.suffix.lower() in FILM_ENDINGS | PICTURE_ENDINGS
        and not _is_folder(output)
    ):
        raise FaceBlurError(f"--output {output} is the name of a file, but there are several inputs. Name a folder.")

    # Only these results are named after the stem alone.
    named_by_stem = any(place is not None for place in (save_blend, save_tracks, report, save_mattes))
    counts = Counter(_get_stem(source, under) for source, under in found.values()) if named_by_stem else Counter()
    shared = {stem for stem, number in counts.items() if number > 1}
    # Whether the user named the file itself, not a folder.
    is_file = {
        place: single and bool(place.suffix) and not _is_folder(place)
        for place in (output, save_blend, save_tracks, report, save_mattes)
        if place is not None
    }

    def place_beside(folder: Path | None, source: Path, under: Path, ending: str) -> Path | None:
        if folder is None:
            return None
        if is_file[folder]:
            return folder
        # The film and the picture of a live photo have the same name with different suffixes.
        name = source.name if _get_stem(str(source), str(under)) in shared else source.stem
        return folder / under / (name + ending)

    def make(source: Path, under: Path) -> FilmJob:
        source = secure_path(source)
        blend = place_beside(save_blend, source, under, ".blend")
        tracks = place_beside(save_tracks, source, under, f".tracks{endings.tracks}")
        mattes = place_beside(save_mattes, source, under, f".matte{endings.mattes}")
        reported = place_beside(report, source, under, ".report.html")
        if output is not None and is_file[output]:
            return FilmJob(source, output, False, blend, tracks, reported, mattes)
        folder = source.parent if output is None else output / under
        place = folder / f"{source.stem}{OWN_MARK}{source.suffix}"
        return FilmJob(source, place, True, blend, tracks, reported, mattes)

    return Plan(list(found.values()), unreadable, make)


def secure_path(path: Path) -> Path:
    """The path in a form that FFmpeg takes for a file.

    It would read "12:30 talk.mp4" as an address, and "file:talk.mp4" as the file talk.mp4.
    """
    return path.absolute() if ":" in str(path) else path


def _get_stem(source: str, under: str) -> str:
    """What tells inputs apart that are named by their stems, below the folder that the user named."""
    return os.path.normcase(Path(under, Path(source).stem))


def choose_output(
    job: FilmJob, source: FrameSource, settings: BatchSettings
) -> tuple[FilmJob, Container | None, list[str]]:
    """The job with its final output, the container of a film, and sentences for the user. Raises FaceBlurError.

    `source` is the job's, opened.
    """
    info = source.info
    smallest = SMALLEST_SIDES[info.kind]
    if settings.render and not settings.is_direct and min(info.width, info.height) < smallest:
        raise FaceBlurError(
            f"{job.source.name}: {info.width} x {info.height} pixels are too few. Blender renders "
            f"{'pictures' if info.kind == 'image' else 'films'} from {smallest} x {smallest} pixels on."
        )
    if info.kind == "image":
        if job.output.suffix.lower() not in PICTURE_ENDINGS or (
            not job.choose_ending and _get_picture_format(job.output) != _get_picture_format(job.source)
        ):
            if job.choose_ending:
                raise FaceBlurError(f"{job.source.name}: the name of a picture must end with its format.")
            raise FaceBlurError(
                f"{job.output.name}: a picture keeps its format. End the output's name with {job.source.suffix}."
            )
        return job, None, []
    if settings.codec == "ffv1" and info.pixel_aspect != 1 and not settings.is_direct:
        raise FaceBlurError(
            f"{job.source.name}: ffv1 cannot keep pixels that are not square. Use --codec h264 --quality lossless."
        )
    wanted = None if job.choose_ending else job.output
    codec = _choose_codec(job.source, source, settings, wanted) if settings.is_direct else settings.blender_codec
    sound = list_sound(job.source) if settings.voice is not Voice.MUTE else []
    if settings.voice is Voice.DISGUISE:
        sound = list_disguised(sound)
    container, notes = choose_container(job.source, sound, codec, wanted, settings.reencode_audio)
    if job.choose_ending and job.output.suffix.lower() != container.suffix:
        job = replace(job, output=job.output.with_suffix(container.suffix))
    return job, container, notes


def _choose_codec(source: Path, film: FrameSource, settings: BatchSettings, wanted: Path | None) -> str:
    """The codec that the direct renderer will use for a film. Raises FaceBlurError if none keeps its pixels."""
    # Without a name for the output, its container is the source's own or Matroska (see `choose_container`).
    containers = [get_container((wanted or source).suffix), None if wanted is not None else MATROSKA]
    allowed = sorted({codec for one in containers if one is not None for codec in one.pictures}) or CODECS
    if not isinstance(film, MovieSource):
        raise FaceBlurError(f"{source.name}: this is not a film")
    try:
        stream = read_stream(source, film)
        return choose_encoder(
            stream.codec,
            stream.pixel_format,
            settings.codec,
            settings.quality,
            stream.look,
            settings.encoder,
            allowed,
        ).codec
    except FaceBlurError as error:
        raise FaceBlurError(f"{source.name}: {error}. Or use --renderer blender.") from error


def _get_picture_format(path: Path) -> str:
    return {".jpeg": ".jpg", ".tiff": ".tif", ".heif": ".heic"}.get(path.suffix.lower(), path.suffix.lower())


def check_is_not_input(place: Path, *inputs: Path) -> None:
    """Raise FaceBlurError where a result has the path of an input, or another name of its file."""
    for source in inputs:
        if place.resolve() == source.resolve() or (place.exists() and place.samefile(source)):
            raise FaceBlurError(f"{place} is the input itself. Name another output.")


class Claims:
    """The paths of the results of a batch, so that no two of its `jobs` write to the same one.

    It keeps a digest of each path and the number of its job, about 150 bytes.
    """

    def __init__(self, jobs: Sequence[FilmJob]) -> None:
        self._jobs = jobs
        self._taken: dict[bytes, int] = {}

    def add(self, place: Path, number: int) -> None:
        """Claim a path for a job, which `number` counts from 1. Raises FaceBlurError if another result has it."""
        key = hashlib.blake2b(os.fsencode(place.resolve()), digest_size=16).digest()
        if key in self._taken:
            other = self._jobs[self._taken[key] - 1].source
            raise FaceBlurError(f"{place} is already the output of {other}. Name another output.")
        self._taken[key] = number


def check_place(place: Path, overwrite: bool) -> None:
    """Create the folder of a result. Raises FaceBlurError before any work where the result cannot be written."""
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise FaceBlurError(f"{place} cannot be written: {error.strerror}.") from error
    if _is_folder(place):
        raise FaceBlurError(f"{place} is a folder. Name a file.")
    # A link that leads nowhere is in the way too.
    if os.path.lexists(place) and not overwrite:
        raise FaceBlurError(f"{place} already exists. Use --overwrite to replace it.")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place.parent):
            pass
        free = shutil.disk_usage(place.parent).free
    except OSError as error:
        raise FaceBlurError(f"The folder {place.parent} cannot be written to: {error.strerror}.") from error
    if free < SPARE_BYTES:
        raise FaceBlurError(f"The disk of {place.parent} is full ({free / 1e6:.0f} MB free). Nothing was written.")


def _list_folder(folder: Path, recursive: bool, output: Path | None) -> tuple[list[str], dict[Path, str]]:
    """The paths of films and pictures in a folder, sorted, without our own outputs and files in the output folder.

    Also the folders that cannot be read, with the reason.
    """
    own = output.resolve() if output is not None and _is_folder(output) else None
    unreadable: dict[Path, str] = {}

    def note(error: OSError) -> None:
        unreadable[Path(error.filename)] = f"The folder cannot be read: {error.strerror}. Its contents are skipped."

    paths = []
    for place, folders, names in os.walk(folder, onerror=note):
        folders[:] = [name for name in folders if recursive and not name.startswith(".")]
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if path.stem.endswith(OWN_MARK) or path.suffix.lower() not in FILM_ENDINGS | PICTURE_ENDINGS:
                continue
            if own is not None and own != folder.resolve() and own in path.resolve().parents:
                continue
            if _may_be_file(path):
                paths.append(str(path))
    return sorted(paths, key=Path), unreadable


def _is_folder(path: Path) -> bool:
    """Unlike `Path.is_dir`, False for a path that cannot be examined, such as one that is too long."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _may_be_file(path: Path) -> bool:
    """Whether a path is a file, or cannot be examined, which its own run reports."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        return True
