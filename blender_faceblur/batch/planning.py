# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan the outputs of a batch: which inputs, which paths, which containers."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.types import FaceBlurError, SourceInfo
from ..delivery.container import Container, choose_container, list_sound
from .settings import BatchSettings

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


PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})


SPARE_BYTES = 4 << 20
"""The free disk space that is needed to begin an output."""


@dataclass(frozen=True, slots=True)
class FilmJob:
    """One input, and the paths of its results. With `choose_ending`, `output` gets the suffix of its container."""

    source: Path
    output: Path
    choose_ending: bool = True
    save_blend: Path | None = None
    save_tracks: Path | None = None
    report: Path | None = None


def plan_jobs(
    inputs: Iterable[Path],
    output: Path | None,
    recursive: bool,
    save_blend: Path | None = None,
    save_tracks: Path | None = None,
    report: Path | None = None,
) -> list[FilmJob]:
    """One job for each input, and for each film and picture in an input folder, in order and without duplicates.

    `output` is taken for a folder if it is one, if its name has no suffix, or if there are several inputs; likewise
    `save_blend`, `save_tracks` and `report`. Raises FaceBlurError when the options don't fit the inputs.
    """
    found: dict[Path, Path] = {}
    for entry in inputs:
        if entry.is_dir():
            for path in _list_folder(entry, recursive, output):
                found.setdefault(path, path.relative_to(entry).parent)
        else:
            found.setdefault(entry, Path())
    given = list(inputs)
    single = len(given) == 1 and not given[0].is_dir()
    for name, place in (
        ("--output", output),
        ("--save-blend", save_blend),
        ("--save-tracks", save_tracks),
        ("--report", report),
    ):
        if place is not None and not single and place.is_file():
            raise FaceBlurError(f"{name} {place} is a file, but there are several inputs. Name a folder.")
    if (
        output is not None
        and not single
        and output.suffix.lower() in FILM_ENDINGS | PICTURE_ENDINGS
        and not output.is_dir()
    ):
        raise FaceBlurError(f"--output {output} is the name of a file, but there are several inputs. Name a folder.")

    names = Counter(under / source.stem for source, under in found.items())

    def place_beside(folder: Path | None, source: Path, under: Path, ending: str) -> Path | None:
        if folder is None:
            return None
        if single and folder.suffix and not folder.is_dir():
            return folder
        # The film and the picture of a live photo have the same name with different suffixes.
        alone = names[under / source.stem] == 1
        return folder / under / ((source.stem if alone else source.name) + ending)

    jobs = []
    for source, under in found.items():
        blend = place_beside(save_blend, source, under, ".blend")
        tracks = place_beside(save_tracks, source, under, ".tracks.json")
        reported = place_beside(report, source, under, ".report.html")
        if output is not None and single and output.suffix and not output.is_dir():
            jobs.append(FilmJob(source, output, False, blend, tracks, reported))
        else:
            folder = source.parent if output is None else output / under
            jobs.append(
                FilmJob(source, folder / f"{source.stem}{OWN_MARK}{source.suffix}", True, blend, tracks, reported)
            )
    return jobs


def choose_output(
    job: FilmJob, info: SourceInfo, settings: BatchSettings
) -> tuple[FilmJob, Container | None, list[str]]:
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
    if settings.codec == "ffv1" and info.pixel_aspect != 1:
        raise FaceBlurError(
            f"{job.source.name}: ffv1 cannot keep pixels that are not square. Use --codec h264 --quality lossless."
        )
    wanted = None if job.choose_ending else job.output
    container, notes = choose_container(
        job.source, list_sound(job.source), settings.codec, wanted, settings.reencode_audio
    )
    if job.choose_ending and job.output.suffix.lower() != container.suffix:
        job = replace(job, output=job.output.with_suffix(container.suffix))
    return job, container, notes


def _get_picture_format(path: Path) -> str:
    return {".jpeg": ".jpg", ".tiff": ".tif"}.get(path.suffix.lower(), path.suffix.lower())


def claim(place: Path, source: Path, taken: dict[Path, Path]) -> None:
    key = place.resolve()
    if key == source.resolve() or (place.exists() and place.samefile(source)):
        raise FaceBlurError(f"{place} is the input itself. Name another output.")
    if key in taken:
        raise FaceBlurError(f"{place} is already the output of {taken[key]}. Name another output.")
    taken[key] = source


def check_place(place: Path, overwrite: bool) -> None:
    """Create the folder of a result. Raises FaceBlurError before any work where the result cannot be written."""
    if place.is_dir():
        raise FaceBlurError(f"{place} is a folder. Name a file.")
    if place.exists() and not overwrite:
        raise FaceBlurError(f"{place} already exists. Use --overwrite to replace it.")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place.parent).free
    except OSError as error:
        raise FaceBlurError(f"The folder {place.parent} cannot be written to: {error.strerror}.") from error
    if free < SPARE_BYTES:
        raise FaceBlurError(f"The disk of {place.parent} is full ({free / 1e6:.0f} MB free). Nothing was written.")


def _list_folder(folder: Path, recursive: bool, output: Path | None) -> list[Path]:
    """The films and pictures in a folder, sorted, without our own outputs and the files in the output folder."""
    own = output.resolve() if output is not None and output.is_dir() else None
    paths = []
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.stem.endswith(OWN_MARK) or path.suffix.lower() not in FILM_ENDINGS | PICTURE_ENDINGS:
            continue
        if path.is_file() and not (own is not None and own != folder.resolve() and own in path.resolve().parents):
            paths.append(path)
    return paths
