# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `build.py blur INPUT...`."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TextIO

from ..core.detection.settings import (
    DEFAULT_MARGIN,
    FORMER_NAMES,
    HEAD_MARGIN,
    MARGINS,
    PRESETS,
    get_preset,
    is_named_ensemble,
    list_detectors,
    name_ensemble,
)
from ..core.people.decisions import RATES, USUAL_RATE
from ..core.tracking.objects import OBJECT_CLASSES, choose_classes
from ..core.types import FaceBlurError
from ..delivery.voice import Voice
from ..exchange.boxes import BoxFiles
from ..exchange.regions import Regions, read_regions
from ..files.paths import check_models, get_version
from ..painting.encoders import CODECS, QUALITIES
from ..reporting.progress import Totals, choose_reporter, print_line
from ..reporting.report import ENDINGS
from ..sources import open_source
from .people import PeopleOptions, Recognition, open_recognition
from .planning import Endings, FilmJob, Plan, check_place, plan_jobs, secure_path
from .rendering import check_blender
from .run import run_batch, verify_one
from .settings import BatchSettings

ALL_WELL, SOME_FAILED, USAGE, LEAKED, INTERRUPTED = 0, 1, 2, 3, 130
EFFECT_NAMES = ("mosaic", "blur", "solid", "erase", "gaussian", "image")
EVERY = 3
"""The step, in frames, in which a verification searches for unexpected faces."""

BLENDER_CODECS = ("auto", "h264", "h265", "ffv1")
TRACKS_ENDINGS = {
    "json": ".json",
    "csv": ".csv",
    "mot": ".txt",
    "fusion": ".setting",
    "after-effects": ".jsx",
    "nuke": ".py",
}
MATTE_ENDINGS = {"ffv1": ".mkv", "prores": ".mov", "png": ""}
RENDERERS = ("direct", "blender")

Prepare = Callable[[argparse.Namespace], None]
"""Called with the parsed options before the work."""


EXAMPLES = """examples:
  {0} holiday.mp4                            writes holiday.blurred.mp4 beside it
  {0} footage/ -r -o covered/ --resume       a folder with its subfolders; again after an interruption
  {0} talk.mov --effect mosaic --verify      another effect, and compare the result with the source
  {0} street.mp4 --keep presenter/ --plates  the presenter stays visible, number plates are covered too

exit codes: 0 success, 1 some inputs failed, 2 wrong usage, 3 a verified output leaks, 130 interrupted
"""

CommandParser = partial(argparse.ArgumentParser, formatter_class=argparse.RawDescriptionHelpFormatter, add_help=False)
"""A parser that keeps the line breaks of its examples; `add_message_options` adds --help at the end."""


def build_parser(program: str = "build.py blur", commands: str = "") -> argparse.ArgumentParser:
    """`commands` describes the program's other commands."""
    parser = CommandParser(
        prog=program,
        usage=f"{program} [options] INPUT...",
        description="Cover the faces in films and pictures, and keep everything else.",
        epilog=f"other commands:\n  {program} verify SOURCE OUTPUT --tracks FILE\n{commands}\n"
        + EXAMPLES.format(program),
    )
    files = parser.add_argument_group("files")
    files.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="film, picture or folder")
    files.add_argument(
        "-o", "--output", type=Path, metavar="FILE|FOLDER", help="default: NAME.blurred.EXT beside the input"
    )
    files.add_argument("-r", "--recursive", action="store_true", help="include sub-folders, and keep their structure")
    files.add_argument("--overwrite", action="store_true", help="replace existing outputs")
    files.add_argument("--resume", action="store_true", help="skip complete outputs, and resume unfinished analyses")
    files.add_argument("--no-render", action="store_true", help="only analyse, and save if asked to")
    files.add_argument("--save-blend", type=Path, metavar="FILE|FOLDER", help="save the project with editable masks")
    add_detection_options(parser)
    add_people_options(parser)
    _add_exchange_options(parser)
    films = parser.add_argument_group("pictures and sound")
    films.add_argument(
        "--codec", choices=("auto", *CODECS), default="auto", help="codec of films (default auto: the source's own)"
    )
    films.add_argument(
        "--quality", choices=QUALITIES, default="high", help="quality of films (default high: no visible loss)"
    )
    films.add_argument(
        "--encoder",
        default="cpu",
        metavar="auto|cpu|NAME",
        help="auto uses a hardware encoder if there is one; or FFmpeg's name of an encoder (default cpu)",
    )
    films.add_argument("--drop-subtitles", action="store_true", help="leave subtitles out: they may name people")
    _add_voice_option(films)
    films.add_argument("--reencode-audio", action="store_true", help="re-encode sound that cannot be copied unchanged")
    films.add_argument(
        "--renderer",
        choices=RENDERERS,
        default="direct",
        help="paint covers into the source's own pixels (default), or render a Blender project in 8 bits",
    )
    films.add_argument(
        "--blender", type=Path, metavar="PATH", help="use an installed Blender 5 where Blender is needed"
    )
    _add_farm_options(parser)
    add_verify_options(parser)
    add_message_options(parser)
    return parser


