# SPDX-License-Identifier: GPL-3.0-or-later
"""`faceblur INPUT...`: the command line of the Python package, which fetches missing weights before the work."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from ..batch import cli
from ..batch.options import build_parser
from ..core.detection.settings import get_preset, is_named_ensemble, list_detectors
from ..core.people.similarity import RECOGNIZER
from ..core.tracking.objects import OBJECT_CLASSES
from ..core.types import FaceBlurError
from ..detectors import get_detector
from ..files import paths
from ..reporting.progress import print_line
from ..weights import fetch

PROGRAM = "faceblur"
SHELLS = ("bash", "zsh", "tcsh")

COMMANDS = """  faceblur models [NAME...]                   fetch weights beforehand, for machines without a network
  faceblur completion bash|zsh|tcsh           print a file that completes options in this shell
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    cli.open_closed_streams()
    given = sys.argv[1:] if arguments is None else arguments
    # An input of such a name is ./models.
    word = given[0] if given else ""
    if word == "models":
        cli.prepare_process()
        try:
            return fetch.main(given[1:], f"{PROGRAM} models")
        except KeyboardInterrupt:
            return cli.INTERRUPTED
    if word == "completion":
        return print_completion(given[1:])
    return cli.main(given, PROGRAM, prepare=fetch_weights, commands=COMMANDS)


def fetch_weights(options: argparse.Namespace) -> None:
    """Fetch the weights that these options need, unless they are here. Raises FaceBlurError if a needed one is missing.

    A detector of an on-request preset may be missing, and so may the second opinion: the preset runs without it and
    warns the user. Without a network, not every run waits for such weights: what failed is tried again after a while.
    """
    needed, useful = list_needed_weights(options)
    absent = [name for name in (*needed, *useful) if not _is_here(name)]
    put_off = fetch.read_failures(name for name in absent if name not in needed)
    failed = fetch.fetch_models(
        [name for name in absent if name not in put_off], lambda line: print_line(line, sys.stderr)
    )
    fetch.remember_failures(failed)
    missing = {**put_off, **failed}
    lines = [fetch.describe_missing(name, reason) for name, reason in missing.items()]
    if any(name in needed for name in missing):
        raise FaceBlurError("\n".join(lines))
    for line in lines:
        print_line(line, sys.stderr)


def list_needed_weights(options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The names of the weights without which the work cannot begin, and of those that it can do without."""
    required = {name for name, model in paths.list_models().items() if model.required}
    needed = [name for name in fetch.preset_models() if name in required]
    useful = [name for name in fetch.preset_models() if name not in required]
    name = getattr(options, "preset", "balanced")
    preset = get_preset(name)
    if preset.on_request or is_named_ensemble(name):
        named = [
            weights
            for detector in list_detectors(preset)
            for weights in (detector, *get_detector(detector).further_weights)
            # Without the package its files are of no use.
            if "blazeface" not in weights or find_spec("mediapipe")
        ]
        (useful if preset.on_request else needed).extend(named)
    if any(getattr(options, option, None) for option in ("keep", "blur_only", "people")):
        needed.append(RECOGNIZER)
    for one in OBJECT_CLASSES:
        if getattr(options, one.name, False):
            needed += one.list_weights()
    return list(dict.fromkeys(needed)), [weights for weights in dict.fromkeys(useful) if weights not in needed]


def _is_here(name: str) -> bool:
    try:
        paths.get_model_path(name)
    except FaceBlurError:
        return False
    return True


def print_completion(arguments: list[str]) -> int:
    """Print a shell's completion file, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} completion",
        description="Print a file that completes the options of faceblur.",
        epilog="for bash: faceblur completion bash > ~/.local/share/bash-completion/completions/faceblur",
    )
    parser.add_argument("shell", choices=SHELLS)
    shell = parser.parse_args(arguments).shell

    import shtab

    completed = build_parser(PROGRAM)
    for action in completed._actions:  # noqa: SLF001 - shtab reads the same list, and argparse has no other
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print_line(shtab.complete(completed, shell), sys.stdout)
    return cli.ALL_WELL


if __name__ == "__main__":
    sys.exit(main())
