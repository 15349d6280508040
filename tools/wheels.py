# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches the unmodified wheels for an extension zip, for any platform and Python that Blender has."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO

from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.weights.wheels import download_wheels

DOWNLOAD_TIMEOUT_S = 1800

_MANYLINUX_ALIASES = {17: "manylinux2014_x86_64", 12: "manylinux2010_x86_64", 5: "manylinux1_x86_64"}

PLATFORMS: dict[str, tuple[str, ...]] = {
    # Blender 5 itself requires glibc 2.28.
    "linux-x64": tuple(
        name
        for minor in range(28, 4, -1)
        for name in (f"manylinux_2_{minor}_x86_64", _MANYLINUX_ALIASES.get(minor))
        if name
    ),
    "windows-x64": ("win_amd64",),
    # Blender 5 runs on older versions too, but onnxruntime and av have no wheels for them.
    "macos-arm64": tuple(mac_platforms((14, 0), "arm64")),
}
"""Blender's name of a platform -> the wheel platforms that run there, best first."""

PYTHONS = ("3.11", "3.13", "3.14")
"""The Pythons inside Blender 5: 3.11 in 5.0, 3.13 since 5.1, 3.14 in Debian's 5.2."""

_MARKERS = {
    "linux-x64": {
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": "x86_64",
    },
    "windows-x64": {
        "sys_platform": "win32",
        "platform_system": "Windows",
        "os_name": "nt",
        "platform_machine": "AMD64",
    },
    "macos-arm64": {
        "sys_platform": "darwin",
        "platform_system": "Darwin",
        "os_name": "posix",
        "platform_machine": "arm64",
    },
}

NEEDED_MODULES = ("av", "cv2", "onnxruntime")
BLENDERS_MODULES = ("numpy",)
"""With a second NumPy the order of the path would decide whether Blender's own NumPy is loaded."""


@dataclass(frozen=True, slots=True)
class WheelTarget:
    """A platform, one of PLATFORMS, and a Python, one of PYTHONS, whose wheels a zip has."""

    platform: str
    python: str

    def __str__(self) -> str:
        return f"{self.platform}-py{self.python.replace('.', '')}"


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of the lock: canonical name, version, and the SHA-256 of every allowed file."""

    name: str
    version: str
    hashes: frozenset[str]


def read_pins(lock: Path, target: WheelTarget) -> list[Pin]:
    """The packages in a pip requirements file with hashes that this target needs, in the file's order."""
    major, minor = target.python.split(".")
    environment = {
        **_MARKERS[target.platform],
        "python_version": target.python,
        "python_full_version": f"{major}.{minor}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    pins = []
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        words, *hashes = entry.split("--hash=sha256:")
        if not words.strip():
            continue
        requirement = Requirement(words.strip())
        versions = [part.version for part in requirement.specifier if part.operator == "=="]
        if not hashes or len(versions) != 1:
            raise FaceBlurError(f"{lock.name}: {words.strip()} is not pinned with a hash.")
        if requirement.marker is None or requirement.marker.evaluate(environment):
            pins.append(
                Pin(canonicalize_name(requirement.name), versions[0], frozenset(word.strip() for word in hashes))
            )
    return pins


def list_tags(target: WheelTarget) -> list[Tag]:
    """The wheel tags that this target can load."""
    version = [int(part) for part in target.python.split(".")]
    abi = f"cp{version[0]}{version[1]}"
    platforms = PLATFORMS[target.platform]
    return list(chain(cpython_tags(version, [abi], platforms), compatible_tags(version, abi, platforms)))


def is_loaded(name: str, target: WheelTarget) -> bool:
    """Whether the target can load a wheel of that file name."""
    try:
        tags = parse_wheel_filename(name)[3]
    except InvalidWheelFilename:
        return False
    return not tags.isdisjoint(list_tags(target))


def fetch_wheels(pins: list[Pin], target: WheelTarget, cache: Path, report: Callable[[str], None]) -> list[Path]:
    """One file per pin, sorted by name, from the cache or from pip; do not change these files, they are the cache's.

    The cache stores a wheel as HASH/NAME.whl, and beside them pip's choice for each target. Raises FaceBlurError if a
    wheel for this target is missing or differs from the lock.
    """
    state = "\n".join(f"{pin.name}=={pin.version} {' '.join(sorted(pin.hashes))}" for pin in pins)
    choice = cache / f"{target}-{hashlib.sha256(state.encode()).hexdigest()[:12]}.txt"
    wheels = _read_choice(choice, cache)
    if wheels is None:
        report(f"Fetching the wheels for {target} ...")
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".part-") as folder:
            _download(pins, target, Path(folder))
            found = sorted(Path(folder).glob("*.whl"))
            check_wheels([(path.name, path) for path in found], pins, target)
            wheels = [_keep(path, cache) for path in found]
        part = choice.with_name(f".{choice.name}.part")
        part.write_text("".join(f"{path.parent.name}/{path.name}\n" for path in wheels), encoding="utf-8")
        part.replace(choice)
    check_wheels([(path.name, path) for path in wheels], pins, target)
    return wheels


