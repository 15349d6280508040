# SPDX-License-Identifier: GPL-3.0-or-later
"""Creates the pinned environments inside the checkout, once, and finds a Python for them. For Python 3.8 and later."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BPY_VERSIONS = ((3, 11), (3, 13))
"""Pythons for which PyPI has a Blender 5 module in a pinned version."""

PLAIN_VERSIONS = ((3, 11), (3, 12), (3, 13), (3, 14))
"""Pythons that are sufficient without the bpy module."""

SIZES = {
    "py311": "0.5 GB to download, 1.3 GB on disk",
    "py313": "0.5 GB to download, 1.4 GB on disk",
    "plain": "0.13 GB to download, 0.4 GB on disk",
}
"""Measured on Linux."""

INSTALL_HINT = "Python 3.11 to 3.14 is needed, or uv (https://docs.astral.sh/uv/) to fetch it."
BPY_INSTALL_HINT = (
    "Python 3.11 or 3.13 is needed, or uv (https://docs.astral.sh/uv/) to fetch it, "
    "or an installed Blender 5: build.py blur --blender PATH with Python 3.11 to 3.14."
)


class EnvironmentProblem(Exception):
    """No environment can be created; the text is one line for the user."""


def ensure_environment(
    root: Path, with_bpy: bool, with_tests: bool = False, with_portrait: bool = False, with_mediapipe: bool = False
) -> Path:
    """The Python of a complete environment that matches the lock files; creates it if it is missing or broken.

    `with_bpy` asks for Blender as a Python package, `with_tests` (only together with it) for what the tests need, and
    `with_portrait` for the picture in the film of `tools.demo`. Without bpy an existing environment with bpy is used
    too, since it holds the same versions. If mediapipe (`with_mediapipe`) cannot be installed, prints why and
    continues. Raises EnvironmentProblem if there is no suitable Python or another package cannot be installed.
    """
    assert with_bpy or not with_tests
    version, interpreter = _find_interpreter(with_bpy)
    lock = _choose_lock(root, version, with_bpy)
    folder = root / ".env" / _name_environment(root, lock, version)
    python = _get_python(folder)
    complete, tested = folder / "complete", folder / "complete-test"
    if not _works(python, complete, tested if with_tests else complete):
        folder.parent.mkdir(exist_ok=True)
        with _hold_lock(folder.parent / (folder.name + ".lock")):
            if not _works(python, complete, complete):
                _report(
                    "Creating the environment {} Blender in {} (Python {}.{}; about {}) ...".format(
                        "with" if with_bpy else "without",
                        folder.relative_to(root),
                        version[0],
                        version[1],
                        SIZES[lock],
                    )
                )
                _remove(folder)
                _make_environment(folder, interpreter, version)
                _install(python, root / "requirements" / (lock + ".txt"))
                complete.write_text("whole\n", encoding="utf-8")
            if with_tests and not tested.is_file():
                _report("Adding what the tests need (about 0.1 GB) ...")
                _install(python, root / "requirements" / (lock + "-test.txt"))
                tested.write_text("whole\n", encoding="utf-8")
    if with_portrait and not tested.is_file():
        # The tests' packages include this one.
        _add_package(root, folder, "demo", "Adding the picture for the film (14 MB to download) ...")
    if with_mediapipe:
        _ensure_mediapipe(root, folder)
    return python


def _choose_lock(root: Path, version: tuple[int, int], with_bpy: bool) -> str:
    """The name of the lock to use: that with bpy if bpy is needed or an environment with it exists."""
    full = "py{}{}".format(*version)
    folder = root / ".env" / _name_environment(root, full, version)
    return full if with_bpy or _works(_get_python(folder), folder / "complete") else "plain"


def _ensure_mediapipe(root: Path, folder: Path) -> None:
    """Add mediapipe; if that fails print why, since its detectors are optional."""
    try:
        _add_package(root, folder, "mediapipe", "Adding mediapipe for the BlazeFace detectors (12 MB to download) ...")
    except EnvironmentProblem as problem:
        _report("{} The BlazeFace detectors are not available.".format(problem))


def _add_package(root: Path, folder: Path, name: str, text: str) -> None:
    """Add the package in requirements/NAME.txt, without what it depends on, once. `text` announces the download.

    Raises EnvironmentProblem if it cannot be installed.
    """
    lock = root / "requirements" / (name + ".txt")
    added = folder / "complete-{}-{}".format(name, _hash([lock]))
    if added.is_file():
        return
    with _hold_lock(folder.parent / (folder.name + ".lock")):
        if added.is_file():
            return
        _report(text)
        _install(_get_python(folder), lock, "--no-deps")
        added.write_text("whole\n", encoding="utf-8")


def ensure_tool(root: Path, name: str) -> Path:
    """The Python of an environment for a third-party program pinned in requirements/NAME.txt, on this Python."""
    lock = root / "requirements" / (name + ".txt")
    folder = root / ".env" / "{}-py{}{}-{}".format(name, sys.version_info[0], sys.version_info[1], _hash([lock]))
    python = _get_python(folder)
    complete = folder / "complete"
    if not _works(python, complete, complete):
        folder.parent.mkdir(exist_ok=True)
        with _hold_lock(folder.parent / (folder.name + ".lock")):
            if _works(python, complete, complete):
                return python
            size = " (about {})".format(SIZES[name]) if name in SIZES else ""
            _report("Creating an environment for {}{} ...".format(name, size))
            _remove(folder)
            _make_environment(folder, [sys.executable], sys.version_info[:2])
            _install(python, lock)
            complete.write_text("whole\n", encoding="utf-8")
    return python


def build_command(python: Path, module: str, arguments: list[str]) -> list[str]:
    """Run a module of the checkout; -P keeps the user's current folder out of the module search."""
    return [str(python), "-P", "-m", module, *arguments]


