# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `build.py blur INPUT...`."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from pathlib import Path
from types import FrameType

from .batch import Settings, plan_jobs, run_batch
from .core.settings import DEFAULT_EXPANSION, EXPANSIONS, PRESETS, find_preset, list_detectors, name_ensemble
from .core.types import FaceBlurError
from .paths import find_model
from .progress import choose_reporter
from .rendering import check_blender

ALL_WELL, SOME_FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
EFFECTS = ("mosaic", "blur", "solid", "erase", "gaussian")
CODECS = ("h264", "h265", "ffv1")
QUALITIES = ("lossless", "high", "medium", "low")


def build_parser(program: str = "build.py blur") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program, description="Cover the faces in films and pictures with Blender, and keep the rest.",
        epilog="Exit codes: 0 all well, 1 some inputs failed, 2 wrong usage, 130 interrupted.")
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="film, picture or folder")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE|FOLDER",
                        help="default: NAME.blurred.EXT beside the input")
    parser.add_argument("-r", "--recursive", action="store_true", help="folders below folders too, structure kept")
    add_look_options(parser)
    parser.add_argument("--codec", choices=CODECS, default="h264", help="of films (default h264)")
    parser.add_argument("--quality", choices=QUALITIES, default="high", help="default high: no visible loss")
    parser.add_argument("--save-blend", type=Path, metavar="FILE|FOLDER", help="the project with editable masks")
    parser.add_argument("--save-tracks", type=Path, metavar="FILE|FOLDER", help="what was found, as JSON")
    parser.add_argument("--no-render", action="store_true", help="analyse (and save) only")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that exist")
    parser.add_argument("--resume", action="store_true", help="skip outputs that are complete, go on with the rest")
    parser.add_argument("--reencode-audio", action="store_true",
                        help="encode sound anew where it cannot be kept as it is")
    parser.add_argument("--blender", type=Path, metavar="PATH", help="an installed Blender 5 to render with")
    return parser


def add_look_options(parser: argparse.ArgumentParser) -> None:
    """The options that mean the same for files and for the strips of a project."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--preset", choices=[preset.name for preset in PRESETS], default="balanced")
    choice.add_argument("--detectors", dest="preset", type=_parse_ensemble, metavar="NAME[@SIDE][:THRESHOLD],...",
                        help="detectors of your own choice, at every frame, instead of a preset")
    parser.add_argument("--expansion", type=_parse_expansion, default=DEFAULT_EXPANSION, metavar="FACTOR",
                        help=f"how much larger than the face the cover is, default {DEFAULT_EXPANSION}")
    parser.add_argument("--effect", choices=EFFECTS, default="mosaic")
    parser.add_argument("--color", type=_parse_color, default="000000", metavar="RRGGBB", help="of --effect solid")
    parser.add_argument("--quiet", action="store_true", help="say only what failed")
    parser.add_argument("--json", action="store_true", help="progress as JSON lines on standard output")


def prepare_process() -> None:
    """Set up this process for a command: nothing is sent to anybody, and it can be asked to end."""
    # onnxruntime from 1.29 on sends usage data to Microsoft and leaves an identifier behind unless this is set
    # before it is loaded (its Privacy.md); the worker processes inherit it.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    # Being asked to end is the same as Ctrl-C (which Blender keeps from Python): children end, unfinished files go.
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)


def main(arguments: list[str] | None = None, program: str = "build.py blur", blender: Path | None = None) -> int:
    """Run the command line; its exit code. `blender` is the application to render with where none is named."""
    options = build_parser(program).parse_args(arguments)
    prepare_process()
    settings = Settings(
        preset=options.preset, expansion=options.expansion, effect=options.effect, color=options.color,
        codec=options.codec, quality=options.quality, render=not options.no_render, overwrite=options.overwrite,
        resume=options.resume, reencode_audio=options.reencode_audio,
        blender=options.blender.resolve() if options.blender else blender)
    try:
        if settings.blender is not None:
            check_blender(settings.blender)
        jobs = plan_jobs(options.inputs, options.output, options.recursive, options.save_blend, options.save_tracks)
        if not jobs:
            raise FaceBlurError("There are no films or pictures in the inputs.")
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return USAGE
    try:
        outcomes = run_batch(jobs, settings, choose_reporter(options.quiet, options.json))
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        print("\nInterrupted; unfinished files were removed.", file=sys.stderr)
        return INTERRUPTED
    return SOME_FAILED if any(outcome.status == "failed" for outcome in outcomes) else ALL_WELL


def _parse_ensemble(text: str) -> str:
    try:
        preset = name_ensemble(text.split(","))
        for name in list_detectors(find_preset(preset)):
            find_model(name)
    except FaceBlurError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return preset


def _parse_expansion(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not EXPANSIONS[0] <= value <= EXPANSIONS[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {EXPANSIONS[0]} to {EXPANSIONS[1]}")
    return value


def _parse_color(text: str) -> str:
    if not re.fullmatch(r"#?[0-9A-Fa-f]{6}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a colour like FF8000")
    return text.removeprefix("#").upper()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
