# SPDX-License-Identifier: GPL-3.0-or-later
"""From files to blurred files: plans where each goes, then analyses, renders, delivers and checks one after another."""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .core import plates
from .core.document import read_document, write_document
from .core.settings import DEFAULT_EXPANSION, find_preset, list_detectors
from .core.types import Ellipse, FaceBlurError, Sample, SourceInfo, TrackDocument, TrackKind, TrackStatus
from .core.verifying import Verification, from_json
from .delivery.container import Container, choose_container, list_sound
from .delivery.encode import LOSSLESS_CODEC, encode_pictures, needs_encoding
from .delivery.picture import finish_picture, read_picture_record, read_profile, verify_picture
from .delivery.record import find_frames, make_record, read_film_record
from .delivery.remux import remux_film
from .delivery.verify import Expected, verify_film
from .paths import find_model, list_models, unfinished_analyses
from .progress import Outcome, Reporter
from .recognising import Recognition
from .rendering import Tell, check_blender, run_blender_job
from .report import collect_report, describe_finding, draw_faces, write_report
from .sources import open_source
from .sources.image import find_orientation
from .worker.client import build_request, build_verify_request, run_job
from .worker.protocol import Embedded, ErrorMessage, FaceView, Progress, Result, Verified, Warned
from .workplace import Workplace, replace_file

OWN_MARK = ".blurred"
"""Stands before the ending of our outputs; folders are searched without them."""

FILM_ENDINGS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".avi", ".webm", ".mts", ".m2ts", ".ts", ".mpg", ".mpeg",
                          ".wmv", ".flv", ".3gp", ".ogv", ".mxf", ".gif"})
PICTURE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

SPARE_BYTES = 4 << 20
"""With less than this free no output is begun."""

_FEW_SAMPLES = 3.0

_KEPT_S = 30 * 86400.0
"""For how long an analysis waits to be gone on with."""

RECORD_VERSION = 2
"""Counts up when the same source and settings give another result, so that --resume does it anew."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What is asked for every file; `codec` and `quality` are those of blender/render.py."""

    preset: str = "balanced"
    expansion: float = DEFAULT_EXPANSION
    effect: str = "solid"
    """Empty where it is not known, of an output that is there already."""
    color: str = "000000"
    samples_across: float = 6.0
    codec: str = "h264"
    quality: str = "high"
    render: bool = True
    overwrite: bool = False
    resume: bool = False
    reencode_audio: bool = False
    blender: Path | None = None
    verify_every: int = 0
    """Verify outputs, with the detectors at every so manyth frame; 0: don't."""
    plates: bool = False
    """Number plates are looked for too."""
    people: Recognition | None = None
    """Who is covered and who stays clear; nothing: all are covered."""
    image: Path | None = None
    """The picture of the effect image."""
    inverse: bool = False
    """Everything is covered but the faces, or those of `people` who stay clear."""

    def shape(self) -> dict[str, str | int | float | bool]:
        """The part of the settings that shapes the output."""
        return {"version": RECORD_VERSION, "preset": self.preset, "detectors": list_weights(self.preset),
                "expansion": self.expansion, "effect": self.effect, "color": self.color,
                "samples_across": self.samples_across, "codec": self.codec, "quality": self.quality,
                "reencode_audio": self.reencode_audio, **({"people": self.people.digest} if self.people else {}),
                **({"plates": list_weights(plates.PRESET)} if self.plates else {}),
                **({"image": hashlib.sha256(self.image.read_bytes()).hexdigest()} if self.image else {}),
                **({"inverse": True} if self.inverse else {})}


@dataclass(frozen=True, slots=True)
class Job:
    """One input and where its results go. `output` without an ending of its own gets the container's."""

    source: Path
    output: Path
    choose_ending: bool = True
    save_blend: Path | None = None
    save_tracks: Path | None = None
    report: Path | None = None


Warn = Callable[[str], None]
Analyse = Callable[[Path, Path, Settings, Tell, Warn], None]
Render = Callable[[dict[str, Any], Path, Path | None, Tell, Warn], dict[str, Any]]
Verify = Callable[[Path, Path, Path, Settings, Tell, Warn], Verification]
"""(source, output, tracks document, ...)"""