def _add_farm_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("one film on several machines")
    group.add_argument(
        "--tracks", type=Path, metavar="FILE", help="cover the faces of a tracks document; nothing is searched"
    )
    group.add_argument("--pieces", type=Path, metavar="FOLDER", help="keep the painted pieces of the film here")
    group.add_argument(
        "--segment",
        type=_parse_segment,
        metavar="I/N",
        help="only paint the pieces I, I+N, I+2N ... into --pieces; a last run without it joins all pieces",
    )


def _add_exchange_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("exchange with other programs")
    group.add_argument(
        "--regions", type=Path, metavar="FILE", help="zones and time spans to cover or to leave alone (TOML)"
    )
    group.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE|FOLDER",
        help="cover these boxes too: a MOT file (.txt, .csv) or COCO for videos (.json), or a folder with one per film",
    )
    group.add_argument(
        "--save-tracks",
        type=Path,
        metavar="FILE|FOLDER",
        help="save the tracks: as JSON, as a table (.csv), in the MOT format (.txt), or as animated masks for Fusion "
        "and Resolve (.setting), After Effects (.jsx) or Nuke (.py)",
    )
    group.add_argument(
        "--tracks-format",
        choices=TRACKS_ENDINGS,
        default="json",
        help="of --save-tracks FOLDER (default json); a file's ending decides for itself",
    )
    group.add_argument(
        "--save-mattes",
        type=Path,
        metavar="FILE|FOLDER",
        help="save the covers as mattes, white where something is covered: FFV1 (.mkv), ProRes 4444 (.mov), pictures",
    )
    group.add_argument(
        "--matte-format",
        choices=MATTE_ENDINGS,
        default="ffv1",
        help="of --save-mattes FOLDER (default ffv1); png is a folder of pictures for each film",
    )


def _add_voice_option(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--voice",
        choices=[voice.value for voice in Voice],
        default=Voice.KEEP.value,
        help="keep the sound as it is (default), leave it out, or lower all voices: a disguise that can be undone",
    )


def add_message_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("messages")
    group.add_argument("--quiet", action="store_true", help="print only failures")
    group.add_argument("--json", action="store_true", help="print progress as JSON lines on standard output")
    group.add_argument("-h", "--help", action="help", help="show this text")
    group.add_argument("--version", action="version", version=f"Face Blur {get_version()}", help="show the version")


def add_verify_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("verification and report")
    group.add_argument(
        "--verify", action="store_true", help="compare the output with the source, and search it for uncovered faces"
    )
    group.add_argument(
        "--verify-every",
        type=_parse_every,
        default=EVERY,
        metavar="N",
        help=f"search one frame in N for uncovered faces (default {EVERY}; 1 for all frames)",
    )
    group.add_argument(
        "--report",
        type=Path,
        metavar="FILE|FOLDER",
        help="write a report of covers, corrections and verification, as .html or .json",
    )


def add_people_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "people",
        "FOLDER holds pictures of people; the name of a sub-folder or file is the person's\n"
        "name. A face stays visible only if its person is certainly recognised, or with\n"
        "--blur-only, if it is certainly none of these people. All other faces are covered.",
    )
    choice = group.add_mutually_exclusive_group()
    choice.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep these people visible, and cover everyone else"
    )
    choice.add_argument(
        "--blur-only", type=Path, metavar="FOLDER", help="cover these people, and anyone who may be one of them"
    )
    group.add_argument(
        "--mistakes",
        type=int,
        choices=[round(1 / rate) for rate in RATES],
        default=round(1 / USUAL_RATE),
        metavar="N",
        help="at most 1 in N strangers may be taken for a person who stays visible: "
        f"{', '.join(str(round(1 / rate)) for rate in RATES)} (default {round(1 / USUAL_RATE)})",
    )
    group.add_argument(
        "--people",
        type=Path,
        metavar="FILE",
        help="save names and decisions in this file, and use them in the next run (JSON, without faces)",
    )


