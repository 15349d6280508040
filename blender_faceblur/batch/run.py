# SPDX-License-Identifier: GPL-3.0-or-later
"""Turn files into blurred files: analyse, render, deliver and check one file after another."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..core.document.tracks_file import read_document, write_document
from ..core.tracking import plates
from ..core.types import Ellipse, FaceBlurError, Sample, SourceInfo, TrackDocument, TrackKind, TrackStatus, Warn
from ..core.verification.leaks import Verification
from ..delivery.container import Container
from ..delivery.encode import LOSSLESS_CODEC, encode_pictures, needs_encoding
from ..delivery.picture import finish_picture, read_picture_record, read_profile, verify_picture
from ..delivery.record import make_record, parse_frames, read_film_record
from ..delivery.remux import remux_film
from ..delivery.verify import Expected, verify_film
from ..files.workplace import Workplace, replace_file
from ..reporting.progress import Outcome, Reporter
from ..reporting.report import ReportSubject, collect_report, draw_faces, list_findings, write_report
from ..sources import open_source
from ..sources.image import parse_orientation
from .planning import SPARE_BYTES, FilmJob, check_place, choose_output, claim
from .rendering import check_blender, run_blender_job
from .settings import BatchSettings
from .stages import (
    Analyse,
    Render,
    Stages,
    Verify,
    forget_abandoned,
    get_unfinished_path,
    run_resumable_analysis,
    run_verification,
)


@dataclass(frozen=True, slots=True)
class Batch:
    """The state that all runs of a batch share. `taken` maps the paths of their results to the sources."""

    settings: BatchSettings
    reporter: Reporter
    stages: Stages
    workplace: Workplace
    taken: dict[Path, Path] = field(default_factory=dict)


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
    stages = Stages(analyse or run_resumable_analysis, render, verify or run_verification)
    outcomes: list[Outcome] = []
    forget_abandoned()
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
        batch = Batch(settings, reporter, Stages(run_resumable_analysis, run_blender_job, run_verification), workplace)
        return Run(job, batch).verify_output(tracks)


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
        self.job, self.container, self._container_notes = choose_output(self.job, self.info, self.settings)
        for place in self._list_places():
            claim(place, self.job.source, self.batch.taken)

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
        write_report(collect_report(subject), self.job.report)

    def forget_analysis(self) -> None:
        """Remove the files that would resume the analysis."""
        shutil.rmtree(get_unfinished_path(self.job.source), ignore_errors=True)

    def warn(self, text: str) -> None:
        """Report a warning once, and keep it for the report."""
        if text not in self.outcome.warnings:
            self.outcome.warnings.append(text)
            self.reporter.warn(text)

    def _verify_existing(self, tracks: Path) -> None:
        document = read_document(tracks)
        if self.job.report is not None:
            claim(self.job.report, self.job.source, {place.resolve(): place for place in (self.job.output, tracks)})
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