def plan_jobs(inputs: Iterable[Path], output: Path | None, recursive: bool, save_blend: Path | None = None,
              save_tracks: Path | None = None, report: Path | None = None) -> list[Job]:
    """One job for each input, and for each film and picture in an input that is a folder, in order, none twice.

    `output` is a folder if it is one, if its name has no ending, or if there are several inputs; `save_blend`,
    `save_tracks` and `report` likewise. Raises FaceBlurError when the options don't fit the inputs.
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
    for name, place in (("--output", output), ("--save-blend", save_blend), ("--save-tracks", save_tracks),
                        ("--report", report)):
        if place is not None and not single and place.is_file():
            raise FaceBlurError(f"{name} {place} is a file, but there are several inputs: name a folder.")
    if output is not None and not single and output.suffix.lower() in FILM_ENDINGS | PICTURE_ENDINGS and \
            not output.is_dir():
        raise FaceBlurError(f"--output {output} is a file's name, but there are several inputs: name a folder.")

    names = Counter(under / source.stem for source, under in found.items())

    def place_beside(folder: Path | None, source: Path, under: Path, ending: str) -> Path | None:
        if folder is None:
            return None
        if single and folder.suffix and not folder.is_dir():
            return folder
        # A phone's film and picture of one moment share their name but for the ending.
        alone = names[under / source.stem] == 1
        return folder / under / ((source.stem if alone else source.name) + ending)

    jobs = []
    for source, under in found.items():
        blend = place_beside(save_blend, source, under, ".blend")
        tracks = place_beside(save_tracks, source, under, ".tracks.json")
        told = place_beside(report, source, under, ".report.html")
        if output is not None and single and output.suffix and not output.is_dir():
            jobs.append(Job(source, output, False, blend, tracks, told))
        else:
            folder = source.parent if output is None else output / under
            jobs.append(Job(source, folder / f"{source.stem}{OWN_MARK}{source.suffix}", True, blend, tracks, told))
    return jobs


def run_batch(jobs: list[Job], settings: Settings, reporter: Reporter, analyse: Analyse | None = None,
              render: Render = run_blender_job, verify: Verify | None = None) -> list[Outcome]:
    """Do the jobs one after another; one that fails does not stop the others. The outcomes are in the jobs' order.

    Whatever happens, a file under its final name is whole, and no earlier file is replaced unless `overwrite`.
    """
    outcomes: list[Outcome] = []
    taken: dict[Path, Path] = {}
    _forget_abandoned()
    with Workplace() as workplace:
        for number, job in enumerate(jobs, 1):
            reporter.start(job.source, number, len(jobs))
            outcome = Outcome(job.source, "failed")
            began = time.monotonic()
            try:
                _do_job(job, settings, reporter, workplace, taken, outcome, analyse or _run_resumable_analysis,
                        render, verify or run_verification)
            except FaceBlurError as error:
                # The reporter says which file it is.
                reason = str(error).removeprefix(f"{job.source}: ").removeprefix(f"{job.source.name}: ")
                outcome.status, outcome.reason = "failed", reason
            except OSError as error:
                outcome.status = "failed"
                outcome.reason = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
            if outcome.status == "failed":
                outcome.output = None
            outcome.seconds = time.monotonic() - began
            reporter.finish(outcome)
            outcomes.append(outcome)
    reporter.summarize(outcomes)
    return outcomes


def list_weights(preset: str) -> str:
    """The weights that the preset would use and that are there: an output made with fewer is not the same."""
    there = []
    for name in sorted(list_detectors(find_preset(preset))):
        with suppress(FaceBlurError):
            find_model(name)
            there.append(f"{name} {list_models()[name].sha256}")
    return ", ".join(there)


def run_analysis(source: Path, tracks: Path, settings: Settings, tell: Tell, warn: Warn,
                 storage: Path | None = None) -> None:
    """Analyse a source in processes of its own and leave the tracks document at `tracks`. Raises FaceBlurError.

    With `storage` (a folder) it goes on with what an earlier analysis of the same source and settings left there.
    """
    request = build_request(source, tracks, settings.preset, settings.expansion, storage=storage,
                            recognise=settings.people is not None)
    # Closed at once when this is left by an exception: its processes must not go on beside whatever comes next.
    with closing(run_job(request)) as messages:
        for message in messages:
            match message:
                case Progress():
                    tell(message.stage, message.done, message.total)
                case FaceView() if settings.people is not None:
                    settings.people.take(message)
                case Embedded() if settings.people is not None:
                    settings.people.end()
                case Warned():
                    warn(message.text)
                case ErrorMessage():
                    raise FaceBlurError(message.text)
                case Result():
                    return
    raise FaceBlurError("The analysis ended without a result.")


def run_verification(source: Path, output: Path, tracks: Path, settings: Settings, tell: Tell, warn: Warn,
                     ) -> Verification:
    """Compare an output with its source in a process of its own. Raises FaceBlurError where that cannot be done."""
    with Workplace() as workplace:
        place = workplace.folder / "verification.json"
        # Effects that are made of no samples leave nothing of a face: nearly all of its detail must be gone.
        samples = settings.samples_across if settings.effect in ("mosaic", "blur", "gaussian") else _FEW_SAMPLES
        request = build_verify_request(source, output, tracks, place, samples, settings.verify_every or 1)
        with closing(run_job(request)) as messages:
            for message in messages:
                match message:
                    case Progress():
                        tell(message.stage, message.done, message.total)
                    case Warned():
                        warn(message.text)
                    case ErrorMessage():
                        raise FaceBlurError(f"The verification failed: {message.text}")
                    case Verified():
                        return from_json(place.read_text(encoding="utf-8"))
    raise FaceBlurError("The verification ended without a result.")


def _run_resumable_analysis(source: Path, tracks: Path, settings: Settings, tell: Tell, warn: Warn) -> None:
    run_analysis(source, tracks, settings, tell, warn, _find_unfinished(source))


def _find_unfinished(source: Path) -> Path:
    """Where the analysis of a source is kept until its output is finished."""
    return unfinished_analyses() / hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:32]


def _forget_abandoned() -> None:
    """Remove analyses that nobody went on with."""
    for folder in unfinished_analyses().glob("*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _KEPT_S:
                shutil.rmtree(folder)


def _do_job(job: Job, settings: Settings, reporter: Reporter, workplace: Workplace, taken: dict[Path, Path],
            outcome: Outcome, analyse: Analyse, render: Render, verify: Verify) -> None:
    for name in (job.source.resolve(), job.output.resolve()):
        if any(0xD800 <= ord(sign) <= 0xDFFF for sign in str(name)):
            raise FaceBlurError(f"{job.source}: its path is no UTF-8 text, which Blender cannot open; rename it.")
    with open_source(job.source) as source:
        info = source.info
    job, container, said = _settle_output(job, info, settings)
    places = (job.output if settings.render else None, job.save_blend, job.save_tracks, job.report)
    for place in places:
        if place is not None:
            _claim(place, job.source, taken)
    if settings.resume and settings.render and _is_finished(job, info, settings):
        if settings.verify_every or job.report is not None:
            _verify_finished(job, settings, reporter, workplace.folder, outcome, analyse, verify)
        outcome.status, outcome.reason, outcome.output = "skipped", f"{job.output} is complete.", job.output
        return
    for place in places:
        if place is not None:
            _check_place(place, settings.overwrite)
    for text in said:
        reporter.warn(text)
        outcome.warnings.append(text)
    part = workplace.make_part_folder(job.output) if settings.render else workplace.folder
    project = workplace.name_part(job.save_blend, ".blend") if job.save_blend else None
    try:
        _blur(job, info, container, settings, reporter, workplace.folder, part, project, outcome, analyse, render,
              verify)
    except (FaceBlurError, OSError) as error:
        if shutil.disk_usage(part).free < SPARE_BYTES:
            raise FaceBlurError(f"The disk of {job.output.parent} is full; nothing was written. ({error})") from error
        if shutil.disk_usage(workplace.folder).free < SPARE_BYTES:
            raise FaceBlurError(f"The disk of {workplace.folder.parent} is full; nothing was written. ({error})") \
                from error
        raise
    finally:
        if settings.render:
            workplace.remove_part(part)
        if project is not None:
            workplace.remove_part(project)


def _blur(job: Job, info: SourceInfo, container: Container | None, settings: Settings, reporter: Reporter,
          folder: Path, part: Path, project: Path | None, outcome: Outcome, analyse: Analyse, render: Render,
          verify: Verify) -> None:
    def warn(text: str) -> None:
        if text not in outcome.warnings:
            outcome.warnings.append(text)
            reporter.warn(text)

    tracks = folder / "tracks.json"
    document = _find_tracks(job.source, tracks, settings, reporter, warn, analyse)
    if document.source.fingerprint != info.fingerprint:
        raise FaceBlurError(f"{job.source.name} has changed while it was being analysed.")

    verification: Verification | None = None
    for text in (*document.source.warnings, *document.all_notes):
        warn(text)
    _count_found(outcome, document)
    outcome.frames = info.frame_count
    # In a path Blender takes '#' for digits of the frame number.
    plain = folder if "#" in str(part.resolve()) else part
    pictures = plain / ("pictures.mkv" if container else f"picture{job.output.suffix.lower()}")
    again = container is not None and needs_encoding(settings.codec, info.width, info.height)
    codec = LOSSLESS_CODEC if again else settings.codec
    if again and settings.render:
        warn(f"The size {info.width} x {info.height} is odd: written with colours at full resolution (4:4:4), which "
             "some players do not show.")
    if settings.render or project:
        shown = tracks
        if settings.inverse:
            warn("Everything is covered but the faces" + (" of those who stay clear." if settings.people else "."))
            if settings.people is not None:
                shown = folder / "shown.json"
                write_document(_take_kept(document), shown)
        description = _describe_job(job, shown, pictures, project, codec, settings)
        result = render(description, folder, settings.blender, reporter.tell, warn)
        if (result["width"], result["height"], result["frames"]) != (info.width, info.height, info.frame_count):
            raise FaceBlurError(f"Blender rendered {result['frames']} frames of {result['width']} x "
                                f"{result['height']} instead of {info.frame_count} of {info.width} x {info.height}.")
    if settings.render:
        record = make_record(info.fingerprint, settings.shape(), info.frame_count)
        if container is None:
            tag = find_orientation(job.source.read_bytes())
            finish_picture(pictures, record, tag[2] if tag else 1, read_profile(job.source))
            verify_picture(pictures, info.width, info.height)
            finished = part / pictures.name
            shutil.move(pictures, finished)
        else:
            if again:
                encoded = pictures.with_name("encoded.mkv")
                encode_pictures(pictures, encoded, codec=settings.codec, quality=settings.quality,
                                frame_rate=info.frame_rate,
                                progress=lambda done: reporter.tell("encode", done, info.frame_count))
                pictures.unlink()
                pictures = encoded
            finished = part / f"result{container.suffix}"
            for text in remux_film(pictures, job.source, finished, container, frame_rate=info.frame_rate,
                                   pixel_aspect=info.pixel_aspect, record=record,
                                   reencode_audio=settings.reencode_audio):
                warn(text)
            verify_film(finished, job.source, _expect(info), settings.reencode_audio)
            pictures.unlink()
        if settings.verify_every:
            verification = _verify(job, finished, tracks, settings, reporter, outcome, warn, verify)
        replace_file(finished, job.output)
        outcome.output = job.output
    if project and job.save_blend:
        replace_file(project, job.save_blend)
    if job.save_tracks:
        job.save_tracks.parent.mkdir(parents=True, exist_ok=True)
        write_document(document, job.save_tracks)
    output = job.output if settings.render else None
    _report(job, output, document, _tell_settings(settings), verification, outcome,
            check_blender(settings.blender) if settings.blender is not None else "")
    shutil.rmtree(_find_unfinished(job.source), ignore_errors=True)
    outcome.status = "done"


def _find_tracks(source: Path, tracks: Path, settings: Settings, reporter: Reporter, warn: Warn,
                 analyse: Analyse) -> TrackDocument:
    """Analyse a source, and decide who stays clear; the document lies at `tracks`."""
    if settings.people is not None:
        settings.people.begin()
    analyse(source, tracks, settings, reporter.tell, warn)
    document = read_document(tracks)
    if settings.plates:
        found = tracks.with_name("plates.json")
        analyse(source, found, replace(settings, preset=plates.PRESET, people=None), reporter.tell, warn)
        plates.add_regions(document, read_document(found))
        write_document(document, tracks)
    if settings.people is not None:
        settings.people.settle(source, tracks, document, reporter.tell, warn)
    return document


def _verify(job: Job, finished: Path, tracks: Path, settings: Settings, reporter: Reporter, outcome: Outcome,
            warn: Warn, verify: Verify) -> Verification:
    """Verify what will be the job's output, and note in the outcome what was found."""
    verification = verify(job.source, finished, tracks, settings, reporter.tell, warn)
    # It has not got its name yet.
    verification.film = job.output.name
    outcome.verified = verification.passed
    found = *verification.leaks, *verification.doubts
    outcome.findings = [*(f"problem: {text}" for text in verification.problems),
                        *(f"{one.kind}: {describe_finding(one)}" for one in found)]
    return verification