def build_verify_parser(program: str) -> argparse.ArgumentParser:
    parser = CommandParser(
        prog=f"{program} verify",
        description="Compare a covered film or picture with its source.",
        epilog="exit codes: 0 no leak, 1 the verification failed, 2 wrong usage, 3 the output leaks",
    )
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("film", type=Path, metavar="OUTPUT")
    parser.add_argument(
        "--tracks", type=Path, required=True, metavar="FILE", help="the tracks document from --save-tracks"
    )
    parser.add_argument(
        "--verify-every",
        type=_parse_every,
        default=EVERY,
        metavar="N",
        help=f"search one frame in N for uncovered faces (default {EVERY}; 1 for all frames)",
    )
    _add_voice_option(parser)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write a report, as .html or .json")
    parser.add_argument("--effect", choices=EFFECT_NAMES, help="the effect of the output, for the report")
    add_message_options(parser)
    return parser


def add_detection_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that files and the strips of a project have in common."""
    search = parser.add_argument_group("the search for faces")
    choice = search.add_mutually_exclusive_group()
    choice.add_argument(
        "--preset",
        type=lambda name: FORMER_NAMES.get(name, name),
        choices=[preset.name for preset in PRESETS],
        default="balanced",
        help="how carefully to search (default balanced); thorough is slow, ensemble is the recipe of five detectors",
    )
    choice.add_argument(
        "--detectors",
        dest="preset",
        type=_parse_ensemble,
        metavar="NAME[@SIDE][:THRESHOLD],...",
        help="run these detectors on every frame, instead of a preset",
    )
    search.add_argument(
        "--provider",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="what the detectors run on (default auto: a graphics card, if it is faster and onnxruntime supports it)",
    )
    search.add_argument(
        "--plates",
        action="store_true",
        help="cover number plates too, in a second analysis (the detector is best at Chinese plates)",
    )
    search.add_argument(
        "--text",
        action="store_true",
        help="cover lines of text too, in a further analysis: signs, name tags, screens",
    )
    covers = parser.add_argument_group("the covers")
    covers.add_argument(
        "--margin",
        "--expansion",
        dest="margin",
        type=_parse_margin,
        default=DEFAULT_MARGIN,
        metavar="FACTOR",
        help=f"size of the cover compared with the face (default {DEFAULT_MARGIN})",
    )
    covers.add_argument(
        "--head",
        dest="margin",
        action="store_const",
        const=HEAD_MARGIN,
        help=f"cover ears and hair too (the same as --margin {HEAD_MARGIN})",
    )
    covers.add_argument(
        "--effect", choices=EFFECT_NAMES, default="solid", help="what covers the faces (default solid, a colour)"
    )
    covers.add_argument(
        "--color",
        type=_parse_color,
        default="000000",
        metavar="RRGGBB",
        help="colour of --effect solid, and around the picture of --effect image",
    )
    covers.add_argument("--image", type=Path, metavar="FILE", help="the picture of --effect image, over each face")
    covers.add_argument(
        "--inverse",
        action="store_true",
        help="cover everything except the faces; with --keep, except the faces of the people who stay visible",
    )


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


def list_objects(options: argparse.Namespace) -> list[str]:
    """The names of the classes of objects that the options ask for, besides faces."""
    return [one.name for one in OBJECT_CLASSES if getattr(options, one.name, False)]


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


def _parse_segment(text: str) -> tuple[int, int]:
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count) <= 10_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a segment such as 2/5")
    return int(number), int(count)


def _parse_every(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames from 1 to 1000")
    return int(text)


def _parse_ensemble(text: str) -> str:
    try:
        return name_ensemble(text.split(","))
    except FaceBlurError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _parse_margin(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not MARGINS[0] <= value <= MARGINS[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {MARGINS[0]} to {MARGINS[1]}")
    return value


def _parse_color(text: str) -> str:
    if not re.fullmatch(r"#?[0-9A-Fa-f]{6}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a colour like FF8000")
    return text.removeprefix("#").upper()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
