# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point of a checkout: creates the environment if it is missing, then runs the command. For Python 3.8+."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from tools import environment, fetched  # noqa: E402

COMMANDS = {
    "blur": ("blender_faceblur.batch.cli", "blur the faces in films and pictures"),
    "test": ("tools.check", "run all checks and tests, as CI does"),
    "lint": ("tools.lint", "run the style and type checks"),
    "models": ("tools.models", "fetch the weights of detectors and recognisers"),
    "demo": ("tools.demo", "make a short film of a real face and blur it"),
    "wheel": ("tools.wheel", "build the Python package, which gives the command faceblur"),
    "package": ("tools.package", "build the extension's zips for Blender"),
    "translations": ("tools.translations", "print what the catalogues of the interface's languages lack"),
    "docs": ("tools.site", "build the documentation's website"),
    "library": ("tools.library", "build a .blend file of the effects, for projects without the extension"),
    "bench": (
        "benchmarks.",
        (
            "measure: bench speed CLIP, bench crowd [FOLDER], bench encoders CLIP, bench hostile, bench soak, "
            "bench accuracy [FOLDER], bench strength FOLDER, bench identity FOLDER, bench plates FOLDER, "
            "bench recogniser PACKAGE FOLDER, bench opinion FOLDER..., bench effort [FOLDER], "
            "bench desk [FOLDER], bench hidden FOLDER, bench sharpness FOLDER"
        ),
    ),
}
BENCHMARKS = (
    "accuracy",
    "crowd",
    "desk",
    "effort",
    "encoders",
    "hidden",
    "hostile",
    "identity",
    "opinion",
    "plates",
    "recogniser",
    "soak",
    "speed",
    "strength",
)
ON_REQUEST = {"ensemble": ("ensemble", "five")}
"""Presets whose weights and packages are fetched only for commands that name them, by one of these names."""
NEED_BPY = ("test", "lint", "package", "translations", "library", "bench desk", "bench soak", "bench strength")
"""Commands that always use Blender as a Python package."""
NEED_BLENDER = ("bench speed",)
"""Commands that use Blender, unless an option skips it: the application if they are given one, or else the package."""
SKIP_BLENDER = {"--no-blender", "--analysis-only"}
NEED_TEST_PACKAGES = ("test", "lint")
NEED_PORTRAIT = ("demo", "bench accuracy", "bench crowd", "bench desk", "bench effort")
SHORTEST = {"--blender": "--ble", "--save-blend": "--save-b", "--renderer": "--ren"}
"""The options that decide whether Blender is needed -> the shortest beginning by which argparse recognises them."""
NEED_WEIGHTS = ("blur", "test", "demo", "bench", "package")


def main() -> int:
    """Run one command; returns its exit code."""
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print("usage: python3 build.py COMMAND ...   (COMMAND --help says more)", file=sys.stderr)
        for name, (_, words) in COMMANDS.items():
            print(f"  {name:13}{words}", file=sys.stderr)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    command, arguments = sys.argv[1], sys.argv[2:]
    module, name = COMMANDS[command][0], command
    if command == "bench":
        if not arguments or arguments[0] not in BENCHMARKS:
            print(f"usage: python3 build.py bench {{{','.join(BENCHMARKS)}}} ...", file=sys.stderr)
            return 2
        name += " " + arguments[0]
        module += arguments.pop(0)
    missing = [blender for blender in _list_values(arguments, "--blender") if not os.access(blender, os.X_OK)]
    if missing:
        # Before anything is installed for it.
        print("--blender {}: there is no such program.".format(missing[0]), file=sys.stderr)
        return 2
    try:
        asked = _list_asked_presets(name, arguments)
        python = environment.ensure_environment(
            ROOT,
            with_bpy=_needs_bpy(name, arguments),
            with_tests=name in NEED_TEST_PACKAGES,
            with_portrait=name in NEED_PORTRAIT,
            with_mediapipe=bool(asked),
        )
        if command in NEED_WEIGHTS and not {"-h", "--help"} & set(arguments):
            code = _fetch_weights(python, ["--presets", *asked])
            models = _list_asked_models(name, arguments)
            if code == 0 and models:
                code = _fetch_weights(python, models)
            if code != 0:
                return code
            if command in ("package", "test"):
                # If a download fails the tool prints why, and everything but recognising people or finding text works.
                _fetch_weights(python, ["dlib_resnet", "ppocr_text"])
    except environment.EnvironmentProblem as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return _hand_over(environment.build_command(python, module, arguments))


def _fetch_weights(python: Path, arguments: list[str]) -> int:
    """Run `tools.models` unless all its files are known to be present; returns its exit code."""
    if fetched.is_fetched(ROOT, arguments):
        return 0
    return subprocess.call(
        environment.build_command(python, "tools.models", arguments), env=environment.build_variables(ROOT)
    )


def _list_asked_presets(command: str, arguments: list[str]) -> list[str]:
    """The on-request presets whose weights and packages this command needs."""
    # Strength is measured with every detector; accuracy with every preset unless some are named.
    every = command in ("test", "bench strength") or (command == "bench accuracy" and "--preset" not in arguments)
    # A detector that is named individually may belong to such a preset only.
    every = every or any(argument.split("=")[0] == "--detectors" for argument in arguments)
    return [
        preset
        for preset, names in ON_REQUEST.items()
        if every or any({name, "--preset=" + name} & set(arguments) for name in names)
    ]


def _list_asked_models(command: str, arguments: list[str]) -> list[str]:
    """The weights that this command requires and that belong to no preset."""
    options = {argument.split("=")[0] for argument in arguments}
    people = command in ("bench identity", "bench recogniser", "bench sharpness") or (
        command == "blur" and options & {"--keep", "--blur-only", "--people"}
    )
    plates = (command == "bench plates" and "--text" not in options) or (command == "blur" and "--plates" in options)
    text = command in ("blur", "bench plates") and "--text" in options
    return ["dlib_resnet"] * bool(people) + ["lpd_yunet"] * plates + ["ppocr_text"] * text


def _needs_bpy(command: str, arguments: list[str]) -> bool:
    """Whether the environment must have Blender as a Python package.

    Plain files are covered without Blender. Where a wrong option makes this uncertain, the command itself rejects it.
    """
    if command in NEED_BPY:
        return True
    needs_blender = (
        (command in NEED_BLENDER and not SKIP_BLENDER & set(arguments))
        or bool(_list_values(arguments, "--save-blend"))
        or "blender" in _list_values(arguments, "--renderer")
    )
    return needs_blender and not _list_values(arguments, "--blender")


def _list_values(arguments: list[str], option: str) -> list[str]:
    """The values of an option of SHORTEST as argparse reads them; "" for a value that is missing."""
    if "--" in arguments:
        arguments = arguments[: arguments.index("--")]
    values = []
    for argument, following in zip(arguments, [*arguments[1:], ""]):
        name, equals, value = argument.partition("=")
        if option.startswith(name) and name.startswith(SHORTEST[option]):
            values.append(value if equals else following)
    return values


def _hand_over(command: list[str]) -> int:
    variables = environment.build_variables(ROOT)
    if os.name == "posix":
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(command[0], command, variables)
    # Windows has no exec that keeps the console: wait, and let the child handle Ctrl-C, which it also receives.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.call(command, env=variables)


if __name__ == "__main__":
    sys.exit(main())