def verify_one(job: Job, tracks: Path, settings: Settings, reporter: Reporter, outcome: Outcome) -> None:
    """Verify an output that is there already against the tracks document it was made with; report if asked.

    Raises FaceBlurError where it cannot be verified.
    """
    document = read_document(tracks)
    if job.report is not None:
        _claim(job.report, job.source, {place.resolve(): place for place in (job.output, tracks)})
    verification = _verify(job, job.output, tracks, settings, reporter, outcome, reporter.warn, run_verification)
    outcome.status, outcome.output = "done", job.output
    _count_found(outcome, document)
    outcome.frames = verification.frames
    _report(job, job.output, document, {"effect": settings.effect or "not told"}, verification, outcome)


def _verify_finished(job: Job, settings: Settings, reporter: Reporter, folder: Path, outcome: Outcome,
                     analyse: Analyse, verify: Verify) -> None:
    """Verify and report on an output of an earlier run: what it covers is found out anew."""
    tracks = folder / "tracks.json"
    document = _find_tracks(job.source, tracks, settings, reporter, reporter.warn, analyse)
    verification = _verify(job, job.output, tracks, settings, reporter, outcome, reporter.warn, verify) \
        if settings.verify_every else None
    _report(job, job.output, document, _tell_settings(settings), verification, outcome)
    shutil.rmtree(_find_unfinished(job.source), ignore_errors=True)


