# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the command line: their names, values and help."""

from __future__ import annotations

import argparse
import re
from functools import partial
from pathlib import Path

from ..core.detection.settings import (
    DEFAULT_MARGIN,
    FORMER_NAMES,
    HEAD_MARGIN,
    MARGINS,
    PRESETS,
    name_ensemble,
)
from ..core.people.decisions import RATES, USUAL_RATE
from ..core.tracking.objects import OBJECT_CLASSES
from ..core.types import FaceBlurError
from ..delivery.voice import Voice
from ..files.paths import get_version
from ..painting.encoders import CODECS, QUALITIES

EFFECT_NAMES = ("mosaic", "blur", "solid", "erase", "gaussian", "image")
EVERY = 3
"""The step, in frames, in which a verification searches for unexpected faces."""

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


def list_objects(options: argparse.Namespace) -> list[str]:
    """The names of the classes of objects that the options ask for, besides faces."""
    return [one.name for one in OBJECT_CLASSES if getattr(options, one.name, False)]


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
