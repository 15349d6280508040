# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn files into blurred files: analyse, render, deliver and check one file after another."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from ..core.document.tracks_file import read_document, write_document
from ..core.review.groups import count_left
from ..core.tracking.objects import choose_classes, merge_objects
from ..core.types import Ellipse, FaceBlurError, Sample, SourceInfo, TrackDocument, TrackKind, TrackStatus, Warn
from ..core.verification.findings import Verification
from ..delivery.container import Container
from ..delivery.picture import read_picture_record, verify_picture
from ..delivery.record import parse_frames, read_film_record
from ..delivery.verify import Expected, verify_film
from ..exchange.boxes import add_boxes, read_boxes
from ..exchange.tables import write_tracks
from ..files.workplace import Workplace, hold_folder, place_file
from ..reporting.progress import Outcome, Reporter, Totals
from ..reporting.report import ReportSubject, collect_report, draw_faces, list_findings, write_report
from ..sources import MovieFacts, MovieSource, SourceGuard, open_source
from ..worker.client import LastingWorker
from ..worker.memory import MemoryRelease
from . import mattes
from .planning import SPARE_BYTES, Claims, FilmJob, check_is_not_input, check_place, choose_output
from .renderers import BlenderRenderer, DirectRenderer, Renderer, Task
from .rendering import check_blender, run_blender_job
from .settings import BatchSettings
from .stages import (
    Analyse,
    Paint,
    Render,
    Stages,
    Verify,
    forget_abandoned,
    forget_after_second_failure,
    get_unfinished_path,
    run_analysis,
    run_painting,
    run_verification,
)


@dataclass(frozen=True, slots=True)
class Batch:
    """The state that all runs of a batch share."""

    settings: BatchSettings
    reporter: Reporter
    stages: Stages
    workplace: Workplace
    worker: LastingWorker
    claims: Claims


def run_batch(
    jobs: Sequence[FilmJob],
    settings: BatchSettings,
    reporter: Reporter,
    analyse: Analyse | None = None,
    render: Render = run_blender_job,
    verify: Verify | None = None,
    paint: Paint | None = None,
) -> Totals:
    """Do the jobs one after another, and report and count their outcomes. A failed job does not stop the rest.

    A file with its final name is always complete, and an existing file is replaced only with `overwrite`.
    """
    totals = Totals()
    with closing(run_jobs(jobs, settings, reporter, analyse, render, verify, paint)) as outcomes:
        for outcome in outcomes:
            totals.add(outcome)
    reporter.summarize(totals)
    return totals


def run_jobs(
    jobs: Sequence[FilmJob],
    settings: BatchSettings,
    reporter: Reporter,
    analyse: Analyse | None = None,
    render: Render = run_blender_job,
    verify: Verify | None = None,
    paint: Paint | None = None,
) -> Generator[Outcome, None, None]:
    """Like `run_batch`, but yields each outcome after it was reported, and gives no summary."""
    forget_abandoned()
    release = MemoryRelease()
    with Workplace() as workplace, LastingWorker() as worker:
        stages = Stages(
            analyse,
            render,
            verify or partial(run_verification, worker=worker),
            paint or partial(run_painting, worker=worker),
        )
        batch = Batch(settings, reporter, stages, workplace, worker, Claims(jobs))
        for number, job in enumerate(jobs, 1):
            reporter.start(job.source, number, len(jobs))
            outcome = Run(job, batch, number).make_output()
            reporter.finish(outcome)
            release.count_job()
            yield outcome


def verify_one(job: FilmJob, tracks: Path, settings: BatchSettings, reporter: Reporter) -> Outcome:
    """Verify an existing output with the tracks document that it was made with, and write a report if asked to."""
    with Workplace() as workplace, LastingWorker() as worker:
        stages = Stages(None, run_blender_job, run_verification, run_painting)
        batch = Batch(settings, reporter, stages, workplace, worker, Claims([job]))
        return Run(job, batch).verify_output(tracks)