def _count_found(outcome: Outcome, document: TrackDocument) -> None:
    outcome.faces = sum(track.kind is TrackKind.FACE for track in document.tracks)
    outcome.regions, outcome.doubts = len(document.tracks) - outcome.faces, len(document.doubts)


def _take_kept(document: TrackDocument) -> TrackDocument:
    """The document of those who stay clear alone, whose faces an inverse cover leaves out.

    Not in frames in which somebody else's cover meets theirs: what is left out shows whatever lies there.
    """
    others: dict[int, list[Ellipse]] = {}
    for sample in (sample for track in document.tracks for sample in track.samples):
        others.setdefault(sample.source_frame, []).append(sample.ellipse)

    def is_alone(sample: Sample) -> bool:
        one = sample.ellipse
        return all(math.hypot(one.cx - other.cx, one.cy - other.cy)
                   > document.expansion * (max(one.rx, one.ry) + max(other.rx, other.ry))
                   for other in others.get(sample.source_frame, ()))

    kept = [replace(track, samples=list(filter(is_alone, track.samples)))
            for track in document.aside if track.status is TrackStatus.ALLOWED]
    for track in kept:
        track.cover()
    return replace(document, tracks=[track for track in kept if track.samples], doubts=[], aside=[])


def _tell_settings(settings: Settings) -> dict[str, Any]:
    return {key: value for key, value in settings.shape().items() if key not in ("version", "detectors")}