def build_variables(root: Path) -> dict[str, str]:
    """The environment variables for a module of the checkout."""
    variables = dict(os.environ)
    # onnxruntime from 1.29 sends usage data without it, in case one is installed into the environment.
    variables.update(
        {"PYTHONPATH": str(root), "PYTHONNOUSERSITE": "1", "PYTHONUTF8": "1", "ORT_DISABLE_TELEMETRY": "1"}
    )
    variables.pop("PYTHONHOME", None)
    return variables


def _get_python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _find_interpreter(with_bpy: bool) -> tuple[tuple[int, int], list[str]]:
    """The chosen version, and the command that creates an environment: a Python, or uv if there is none."""
    versions = BPY_VERSIONS if with_bpy else PLAIN_VERSIONS
    current = sys.version_info[:2]
    if current in versions and sys.implementation.name == "cpython":
        return current, [sys.executable]
    for version in versions:
        name = "{}.{}".format(*version)
        for candidate in (["python" + name], ["py", "-" + name]):
            if shutil.which(candidate[0]) and _ask_version(candidate) == version:
                return version, candidate
    uv = shutil.which("uv")
    if uv:
        return versions[0], [uv, "venv", "--quiet", "--seed", "--python", "{}.{}".format(*versions[0])]
    raise EnvironmentProblem(
        "This is Python {}.{}. {}".format(current[0], current[1], BPY_INSTALL_HINT if with_bpy else INSTALL_HINT)
    )


def _ask_version(command: list[str]) -> tuple[int, int] | None:
    question = "import sys; print(sys.version_info[0], sys.version_info[1])"
    try:
        answer = subprocess.run(
            [*command, "-c", question], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.split()
    return (int(words[0]), int(words[1])) if answer.returncode == 0 and len(words) == 2 else None


def _name_environment(root: Path, lock: str, version: tuple[int, int]) -> str:
    locks = [path for path in (root / "requirements" / (lock + end) for end in (".txt", "-test.txt")) if path.is_file()]
    return "{}-{}".format(lock if lock.startswith("py") else "{}-py{}{}".format(lock, *version), _hash(locks))


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256(platform.machine().encode())
    for path in files:
        # Git may write other line endings on Windows, which do not change what is installed.
        digest.update(path.read_text(encoding="utf-8").encode())
    return digest.hexdigest()[:12]


def _works(python: Path, *markers: Path) -> bool:
    """Whether an environment was completed and its Python still starts (the base Python may be gone)."""
    return all(marker.is_file() for marker in markers) and _ask_version([str(python)]) is not None


def _make_environment(folder: Path, interpreter: list[str], version: tuple[int, int]) -> None:
    command = interpreter if len(interpreter) > 2 else [*interpreter, "-m", "venv"]
    done = subprocess.run([*command, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode != 0:
        lines = done.stdout.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise EnvironmentProblem(
            "Python {}.{} could not create an environment ({}). On Debian and Ubuntu: install python3-venv.".format(
                version[0], version[1], lines[-1]
            )
        )


def _install(python: Path, lock: Path, *options: str) -> None:
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--require-hashes",
        "--only-binary=:all:",
        *options,
        "--requirement",
        str(lock),
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines or ["no reason given"]
        raise EnvironmentProblem("pip could not install {}: {}".format(lock.name, errors[0]))


def _remove(folder: Path) -> None:
    if folder.exists():
        try:
            shutil.rmtree(str(folder))
        except OSError as error:
            raise EnvironmentProblem(f"The incomplete environment {folder} cannot be removed: {error}") from error


@contextlib.contextmanager
def _hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock that the system releases when this process ends, so that two first runs do not collide."""
    try:
        stream = open(str(path), "a+b")  # noqa: SIM115
    except OSError as error:
        raise EnvironmentProblem("The checkout cannot be written to: {}".format(error)) from error
    with stream:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)
            while True:
                try:
                    msvcrt.locking(stream.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:
                    continue
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