class Run:
    """The run from one input to its output. `_make` calls the steps, one method each, in order.

    `prepare` sets `guard`, `info` and `container`. Unfinished results lie in the folder `part` and in the .blend file
    `project` (if one is wanted) until they are moved into place.
    """

    guard: SourceGuard
    info: SourceInfo
    container: Container | None
    part: Path
    project: Path | None
    _container_notes: list[str]
    _blender_losses: tuple[str, ...]
    _turn: int
    _start: Fraction | None
    _facts: MovieFacts | None
    _storage: Path
    """The folder that keeps unfinished work for a later run."""

    def __init__(self, job: FilmJob, batch: Batch, number: int = 1) -> None:
        """`number` counts the jobs of the batch from 1."""
        self._number = number
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
        except MemoryError:
            outcome.status, outcome.reason = "failed", "There is not enough memory. Close other programs and try again."
        except ModuleNotFoundError:
            raise
        except ImportError as error:
            # A library's parts are mapped when it is first used, which fails where memory is limited.
            outcome.status, outcome.reason = "failed", f"There may be too little memory to load a library: {error}."
        except Exception as error:
            # What these libraries find in a file is no fault of this program. (They are not imported for this.)
            if not type(error).__module__.startswith(("av.", "cv2")):
                raise
            outcome.status, outcome.reason = "failed", " ".join(f"The file cannot be read: {error}".split())
        if outcome.status == "failed":
            outcome.output = None
        outcome.seconds = time.monotonic() - began
        return outcome

    def _make(self) -> None:
        """All steps of the run, in order."""
        self.prepare()
        # Two runs of one source would write to the same files.
        with hold_folder(get_unfinished_path(self.job.source), self.folder / "unfinished") as self._storage:
            self._make_prepared()

    def _make_prepared(self) -> None:
        if (
            self.settings.resume
            and self.settings.delivers
            and _is_finished(self.job, self.info, self._turn, self._start, self.settings)
        ):
            self.skip()
            return
        self.check_places()
        with self.unfinished_results():
            document = self.analyse()
            renderer = self.render(document)
            self.guard.check("the render")
            verification = None
            if self.settings.delivers:
                finished = renderer.deliver()
                if self.settings.verify_every:
                    verification = self.verify(finished, self.tracks, self.warn)
                self.guard.check("the run")
                place_file(finished, self.job.output, self.settings.overwrite)
                self.outcome.output = self.job.output
            self.save(document)
            self.report(
                document,
                verification,
                _describe_settings(self.settings),
                self.settings.blender,
                overwrite=self.settings.overwrite,
            )
            self.forget_analysis()
        self.outcome.status = "done"

    def prepare(self) -> None:
        """Open the source, and choose the paths of the results. Raises FaceBlurError where a path is not possible."""
        if self.job.problem:
            raise FaceBlurError(self.job.problem)
        for name in (self.job.source.resolve(), self.job.output.resolve()):
            if any(0xD800 <= ord(sign) <= 0xDFFF for sign in str(name)):
                raise FaceBlurError(
                    f"{self.job.source}: the path is not valid UTF-8, so FFmpeg and Blender cannot open it. Rename it."
                )
        with open_source(self.job.source) as source:
            self.guard = SourceGuard(self.job.source)
            self.info, self._blender_losses, self._turn = source.info, source.blender_losses, source.turn
            self._start = source.start_s if isinstance(source, MovieSource) else None
            self._facts = source.list_facts() if isinstance(source, MovieSource) else None
            needs_blender = self.job.save_blend is not None or (self.settings.render and not self.settings.is_direct)
            if needs_blender and source.blender_problem:
                raise FaceBlurError(source.blender_problem)
            if self.guard.fingerprint != self.info.fingerprint:
                raise FaceBlurError(f"{self.job.source.name} changed while it was opened. Start again.")
            self.job, self.container, self._container_notes = choose_output(self.job, source, self.settings)
        if self.settings.segment is not None and self.container is None:
            raise FaceBlurError(f"{self.job.source.name} is a picture, which has no segments.")
        if self.job.save_mattes is not None:
            self.job = replace(self.job, save_mattes=mattes.choose_place(self.job.save_mattes, self.info))
        for place in self._list_places():
            check_is_not_input(place, self.job.source)
            self.batch.claims.add(place, self._number)

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
            check_place(place, self.settings.overwrite)
        if self.job.save_mattes is not None:
            mattes.check(self.job.save_mattes, self.info, self.settings.overwrite)
        for text in self._container_notes:
            self.warn(text)

    @contextmanager
    def unfinished_results(self) -> Iterator[None]:
        """Create places for unfinished results, and remove the leftovers at the end."""
        workplace, output = self.batch.workplace, self.job.output
        self.part = workplace.make_part_folder(output) if self.settings.delivers else self.folder
        self.project = workplace.name_part(self.job.save_blend, ".blend") if self.job.save_blend else None
        try:
            yield
        except (FaceBlurError, OSError) as error:
            for place, disk in ((self.part, output.parent), (self.folder, self.folder.parent)):
                if shutil.disk_usage(place).free < SPARE_BYTES:
                    raise FaceBlurError(f"The disk of {disk} is full. Nothing was written. ({error})") from error
            forget_after_second_failure(self._storage)
            raise
        finally:
            if self.settings.delivers:
                workplace.remove_part(self.part)
            if self.project is not None:
                workplace.remove_part(self.project)

    def analyse(self) -> TrackDocument:
        """Analyse the source, and return the tracks document, which is also written to `tracks`."""
        document = self._find_tracks(self._warn_of_analysis)
        for text in (*document.source.warnings, *document.all_notes):
            self._warn_of_analysis(text)
        _count_found(self.outcome, document)
        self.outcome.frames = self.info.frame_count
        return document

    def render(self, document: TrackDocument) -> Renderer:
        """Render the covers, and save the project if asked to. Returns the renderer, which delivers the result."""
        settings = self.settings
        task = Task(
            self.job,
            self.info,
            self.container,
            settings,
            self.batch.stages,
            self.folder,
            self.part,
            self.project,
            self._storage,
            self.reporter.show_progress,
            self.warn,
        )
        renderer = DirectRenderer(task) if settings.is_direct else BlenderRenderer(task)
        if not settings.render and self.project is None:
            return renderer
        shown = self.tracks
        if settings.inverse:
            self.warn(
                "Everything is covered except the faces"
                + (" of the people who stay visible." if settings.people else ".")
            )
            if settings.people is not None:
                shown = self.folder / "shown.json"
                write_document(_load_kept(document), shown)
        renderer.render(shown)
        return renderer

    def verify(self, film: Path, tracks: Path, warn: Warn) -> Verification:
        """Compare the output, which may not be in its place yet, with its source. The outcome gets the findings."""
        verification = self.batch.stages.verify(
            self.job.source, film, tracks, self.settings, self.reporter.show_progress, warn
        )
        # The file may not have its final name yet.
        verification.film = self.job.output.name
        self.outcome.verified = verification.passed
        self.outcome.findings = tuple(list_findings(verification))
        return verification

    def save(self, document: TrackDocument) -> None:
        """Save the project and the tracks document at the paths that were asked for."""
        if self.project is not None and self.job.save_blend is not None:
            place_file(self.project, self.job.save_blend, self.settings.overwrite)
        if self.job.save_tracks is not None:
            part = self.batch.workplace.name_part(self.job.save_tracks, ".json")
            try:
                write_tracks(document, part, self.job.save_tracks.suffix.lower())
                place_file(part, self.job.save_tracks, self.settings.overwrite)
            finally:
                self.batch.workplace.remove_part(part)

        if self.job.save_mattes is not None:
            mattes.save(
                document,
                self.job.save_mattes,
                self.batch.workplace,
                self.settings.overwrite,
                lambda done: self.reporter.show_progress("mattes", done, self.info.frame_count),
            )

    def report(
        self,
        document: TrackDocument,
        verification: Verification | None,
        settings: dict[str, Any],
        blender: Path | None = None,
        overwrite: bool = True,
    ) -> None:
        """Write the report if one was asked for. `blender` is the application that rendered.

        The reports of existing outputs are always replaced.
        """
        if self.job.report is None:
            return
        faces = verification.faces if verification is not None else draw_faces(self.job.source, document)
        subject = ReportSubject(
            self.job.source,
            self.outcome.output,
            document,
            settings,
            verification,
            faces,
            notes=self.outcome.warnings,
            blender=check_blender(blender) if blender is not None else "",
        )
        write_report(collect_report(subject), self.job.report, overwrite)

    def forget_analysis(self) -> None:
        """Remove the files that would resume the analysis."""
        shutil.rmtree(self._storage, ignore_errors=True)

    def warn(self, text: str) -> None:
        """Report a warning once, and keep it for the report."""
        if text not in self.outcome.warnings:
            self.outcome.warnings += (text,)
            self.reporter.warn(text)

    def _warn_of_analysis(self, text: str) -> None:
        """Report a warning, unless it is about something that only Blender does not keep."""
        if not (self.settings.is_direct and text in self._blender_losses):
            self.warn(text)

    def _verify_existing(self, tracks: Path) -> None:
        document = read_document(tracks)
        if self.job.report is not None:
            check_is_not_input(self.job.report, self.job.source, self.job.output, tracks)
        verification = self.verify(self.job.output, tracks, self.reporter.warn)
        self.outcome.output = self.job.output
        _count_found(self.outcome, document)
        self.outcome.frames = verification.frames
        self.report(document, verification, {"effect": self.settings.effect or "not known"})
        self.outcome.status = "done"

    def _find_tracks(self, warn: Warn) -> TrackDocument:
        """The tracks of the source, with what the settings add to them. The document is written to `tracks`."""
        settings = self.settings
        document = self._search(warn) if settings.tracks is None else self._read_given(settings.tracks)
        if settings.boxes is not None:
            given = read_boxes(settings.boxes.find(self.job.source), self.job.source.name)
            document.notes += add_boxes(document, given)
        if settings.regions is not None:
            document.notes += settings.regions.apply(document, self.job.source)
        if settings.boxes is not None or settings.regions is not None or settings.tracks is not None:
            write_document(document, self.tracks)
        self.guard.check("the analysis")
        return document

    def _read_given(self, tracks: Path) -> TrackDocument:
        document = read_document(tracks)
        if document.source.fingerprint != self.info.fingerprint:
            raise FaceBlurError(f"{tracks} was made from another film than {self.job.source.name}.")
        return document

    def _search(self, warn: Warn) -> TrackDocument:
        """Analyse the source, and decide who stays visible. The document is written to `tracks`."""
        settings, on_progress = self.settings, self.reporter.show_progress
        analyse = self.batch.stages.analyse or partial(
            run_analysis,
            storage=self._storage,
            worker=self.batch.worker,
            expected_frames=self.info.frame_count,
            facts=self._facts,
        )
        if settings.people is not None:
            settings.people.begin()
        analyse(self.job.source, self.tracks, settings, on_progress, warn)
        document = read_document(self.tracks)
        if document.source.fingerprint != self.info.fingerprint:
            raise FaceBlurError(f"{self.job.source.name} changed during the analysis. Start again.")
        for one in choose_classes(settings.objects):
            found = self.tracks.with_name(f"{one.name}.json")
            chosen = replace(settings, preset=one.preset.name, people=None)
            analyse(self.job.source, found, chosen, on_progress, warn)
            merge_objects(document, read_document(found))
            write_document(document, self.tracks)
        if settings.people is not None:
            settings.people.decide(self.job.source, self.tracks, document, on_progress, warn)
        return document

    def _list_places(self) -> list[Path]:
        """The paths of the results."""
        places = (
            self.job.output if self.settings.delivers else None,
            self.job.save_blend,
            self.job.save_tracks,
            self.job.report,
            None if self.job.save_mattes is None or mattes.is_sequence(self.job.save_mattes) else self.job.save_mattes,
        )
        return [place for place in places if place is not None]