def _report(job: Job, output: Path | None, document: TrackDocument, settings: dict[str, Any],
            verification: Verification | None, outcome: Outcome, blender: str = "") -> None:
    if job.report is None:
        return
    faces = verification.faces if verification is not None else draw_faces(job.source, document)
    write_report(collect_report(job.source, output, document, settings, verification, faces, notes=outcome.warnings,
                                blender=blender), job.report)


def _describe_job(job: Job, tracks: Path, pictures: Path, project: Path | None, codec: str,
                  settings: Settings) -> dict[str, Any]:
    return {
        "source": str(job.source.resolve()), "tracks": str(tracks),
        "effect": {"kind": settings.effect, "color": settings.color, "samples_across": settings.samples_across,
                   "image": str(settings.image or ""), "inverse": settings.inverse},
        "render": {"output": str(pictures.resolve()), "codec": codec, "quality": settings.quality}
        if settings.render else None,
        "save_blend": str(project.resolve()) if project else None,
    }


def _settle_output(job: Job, info: SourceInfo, settings: Settings) -> tuple[Job, Container | None, list[str]]:
    if info.kind == "image":
        if job.output.suffix.lower() not in PICTURE_ENDINGS or (
                not job.choose_ending and _picture_format(job.output) != _picture_format(job.source)):
            if job.choose_ending:
                raise FaceBlurError(f"{job.source.name}: a picture needs an ending that says its format.")
            raise FaceBlurError(f"{job.output.name}: a picture keeps its format; name it {job.source.suffix}.")
        return job, None, []
    if settings.codec == "ffv1" and info.pixel_aspect != 1:
        raise FaceBlurError(f"{job.source.name}: its pixels are not square, which cannot be kept with ffv1; use "
                            "--codec h264 --quality lossless.")
    wanted = None if job.choose_ending else job.output
    container, said = choose_container(job.source, list_sound(job.source), settings.codec, wanted,
                                       settings.reencode_audio)
    if job.choose_ending and job.output.suffix.lower() != container.suffix:
        job = replace(job, output=job.output.with_suffix(container.suffix))
    return job, container, said


