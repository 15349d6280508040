# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn files into blurred files: plan the outputs, then analyse, render, deliver and check one file after another."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.detection.settings import DEFAULT_MARGIN, get_preset, list_detectors
from ..core.document.tracks_file import read_document, write_document
from ..core.tracking import plates
from ..core.types import Ellipse, FaceBlurError, Sample, SourceInfo, TrackDocument, TrackKind, TrackStatus
from ..core.verification.leaks import Verification, from_json
from ..delivery.container import Container, choose_container, list_sound
from ..delivery.encode import LOSSLESS_CODEC, encode_pictures, needs_encoding
from ..delivery.picture import finish_picture, read_picture_record, read_profile, verify_picture
from ..delivery.record import make_record, parse_frames, read_film_record
from ..delivery.remux import remux_film
from ..delivery.verify import Expected, verify_film
from ..files.paths import get_model_path, list_models, unfinished_analyses
from ..files.workplace import Workplace, replace_file
from ..reporting.progress import Outcome, Reporter
from ..reporting.report import collect_report, draw_faces, list_findings, write_report
from ..sources import open_source
from ..sources.image import parse_orientation
from ..worker.client import build_request, build_verify_request, finish_job
from ..worker.protocol import EmbeddingsDone, Message, TrackEmbedding, Warned
from .people import Recognition
from .rendering import OnProgress, check_blender, run_blender_job

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

_FEW_SAMPLES = 3.0

_KEPT_S = 30 * 86400.0
"""How long an unfinished analysis is kept to be resumed."""

RECORD_VERSION = 2
"""Increase it when the same source and settings give a different result, so that --resume makes the output again."""


@dataclass(frozen=True, slots=True)
class BatchSettings:
    """The settings for every file. `codec` and `quality` are those of blender/rendering/render.py."""

    preset: str = "balanced"
    margin: float = DEFAULT_MARGIN
    effect: str = "solid"
    """Empty where the effect of an existing output is not known."""
    color: str = "000000"
    samples_per_face: float = 6.0
    codec: str = "h264"
    quality: str = "high"
    render: bool = True
    overwrite: bool = False
    resume: bool = False
    reencode_audio: bool = False
    blender: Path | None = None
    verify_every: int = 0
    """Verify outputs, and run the detectors on one frame in this many; 0 for no verification."""
    plates: bool = False
    """Whether number plates are covered too."""
    people: Recognition | None = None
    """Whom to cover and who stays visible; None covers everyone."""
    image: Path | None = None
    """The picture of the effect "image"."""
    inverse: bool = False
    """Whether everything except the faces is covered; with `people`, except the faces of those who stay visible."""

    def shape(self) -> dict[str, str | int | float | bool]:
        """The settings that affect the output."""
        return {
            "version": RECORD_VERSION,
            "preset": self.preset,
            "detectors": list_weights(self.preset),
            "expansion": self.margin,
            "effect": self.effect,
            "color": self.color,
            "samples_across": self.samples_per_face,
            "codec": self.codec,
            "quality": self.quality,
            "reencode_audio": self.reencode_audio,
            **({"people": self.people.digest} if self.people else {}),
            **({"plates": list_weights(plates.PLATE_PRESET)} if self.plates else {}),
            **({"image": hashlib.sha256(self.image.read_bytes()).hexdigest()} if self.image else {}),
            **({"inverse": True} if self.inverse else {}),
        }


@dataclass(frozen=True, slots=True)
class FilmJob:
    """One input, and the paths of its results. With `choose_ending`, `output` gets the suffix of its container."""

    source: Path
    output: Path
    choose_ending: bool = True
    save_blend: Path | None = None
    save_tracks: Path | None = None
    report: Path | None = None


Warn = Callable[[str], None]
Analyse = Callable[[Path, Path, BatchSettings, OnProgress, Warn], None]
Render = Callable[[dict[str, Any], Path, Path | None, OnProgress, Warn], dict[str, Any]]
Verify = Callable[[Path, Path, Path, BatchSettings, OnProgress, Warn], Verification]
"""(source, output, tracks document, ...)"""


