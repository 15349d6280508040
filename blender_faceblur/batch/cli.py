# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `build.py blur INPUT...`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TextIO

from ..core.detection.settings import (
    get_preset,
    is_named_ensemble,
    list_detectors,
)
from ..core.tracking.objects import choose_classes
from ..core.types import FaceBlurError
from ..delivery.voice import Voice
from ..exchange.boxes import BoxFiles
from ..exchange.regions import Regions, read_regions
from ..files.paths import check_models
from ..reporting.progress import Totals, choose_reporter, print_line
from ..reporting.report import ENDINGS
from ..sources import open_source
from .options import MATTE_ENDINGS, TRACKS_ENDINGS, build_parser, build_verify_parser, list_objects
from .people import PeopleOptions, Recognition, open_recognition
from .planning import Endings, FilmJob, Plan, check_place, plan_jobs, secure_path
from .rendering import check_blender
from .run import run_batch, verify_one
from .settings import BatchSettings

ALL_WELL, SOME_FAILED, USAGE, LEAKED, INTERRUPTED = 0, 1, 2, 3, 130

BLENDER_CODECS = ("auto", "h264", "h265", "ffv1")
Prepare = Callable[[argparse.Namespace], None]
"""Called with the parsed options before the work."""


def open_closed_streams() -> None:
    """Let closed standard streams lead nowhere, so that no other file gets their number and with it all messages."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The system gives the lowest free number, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # Python has None for a stream that was closed at its start.
    sys.stdout = sys.stdout or _open_stream(1)
    sys.stderr = sys.stderr or _open_stream(2)


def _open_stream(number: int) -> TextIO:
    return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)


def prepare_process() -> None:
    """Set up this process for a command: no usage data is sent, and signals end it cleanly."""
    # onnxruntime from 1.29 on sends usage data to Microsoft and leaves an identifier behind unless this is set
    # before it is loaded (its Privacy.md); the worker processes inherit it.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # SIGTERM acts like Ctrl-C, which Blender does not pass on to Python: child processes end, and unfinished files are
    # removed.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)


def main(
    arguments: list[str] | None = None,
    program: str = "build.py blur",
    blender: Path | None = None,
    prepare: Prepare = lambda options: None,
    commands: str = "",
) -> int:
    """Run the command line and return its exit code. `blender` is the application to render with by default.

    `prepare` is called with the parsed options before the work; it may raise FaceBlurError. `commands` describes the
    program's other commands for its help.
    """
    open_closed_streams()
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["verify"] and not Path("verify").exists():
        return verify_output(given[1:], program, prepare)
    options = build_parser(program, commands).parse_args(given)
    prepare_process()
    try:
        prepare(options)
    except FaceBlurError as error:
        print_line(str(error), sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    try:
        jobs, settings = _plan(options, blender)
    except (FaceBlurError, OSError) as error:
        print_line(str(error), sys.stderr)
        return USAGE
    try:
        totals = run_batch(jobs, settings, choose_reporter(options.quiet, options.json))
        if settings.people is not None:
            settings.people.save()
    except (FaceBlurError, OSError) as error:
        print_line(str(error), sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        print_line("\nInterrupted. Unfinished files were removed.", sys.stderr)
        return INTERRUPTED
    return _compute_exit_code(totals)


def _plan(options: argparse.Namespace, blender: Path | None) -> tuple[Plan, BatchSettings]:
    """The jobs and settings that the options ask for. Raises FaceBlurError where these contradict each other, or where
    something that they need is missing."""
    settings = BatchSettings(
        preset=options.preset,
        provider=options.provider,
        margin=options.margin,
        effect=options.effect,
        color=options.color,
        renderer=options.renderer,
        codec=options.codec,
        quality=options.quality,
        encoder=options.encoder,
        drop_subtitles=options.drop_subtitles,
        render=not options.no_render,
        overwrite=options.overwrite,
        resume=options.resume,
        reencode_audio=options.reencode_audio,
        voice=Voice(options.voice),
        objects=tuple(list_objects(options)),
        verify_every=options.verify_every if options.verify else 0,
        inverse=options.inverse,
        blender=options.blender.resolve() if options.blender else blender,
        tracks=options.tracks,
        pieces=options.pieces.resolve() if options.pieces else None,
        segment=options.segment,
    )
    check_detectors(options)
    _check_farm(options)
    _check_renderer(options, settings.blender)
    if settings.blender is not None:
        check_blender(settings.blender)
    jobs = plan_jobs(
        options.inputs,
        options.output,
        options.recursive,
        options.save_blend,
        options.save_tracks,
        options.report,
        options.save_mattes,
        Endings(TRACKS_ENDINGS[options.tracks_format], MATTE_ENDINGS[options.matte_format]),
    )
    if options.report is not None and options.report.suffix and options.report.suffix.lower() not in ENDINGS:
        raise FaceBlurError(f"--report {options.report}: the name of a report must end in {' or '.join(ENDINGS)}.")
    if options.save_tracks is not None and options.save_tracks.suffix.lower() == ".nk":
        raise FaceBlurError(f"--save-tracks {options.save_tracks}: masks for Nuke are a script. End its name with .py.")
    if not jobs:
        raise FaceBlurError("The inputs contain no films or pictures.")
    if options.inverse and options.verify:
        raise FaceBlurError("--verify cannot be combined with --inverse, which shows the faces.")
    if options.inverse and options.save_mattes:
        raise FaceBlurError("--save-mattes cannot be combined with --inverse. Invert the matte in the other program.")
    settings = replace(
        settings, image=get_image(options), boxes=_open_boxes(options, len(jobs)), regions=_read_regions(options)
    )
    for one in choose_classes(list_objects(options)):
        check_models(one.list_weights())
    if options.people is not None:
        check_place(options.people, overwrite=True)
    return jobs, replace(settings, people=open_people(options))


def _check_farm(options: argparse.Namespace) -> None:
    """Raise FaceBlurError where the options for several machines contradict each other, or do not fit the inputs."""
    if options.segment is not None and (options.pieces is None or options.tracks is None):
        raise FaceBlurError("--segment needs --tracks and --pieces: all machines must have the same.")
    if options.pieces is not None and options.renderer != "direct":
        raise FaceBlurError("--pieces is not possible with --renderer blender. Use --renderer direct.")
    if options.segment is not None and any(
        (options.no_render, options.verify, options.report, options.save_mattes, options.save_blend)
    ):
        raise FaceBlurError("--segment writes pieces only. Verify, report and save in the last run, which joins them.")
    if options.tracks is None:
        return
    if len(options.inputs) != 1 or options.inputs[0].is_dir():
        raise FaceBlurError("--tracks belongs to one film or picture. Name that one only.")
    if options.keep or options.blur_only or options.people or list_objects(options):
        raise FaceBlurError(
            "--tracks decides what is covered. Leave out --keep, --blur-only, --people, --plates, --text."
        )
    if not options.tracks.is_file():
        raise FaceBlurError(f"--tracks {options.tracks}: there is no such file.")


def _open_boxes(options: argparse.Namespace, count: int) -> BoxFiles | None:
    if options.boxes is None:
        return None
    files = BoxFiles(options.boxes)
    if count > 1 and not options.boxes.is_dir():
        raise FaceBlurError(f"--boxes {options.boxes} is one file, but there are several inputs. Name a folder.")
    return replace(files, digest=files.compute_digest())


def _read_regions(options: argparse.Namespace) -> Regions | None:
    return read_regions(options.regions) if options.regions is not None else None


def check_detectors(options: argparse.Namespace) -> None:
    """Raise FaceBlurError where the weights of a detector are missing that --detectors names."""
    if is_named_ensemble(options.preset):
        check_models(list_detectors(get_preset(options.preset)))


def _check_renderer(options: argparse.Namespace, blender: Path | None) -> None:
    """Raise FaceBlurError where the options about codecs do not fit the renderer, or where Blender is missing."""
    needs_blender = options.renderer == "blender" or options.save_blend is not None
    if needs_blender and blender is None and find_spec("bpy") is None:
        raise FaceBlurError(
            "--save-blend and --renderer blender need Blender, and this Python has no bpy module. Name an installed "
            "Blender 5 with --blender PATH."
        )
    if options.renderer == "blender" and (options.codec not in BLENDER_CODECS or options.encoder != "cpu"):
        known = ", ".join(BLENDER_CODECS)
        raise FaceBlurError(f"--renderer blender writes {known} with its own encoders. Use --renderer direct.")
    if options.renderer == "blender" and options.voice != Voice.KEEP.value:
        raise FaceBlurError("--voice is not possible with --renderer blender. Use --renderer direct.")


def get_image(options: argparse.Namespace) -> Path | None:
    """The picture of --effect image; None with another effect. Raises FaceBlurError where options contradict."""
    if options.inverse and (options.blur_only is not None or list_objects(options)):
        raise FaceBlurError(
            "--inverse covers everything except faces, so it cannot be combined with --blur-only, --plates or --text."
        )
    if (options.effect == "image") != (options.image is not None):
        raise FaceBlurError("--effect image and --image FILE need each other. Use both or neither.")
    if options.image is None:
        return None
    with open_source(options.image) as source:
        if source.info.kind != "image":
            raise FaceBlurError(f"{options.image} is not a picture.")
    path: Path = options.image.resolve()
    return path


def open_people(options: argparse.Namespace) -> Recognition | None:
    """The recognition that the options about people ask for; None without such options. Raises FaceBlurError."""
    folder = options.keep or options.blur_only
    if folder is None and options.people is None:
        return None
    others_clear = options.blur_only is not None if folder is not None else None
    return open_recognition(
        PeopleOptions(folder, others_clear, options.people, 1 / options.mistakes),
        lambda stage, done, total: None,
        lambda text: print_line(text, sys.stderr),
    )


def verify_output(arguments: list[str], program: str, prepare: Prepare = lambda options: None) -> int:
    """Verify one existing output and return the exit code."""
    options = build_verify_parser(program).parse_args(arguments)
    prepare_process()
    reporter = choose_reporter(options.quiet, options.json)
    try:
        prepare(options)
        reporter.start(options.source, 1, 1)
        outcome = verify_one(
            FilmJob(secure_path(options.source), secure_path(options.film), report=options.report),
            options.tracks,
            BatchSettings(effect=options.effect or "", verify_every=options.verify_every, voice=Voice(options.voice)),
            reporter,
        )
    except FaceBlurError as error:
        print_line(str(error), sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    reporter.finish(outcome)
    totals = Totals()
    totals.add(outcome)
    return _compute_exit_code(totals)


def _compute_exit_code(totals: Totals) -> int:
    if any(outcome.verified is False for outcome in totals.bad):
        return LEAKED
    return SOME_FAILED if totals.bad else ALL_WELL


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