def _picture_format(path: Path) -> str:
    return {".jpeg": ".jpg", ".tiff": ".tif"}.get(path.suffix.lower(), path.suffix.lower())


def _claim(place: Path, source: Path, taken: dict[Path, Path]) -> None:
    key = place.resolve()
    if key == source.resolve() or (place.exists() and place.samefile(source)):
        raise FaceBlurError(f"{place} is the input itself; name another output.")
    if key in taken:
        raise FaceBlurError(f"{place} is already the output of {taken[key]}; name another.")
    taken[key] = source


def _check_place(place: Path, overwrite: bool) -> None:
    """Make the folder, and refuse a place where nothing can or may be written, before hours are spent."""
    if place.is_dir():
        raise FaceBlurError(f"{place} is a folder.")
    if place.exists() and not overwrite:
        raise FaceBlurError(f"{place} exists; --overwrite replaces it.")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(place.parent).free
    except OSError as error:
        raise FaceBlurError(f"Nothing can be written into {place.parent}: {error.strerror}.") from error
    if free < SPARE_BYTES:
        raise FaceBlurError(f"The disk of {place.parent} is full ({free / 1e6:.0f} MB free); nothing was written.")


def _is_finished(job: Job, info: SourceInfo, settings: Settings) -> bool:
    """Whether the output is ours, of this very source and these settings, and whole: its frames are counted again."""
    if not job.output.is_file():
        return False
    film = info.kind == "movie"
    record = read_film_record(job.output) if film else read_picture_record(job.output)
    if find_frames(record, info.fingerprint, settings.shape()) != info.frame_count:
        return False
    try:
        if film:
            verify_film(job.output, job.source, _expect(info), settings.reencode_audio)
        else:
            verify_picture(job.output, info.width, info.height)
    except FaceBlurError:
        return False
    # What was asked for beside it must be there too.
    return all(place is None or place.is_file() for place in (job.save_blend, job.save_tracks))


def _expect(info: SourceInfo) -> Expected:
    return Expected(info.frame_count, info.frame_rate, info.width, info.height, info.pixel_aspect)


def _list_folder(folder: Path, recursive: bool, output: Path | None) -> list[Path]:
    """Films and pictures in a folder, sorted, without our own outputs and what lies in the output folder."""
    own = output.resolve() if output is not None and output.is_dir() else None
    paths = []
    for path in sorted(folder.rglob("*") if recursive else folder.iterdir()):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or path.stem.endswith(OWN_MARK) or path.suffix.lower() not in FILM_ENDINGS | PICTURE_ENDINGS:
            continue
        if path.is_file() and not (own is not None and own != folder.resolve() and own in path.resolve().parents):
            paths.append(path)
    return paths