@dataclass(frozen=True, slots=True)
class Stages:
    """The functions for the long stages of a run. Tests and the export pass their own."""

    analyse: Analyse
    render: Render
    verify: Verify


@dataclass(frozen=True, slots=True)
class Batch:
    """The state that all runs of a batch share. `taken` maps the paths of their results to the sources."""

    settings: BatchSettings
    reporter: Reporter
    stages: Stages
    workplace: Workplace
    taken: dict[Path, Path] = field(default_factory=dict)


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


def run_batch(
    jobs: list[FilmJob],
    settings: BatchSettings,
    reporter: Reporter,
    analyse: Analyse | None = None,
    render: Render = run_blender_job,
    verify: Verify | None = None,
) -> list[Outcome]:
    """Do the jobs one after another, and return their outcomes in the same order. A failed job does not stop the rest.

    A file with its final name is always complete, and an existing file is replaced only with `overwrite`.
    """
    stages = Stages(analyse or _run_resumable_analysis, render, verify or run_verification)
    outcomes: list[Outcome] = []
    _forget_abandoned()
    with Workplace() as workplace:
        batch = Batch(settings, reporter, stages, workplace)
        for number, job in enumerate(jobs, 1):
            reporter.start(job.source, number, len(jobs))
            outcome = Run(job, batch).make_output()
            reporter.finish(outcome)
            outcomes.append(outcome)
    reporter.summarize(outcomes)
    return outcomes


def verify_one(job: FilmJob, tracks: Path, settings: BatchSettings, reporter: Reporter) -> Outcome:
    """Verify an existing output with the tracks document that it was made with, and write a report if asked to."""
    with Workplace() as workplace:
        batch = Batch(settings, reporter, Stages(_run_resumable_analysis, run_blender_job, run_verification), workplace)
        return Run(job, batch).verify_output(tracks)


def list_weights(preset: str) -> str:
    """The installed weights that a preset uses. They are compared because fewer weights give a different output."""
    there = []
    for name in sorted(list_detectors(get_preset(preset))):
        with suppress(FaceBlurError):
            get_model_path(name)
            there.append(f"{name} {list_models()[name].sha256}")
    return ", ".join(there)


def run_analysis(
    source: Path,
    tracks: Path,
    settings: BatchSettings,
    on_progress: OnProgress,
    warn: Warn,
    storage: Path | None = None,
) -> None:
    """Analyse a source in separate processes, and write the tracks document to `tracks`. Raises FaceBlurError.

    With `storage` (a folder), an unfinished analysis of the same source and settings is resumed.
    """
    request = build_request(
        source, tracks, settings.preset, settings.margin, storage=storage, recognise=settings.people is not None
    )

    def hear(message: Message) -> None:
        match message:
            case TrackEmbedding() if settings.people is not None:
                settings.people.take(message)
            case EmbeddingsDone() if settings.people is not None:
                settings.people.end()
            case Warned():
                warn(message.text)

    finish_job(request, on_progress, hear)


def run_verification(
    source: Path,
    output: Path,
    tracks: Path,
    settings: BatchSettings,
    on_progress: OnProgress,
    warn: Warn,
) -> Verification:
    """Compare an output with its source in a separate process. Raises FaceBlurError where that fails."""
    with Workplace() as workplace:
        place = workplace.folder / "verification.json"
        # Effects without samples leave nothing of a face, so nearly all of its detail must be gone.
        samples = settings.samples_per_face if settings.effect in ("mosaic", "blur", "gaussian") else _FEW_SAMPLES
        request = build_verify_request(source, output, tracks, place, samples, settings.verify_every or 1)

        def hear(message: Message) -> None:
            if isinstance(message, Warned):
                warn(message.text)

        try:
            finish_job(request, on_progress, hear)
        except FaceBlurError as error:
            raise FaceBlurError(f"The verification failed: {error}") from error
        return from_json(place.read_text(encoding="utf-8"))


def _run_resumable_analysis(
    source: Path, tracks: Path, settings: BatchSettings, on_progress: OnProgress, warn: Warn
) -> None:
    run_analysis(source, tracks, settings, on_progress, warn, _get_unfinished_path(source))