def check_wheels(wheels: Iterable[tuple[str, Path | IO[bytes]]], pins: list[Pin], target: WheelTarget) -> None:
    """Raise FaceBlurError, with all problems, unless these (file name, content) satisfy the pins.

    There must be one unmodified wheel per pin and no other, each with a tag that the target can load, and no two wheels
    with the same module. This matters above all for cv2, of which several packages on PyPI have their own copy.
    """
    problems: list[str] = []
    tags = frozenset(list_tags(target))
    wanted = {pin.name: pin for pin in pins}
    seen: dict[str, str] = {}
    modules: dict[str, str] = {}
    for name, content in wheels:
        try:
            package, version, _, wheel_tags = parse_wheel_filename(name)
        except InvalidWheelFilename as error:
            problems.append(str(error))
            continue
        pin = wanted.get(package)
        if pin is None or pin.version != str(version):
            problems.append(f"{name} is not in the lock")
        elif hash_file(content) not in pin.hashes:
            problems.append(f"{name} differs from the lock (SHA-256)")
        if package in seen:
            problems.append(f"{name} and {seen[package]} are the same package")
        seen[package] = name
        if not wheel_tags & tags:
            problems.append(f"{name} does not support {target}")
        try:
            brought = _list_modules(content)
        except zipfile.BadZipFile as error:
            problems.append(f"{name} cannot be opened: {error}")
            continue
        for module in brought:
            if module in modules:
                problems.append(f"{name} and {modules[module]} both provide {module}")
            if module in BLENDERS_MODULES:
                problems.append(f"{name} provides {module}, which Blender itself provides")
            modules[module] = name
    problems += [f"the wheel of {name} is missing" for name in wanted if name not in seen]
    problems += [f"no wheel provides {module}" for module in NEEDED_MODULES if module not in modules]
    if problems:
        raise FaceBlurError(f"The wheels for {target} failed their check: {'; '.join(problems)}.")


def hash_file(content: Path | IO[bytes]) -> str:
    """The SHA-256 of a whole file or seekable stream, in hexadecimal."""
    if isinstance(content, Path):
        with open(content, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    content.seek(0)
    digest = hashlib.sha256()
    while block := content.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _list_modules(wheel: Path | IO[bytes]) -> set[str]:
    """The importable names at a wheel's root."""
    with zipfile.ZipFile(wheel) as archive:
        roots = {name.split("/")[0] for name in archive.namelist()}
    return {root.split(".")[0] for root in roots if not root.endswith((".dist-info", ".data", ".libs"))}


def _read_choice(choice: Path, cache: Path) -> list[Path] | None:
    if not choice.is_file():
        return None
    wheels = [cache / line for line in choice.read_text(encoding="utf-8").splitlines()]
    if all(path.is_file() and hash_file(path) == path.parent.name for path in wheels):
        return wheels
    return None


def _keep(wheel: Path, cache: Path) -> Path:
    kept = cache / hash_file(wheel) / wheel.name
    kept.parent.mkdir(exist_ok=True)
    wheel.replace(kept)
    return kept


def _download(pins: list[Pin], target: WheelTarget, folder: Path) -> None:
    # Without markers, because pip would evaluate them for the running platform and Python.
    lock = "".join(
        f"{pin.name}=={pin.version} {' '.join(f'--hash=sha256:{h}' for h in sorted(pin.hashes))}\n" for pin in pins
    )
    digits = target.python.replace(".", "")
    try:
        download_wheels(lock, folder, digits, PLATFORMS[target.platform], DOWNLOAD_TIMEOUT_S, f"cp{digits}")
    except FaceBlurError as error:
        raise FaceBlurError(f"A wheel for {target} is missing: {error}") from error