def _count_found(outcome: Outcome, document: TrackDocument) -> None:
    outcome.faces = sum(track.kind is TrackKind.FACE for track in document.tracks)
    outcome.regions, outcome.review_items = len(document.tracks) - outcome.faces, count_left(document)


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


def _is_finished(job: FilmJob, info: SourceInfo, turn: int, start: Fraction | None, settings: BatchSettings) -> bool:
    """Whether the output was made by this program from this source with these settings, and is complete.

    The frames of the output are counted again.
    """
    if not job.output.is_file():
        return False
    film = info.kind == "movie"
    record = read_film_record(job.output) if film else read_picture_record(job.output)
    frames = parse_frames(record, info.fingerprint, settings.shape())
    if frames is None or not (frames == info.frame_count or (film and settings.is_direct)):
        return False
    expected = Expected.painted(info, turn, frames, start=start) if settings.is_direct else Expected.rendered(info)
    try:
        if film:
            verify_film(job.output, job.source, expected, settings.reencode_audio, settings.voice)
        else:
            verify_picture(job.output, info.width, info.height)
    except FaceBlurError:
        return False
    # The other results that were asked for must exist too.
    places = (job.save_blend, job.save_tracks, job.save_mattes)
    return all(place is None or place.is_file() or mattes.holds_sequence(place) for place in places)