def _get_unfinished_path(source: Path) -> Path:
    """The folder in which the analysis of a source is kept until its output is finished."""
    return unfinished_analyses() / hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:32]


def _forget_abandoned() -> None:
    """Remove unfinished analyses that were not resumed in time."""
    for folder in unfinished_analyses().glob("*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _KEPT_S:
                shutil.rmtree(folder)


class Run:
    """The run from one input to its output. `_make` calls the steps, one method each, in order.

    `prepare` sets `info` and `container`. Unfinished results lie in the folder `part` and in the .blend file `project`
    (if one is wanted) until they are moved into place.
    """

    info: SourceInfo
    container: Container | None
    part: Path
    project: Path | None
    _container_notes: list[str]

    def __init__(self, job: FilmJob, batch: Batch) -> None:
        self.job, self.batch, self.settings, self.reporter = job, batch, batch.settings, batch.reporter
        self.outcome = Outcome(job.source, "failed")
        self.folder = batch.workplace.folder
        self.tracks = self.folder / "tracks.json"

    def make_output(self) -> Outcome:
        """Make the output and the other results that were asked for. An error becomes the reason of the outcome."""
        return self._try(self._make)

    def verify_output(self, tracks: Path) -> Outcome:
        """Verify the existing output, made with the document at `tracks`, and write a report if asked to."""
        return self._try(lambda: self._verify_existing(tracks))

    def _try(self, work: Callable[[], None]) -> Outcome:
        outcome, source = self.outcome, self.job.source
        began = time.monotonic()
        try:
            work()
        except FaceBlurError as error:
            outcome.status = "failed"
            # The reporter already names the file.
            outcome.reason = str(error).removeprefix(f"{source}: ").removeprefix(f"{source.name}: ")
        except OSError as error:
            outcome.status = "failed"
            outcome.reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
        if outcome.status == "failed":
            outcome.output = None
        outcome.seconds = time.monotonic() - began
        return outcome

    def _make(self) -> None:
        """All steps of the run, in order."""
        self.prepare()
        if self.settings.resume and self.settings.render and _is_finished(self.job, self.info, self.settings):
            self.skip()
            return
        self.check_places()
        with self.unfinished_results():
            document = self.analyse()
            pictures = self.render(document)
            verification = None
            if self.settings.render:
                finished = self.deliver(pictures)
                if self.settings.verify_every:
                    verification = self.verify(finished, self.tracks, self.warn)
                replace_file(finished, self.job.output)
                self.outcome.output = self.job.output
            self.save(document)
            self.report(document, verification, _describe_settings(self.settings), self.settings.blender)
            self.forget_analysis()
        self.outcome.status = "done"

    def prepare(self) -> None:
        """Open the source, and choose the paths of the results. Raises FaceBlurError where a path is not possible."""
        for name in (self.job.source.resolve(), self.job.output.resolve()):
            if any(0xD800 <= ord(sign) <= 0xDFFF for sign in str(name)):
                raise FaceBlurError(
                    f"{self.job.source}: Blender cannot open this path, because it is not valid UTF-8. Rename the file."
                )
        with open_source(self.job.source) as source:
            self.info = source.info
        self.job, self.container, self._container_notes = _choose_output(self.job, self.info, self.settings)
        for place in self._list_places():
            _claim(place, self.job.source, self.batch.taken)

    def skip(self) -> None:
        """Keep the output of an earlier run, and verify it and write a report if asked to.

        The verification and the report need a new analysis of the source.
        """
        self.outcome.output = self.job.output
        if self.settings.verify_every or self.job.report is not None:
            document = self._find_tracks(self.reporter.warn)
            verification = (
                self.verify(self.job.output, self.tracks, self.reporter.warn) if self.settings.verify_every else None
            )
            self.report(document, verification, _describe_settings(self.settings))
            self.forget_analysis()
        self.outcome.status, self.outcome.reason = "skipped", f"{self.job.output} is complete."

    def check_places(self) -> None:
        """Raise FaceBlurError where a result cannot be written, before the long work, and warn of losses."""
        for place in self._list_places():
            _check_place(place, self.settings.overwrite)
        for text in self._container_notes:
            self.warn(text)

    @contextmanager
    def unfinished_results(self) -> Iterator[None]:
        """Create places for unfinished results, and remove the leftovers at the end."""
        workplace, output = self.batch.workplace, self.job.output
        self.part = workplace.make_part_folder(output) if self.settings.render else self.folder
        self.project = workplace.name_part(self.job.save_blend, ".blend") if self.job.save_blend else None
        try:
            yield
        except (FaceBlurError, OSError) as error:
            for place, disk in ((self.part, output.parent), (self.folder, self.folder.parent)):
                if shutil.disk_usage(place).free < SPARE_BYTES:
                    raise FaceBlurError(f"The disk of {disk} is full. Nothing was written. ({error})") from error
            raise
        finally:
            if self.settings.render:
                workplace.remove_part(self.part)
            if self.project is not None:
                workplace.remove_part(self.project)

    def analyse(self) -> TrackDocument:
        """Analyse the source, and return the tracks document, which is also written to `tracks`."""
        document = self._find_tracks(self.warn)
        if document.source.fingerprint != self.info.fingerprint:
            raise FaceBlurError(f"{self.job.source.name} changed during the analysis. Start again.")
        for text in (*document.source.warnings, *document.all_notes):
            self.warn(text)
        _count_found(self.outcome, document)
        self.outcome.frames = self.info.frame_count
        return document

    def render(self, document: TrackDocument) -> Path:
        """Let Blender render, and save the project if asked to. Returns the path of the rendered pictures."""
        info, settings = self.info, self.settings
        # Blender replaces '#' in a path with digits of the frame number.
        plain = self.folder if "#" in str(self.part.resolve()) else self.part
        pictures = plain / ("pictures.mkv" if self.container else f"picture{self.job.output.suffix.lower()}")
        if self._needs_encoding() and settings.render:
            self.warn(
                f"The size {info.width} x {info.height} is odd, so the film is written with colours at full "
                "resolution (4:4:4). Some players cannot show it."
            )
        if not settings.render and self.project is None:
            return pictures
        shown = self.tracks
        if settings.inverse:
            self.warn(
                "Everything is covered except the faces"
                + (" of the people who stay visible." if settings.people else ".")
            )
            if settings.people is not None:
                shown = self.folder / "shown.json"
                write_document(_load_kept(document), shown)
        result = self.batch.stages.render(
            self._describe_render(shown, pictures),
            self.folder,
            settings.blender,
            self.reporter.show_progress,
            self.warn,
        )
        if (result["width"], result["height"], result["frames"]) != (info.width, info.height, info.frame_count):
            raise FaceBlurError(
                f"Blender rendered {result['frames']} frames of {result['width']} x "
                f"{result['height']} instead of {info.frame_count} of {info.width} x {info.height}."
            )
        return pictures

    def deliver(self, pictures: Path) -> Path:
        """Make a complete, checked file from the rendered pictures. Returns its path before it is moved into place."""
        record = make_record(self.info.fingerprint, self.settings.shape(), self.info.frame_count)
        if self.container is None:
            return self._deliver_picture(pictures, record)
        return self._deliver_film(pictures, record, self.container)

    def verify(self, film: Path, tracks: Path, warn: Warn) -> Verification:
        """Compare the output, which may not be in its place yet, with its source. The outcome gets the findings."""
        verification = self.batch.stages.verify(
            self.job.source, film, tracks, self.settings, self.reporter.show_progress, warn
        )
        # The file may not have its final name yet.
        verification.film = self.job.output.name
        self.outcome.verified = verification.passed
        self.outcome.findings = list_findings(verification)
        return verification

    def save(self, document: TrackDocument) -> None:
        """Save the project and the tracks document at the paths that were asked for."""
        if self.project is not None and self.job.save_blend is not None:
            replace_file(self.project, self.job.save_blend)
        if self.job.save_tracks is not None:
            self.job.save_tracks.parent.mkdir(parents=True, exist_ok=True)
            write_document(document, self.job.save_tracks)

    def report(
        self,
        document: TrackDocument,
        verification: Verification | None,
        settings: dict[str, Any],
        blender: Path | None = None,
    ) -> None:
        """Write the report if one was asked for. `blender` is the application that rendered."""
        if self.job.report is None:
            return
        faces = verification.faces if verification is not None else draw_faces(self.job.source, document)
        write_report(
            collect_report(
                self.job.source,
                self.outcome.output,
                document,
                settings,
                verification,
                faces,
                notes=self.outcome.warnings,
                blender=check_blender(blender) if blender is not None else "",
            ),
            self.job.report,
        )

    def forget_analysis(self) -> None:
        """Remove the files that would resume the analysis."""
        shutil.rmtree(_get_unfinished_path(self.job.source), ignore_errors=True)

    def warn(self, text: str) -> None:
        """Report a warning once, and keep it for the report."""
        if text not in self.outcome.warnings:
            self.outcome.warnings.append(text)
            self.reporter.warn(text)

    def _verify_existing(self, tracks: Path) -> None:
        document = read_document(tracks)
        if self.job.report is not None:
            _claim(self.job.report, self.job.source, {place.resolve(): place for place in (self.job.output, tracks)})
        verification = self.verify(self.job.output, tracks, self.reporter.warn)
        self.outcome.output = self.job.output
        _count_found(self.outcome, document)
        self.outcome.frames = verification.frames
        self.report(document, verification, {"effect": self.settings.effect or "not known"})
        self.outcome.status = "done"

    def _find_tracks(self, warn: Warn) -> TrackDocument:
        """Analyse the source, and decide who stays visible. The document is written to `tracks`."""
        settings, on_progress, analyse = self.settings, self.reporter.show_progress, self.batch.stages.analyse
        if settings.people is not None:
            settings.people.begin()
        analyse(self.job.source, self.tracks, settings, on_progress, warn)
        document = read_document(self.tracks)
        if settings.plates:
            found = self.tracks.with_name("plates.json")
            analyse(
                self.job.source, found, replace(settings, preset=plates.PLATE_PRESET, people=None), on_progress, warn
            )
            plates.merge_plates(document, read_document(found))
            write_document(document, self.tracks)
        if settings.people is not None:
            settings.people.decide(self.job.source, self.tracks, document, on_progress, warn)
        return document

    def _needs_encoding(self) -> bool:
        """Whether Blender cannot write the codec in the film's size, and therefore renders without loss first."""
        return self.container is not None and needs_encoding(self.settings.codec, self.info.width, self.info.height)

    def _describe_render(self, tracks: Path, pictures: Path) -> dict[str, Any]:
        """The job description for blender/child.py."""
        settings = self.settings
        codec = LOSSLESS_CODEC if self._needs_encoding() else settings.codec
        return {
            "source": str(self.job.source.resolve()),
            "tracks": str(tracks),
            "effect": {
                "kind": settings.effect,
                "color": settings.color,
                "samples_across": settings.samples_per_face,
                "image": str(settings.image or ""),
                "inverse": settings.inverse,
            },
            "render": {"output": str(pictures.resolve()), "codec": codec, "quality": settings.quality}
            if settings.render
            else None,
            "save_blend": str(self.project.resolve()) if self.project else None,
        }

    def _deliver_picture(self, picture: Path, record: str) -> Path:
        tag = parse_orientation(self.job.source.read_bytes())
        finish_picture(picture, record, tag[2] if tag else 1, read_profile(self.job.source))
        verify_picture(picture, self.info.width, self.info.height)
        finished = self.part / picture.name
        shutil.move(picture, finished)
        return finished

    def _deliver_film(self, pictures: Path, record: str, container: Container) -> Path:
        info, settings = self.info, self.settings
        if self._needs_encoding():
            encoded = pictures.with_name("encoded.mkv")
            encode_pictures(
                pictures,
                encoded,
                codec=settings.codec,
                quality=settings.quality,
                frame_rate=info.frame_rate,
                progress=lambda done: self.reporter.show_progress("encode", done, info.frame_count),
            )
            pictures.unlink()
            pictures = encoded
        finished = self.part / f"result{container.suffix}"
        for text in remux_film(
            pictures,
            self.job.source,
            finished,
            container,
            frame_rate=info.frame_rate,
            pixel_aspect=info.pixel_aspect,
            record=record,
            reencode_audio=settings.reencode_audio,
        ):
            self.warn(text)
        verify_film(finished, self.job.source, _expect(info), settings.reencode_audio)
        pictures.unlink()
        return finished

    def _list_places(self) -> list[Path]:
        """The paths of the results."""
        places = (
            self.job.output if self.settings.render else None,
            self.job.save_blend,
            self.job.save_tracks,
            self.job.report,
        )
        return [place for place in places if place is not None]


def _count_found(outcome: Outcome, document: TrackDocument) -> None:
    outcome.faces = sum(track.kind is TrackKind.FACE for track in document.tracks)
    outcome.regions, outcome.review_items = len(document.tracks) - outcome.faces, len(document.review_items)


def _load_kept(document: TrackDocument) -> TrackDocument:
    """A document with only the people who stay visible, whose faces an inverse cover shows.

    It omits frames in which another person's cover would overlap theirs, since an inverse cover shows that person too.
    """
    others: dict[int, list[Ellipse]] = {}
    for sample in (sample for track in document.tracks for sample in track.samples):
        others.setdefault(sample.source_frame, []).append(sample.ellipse)

    def is_alone(sample: Sample) -> bool:
        one = sample.ellipse
        return all(
            math.hypot(one.cx - other.cx, one.cy - other.cy)
            > document.margin * (max(one.rx, one.ry) + max(other.rx, other.ry))
            for other in others.get(sample.source_frame, ())
        )

    kept = [
        replace(track, samples=list(filter(is_alone, track.samples)))
        for track in document.uncovered
        if track.status is TrackStatus.ALLOWED
    ]
    for track in kept:
        track.cover()
    return replace(document, tracks=[track for track in kept if track.samples], review_items=[], uncovered=[])


def _describe_settings(settings: BatchSettings) -> dict[str, Any]:
    return {key: value for key, value in settings.shape().items() if key not in ("version", "detectors")}


def _choose_output(
    job: FilmJob, info: SourceInfo, settings: BatchSettings
) -> tuple[FilmJob, Container | None, list[str]]:
    if info.kind == "image":
        if job.output.suffix.lower() not in PICTURE_ENDINGS or (
            not job.choose_ending and _picture_format(job.output) != _picture_format(job.source)
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


def _picture_format(path: Path) -> str:
    return {".jpeg": ".jpg", ".tiff": ".tif"}.get(path.suffix.lower(), path.suffix.lower())


def _claim(place: Path, source: Path, taken: dict[Path, Path]) -> None:
    key = place.resolve()
    if key == source.resolve() or (place.exists() and place.samefile(source)):
        raise FaceBlurError(f"{place} is the input itself. Name another output.")
    if key in taken:
        raise FaceBlurError(f"{place} is already the output of {taken[key]}. Name another output.")
    taken[key] = source


def _check_place(place: Path, overwrite: bool) -> None:
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


def _is_finished(job: FilmJob, info: SourceInfo, settings: BatchSettings) -> bool:
    """Whether the output was made by this program from this source with these settings, and is complete.

    The frames of the output are counted again.
    """
    if not job.output.is_file():
        return False
    film = info.kind == "movie"
    record = read_film_record(job.output) if film else read_picture_record(job.output)
    if parse_frames(record, info.fingerprint, settings.shape()) != info.frame_count:
        return False
    try:
        if film:
            verify_film(job.output, job.source, _expect(info), settings.reencode_audio)
        else:
            verify_picture(job.output, info.width, info.height)
    except FaceBlurError:
        return False
    # The other results that were asked for must exist too.
    return all(place is None or place.is_file() for place in (job.save_blend, job.save_tracks))


def _expect(info: SourceInfo) -> Expected:
    return Expected(info.frame_count, info.frame_rate, info.width, info.height, info.pixel_aspect)


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
