# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds the extension's zips, one per platform and kind of Blender, with Blender's own builder, and checks them.

Run as `python -m tools.package` in the environment that build.py creates.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from blender_faceblur.blender.translations.catalogue import LANGUAGES
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths
from blender_faceblur.weights.fetch import describe_missing, preset_models

from .guide import build_guide, list_files
from .lint import ROOT
from .wheels import PLATFORMS, PYTHONS, WheelTarget, check_wheels, fetch_wheels, is_loaded, read_pins

LOCK = ROOT / "requirements" / "extension.txt"
CACHE = ROOT / ".env" / "wheels"
MANIFEST = "blender_manifest.toml"

OPTIONAL = {"dlib_resnet": "will not recognise people", "ppocr_text": "will not find text"}
"""Weights that no preset runs but that a package contains, and what it does not do without them."""

NEEDED = ("LICENSE", "models/models.toml", "models/LICENCES.txt")
"""Files that a package contains in addition to the code."""

CATALOGUES = tuple(f"blender/translations/{language}.po" for language in LANGUAGES)
"""The catalogues of the interface's languages, which stand among the code."""

COMMAND_ROOMS = ("command", "weights")
"""Rooms that only the Python package needs: they use the network, and an extension has no permission for that."""

GUIDE = "docs"
"""The folder of the guide's pages, see `guide`."""

LARGEST_BYTES = 200_000_000
"""The size limit of Blender's extension site, according to its documentation."""


@dataclass(frozen=True, slots=True)
class Edition:
    """A zip for all Blenders of a range, whatever Python is inside them: Blender compares a zip that is installed from
    the disk with its own version and platform, but not with its Python."""

    pythons: tuple[str, ...]
    first: str
    """The first Blender that installs it."""
    after_last: str | None
    """The first Blender that no longer installs it; None where that is not known yet."""


EDITIONS = {
    "blender5.0": Edition(("3.11",), "5.0.0", "5.1.0"),
    # Official builds have Python 3.13, and Debian's has 3.14.
    "blender5.1": Edition(("3.13", "3.14"), "5.1.0", None),
}
"""The end of a zip's name -> for which Blenders it is."""


@dataclass(frozen=True, slots=True)
class ZipTarget:
    """A zip's platform, one of PLATFORMS, and edition, one of EDITIONS."""

    platform: str
    edition: str

    @classmethod
    def of(cls, platform: str, python: str) -> ZipTarget:
        """The zip for that Python."""
        return cls(platform, next(name for name, edition in EDITIONS.items() if python in edition.pythons))

    @property
    def wheel_targets(self) -> list[WheelTarget]:
        return [WheelTarget(self.platform, python) for python in EDITIONS[self.edition].pythons]

    def __str__(self) -> str:
        return f"{self.platform}-{self.edition}"


STAMP_S = 1577836800
"""The time of every file in a zip, 2020-01-01 UTC."""

OUR_ROOTS = ("blender_faceblur", "tools", "tests", "benchmarks")
"""Module names that exist in a checkout but not in an installed extension."""

BUILD_TIMEOUT_S = 600


def build_package(target: ZipTarget, output: Path, report: Callable[[str], None]) -> Path:
    """The checked zip of one platform and edition in the folder `output`, which is created; an older zip is replaced.

    The same inputs give the same bytes on one machine. Raises FaceBlurError if a wheel or required weights are
    missing or incorrect, if Blender's builder fails, or if the zip fails its check.
    """
    # Most wheels serve several Pythons.
    fetched = [path for one in target.wheel_targets for path in fetch_wheels(read_pins(LOCK, one), one, CACHE, report)]
    wheels = sorted({path.name: path for path in fetched}.values(), key=lambda path: path.name)
    weights = _list_weights(report)
    manifest = tomllib.loads((ROOT / MANIFEST).read_text(encoding="utf-8"))
    name = f"{manifest['id']}-{manifest['version']}-{target}.zip"
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output, prefix=".building-") as scratch_name:
        stage = Path(scratch_name) / "stage"
        shutil.copytree(ROOT / "blender_faceblur", stage, ignore=_list_ignored)
        for folder, files in (("models", weights), ("wheels", wheels)):
            (stage / folder).mkdir(exist_ok=True)
            for file in files:
                shutil.copyfile(file, stage / folder / file.name)
        build_guide(stage / GUIDE)
        for name_inside in NEEDED:
            shutil.copyfile(ROOT / name_inside, stage / name_inside)
        (stage / MANIFEST).write_text(_fill_manifest(manifest, target, stage), encoding="utf-8", newline="\n")
        # Blender's builder copies time and mode, which would differ from one build to the next.
        for path in stage.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
            os.utime(path, (STAMP_S, STAMP_S))
        part = Path(scratch_name) / name
        _run_builder("build", "--source-dir", str(stage), "--output-filepath", str(part))
        check_package(part)
        _run_builder("validate", str(part))
        part.replace(output / name)
    return output / name


def _list_ignored(folder: str, names: list[str]) -> list[str]:
    """What a package leaves out of a folder of the code."""
    left_out = COMMAND_ROOMS if Path(folder) == ROOT / "blender_faceblur" else ()
    return [name for name in names if name == "__pycache__" or name in left_out]


def build_repository(folder: Path) -> Path:
    """Make a folder of zips a repository that Blender reads from any web server; returns its index.

    The index names all zips in the folder, those of earlier versions included, with their hashes, platforms, Blender
    versions and Pythons. Raises FaceBlurError if a zip fails its check, or if Blender refuses the folder.
    """
    version = tomllib.loads((ROOT / MANIFEST).read_text(encoding="utf-8"))["version"]
    zips = sorted(folder.glob("*.zip"))
    for path in zips:
        # The lock of this checkout says nothing about earlier versions.
        if f"-{version}-" in path.name:
            check_package(path)
    _run_builder("server-generate", "--repo-dir", str(folder), "--html", needs_tags=False)
    index = folder / "index.json"
    listed = json.loads(index.read_text(encoding="utf-8"))["data"]
    missing = {path.name for path in zips} - {Path(entry["archive_url"]).name for entry in listed}
    if missing:
        raise FaceBlurError(f"Blender did not list {', '.join(sorted(missing))} in the repository.")
    return index


def check_package(path: Path) -> None:
    """Open a zip and raise FaceBlurError, with a list of problems, unless it is complete and contains nothing else.

    The wheels are compared with the lock of this checkout, the weights with the models.toml inside.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            problems = _list_problems(path, archive)
    except (zipfile.BadZipFile, KeyError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FaceBlurError(f"{path.name} is not a package of this extension: {error}") from error
    if problems:
        raise FaceBlurError(f"{path.name} failed its check: {'; '.join(problems)}.")


def read_target(name: str) -> ZipTarget:
    """The platform and edition in a zip's file name. Raises FaceBlurError if the name contains none of ours."""
    match = re.fullmatch(r"[a-z_]+-[0-9.]+-([a-z]+-[a-z0-9]+)-(blender[0-9.]+)\.zip", name)
    target = ZipTarget(match[1], match[2]) if match else None
    if target is None or target.platform not in PLATFORMS or target.edition not in EDITIONS:
        raise FaceBlurError(f"{name} does not name a supported platform and Blender.")
    return target


def _list_weights(report: Callable[[str], None]) -> list[Path]:
    weights = []
    for name in (*preset_models(), *OPTIONAL):
        model = paths.list_models()[name]
        file = paths.get_models_folder() / model.used.file
        if file.is_file() and paths.is_right_file(file, model.used):
            weights.append(file)
        elif model.required:
            raise FaceBlurError(describe_missing(name, "run build.py models"))
        else:
            reason = describe_missing(name, "run build.py models")
            report(f"WARNING: this package {OPTIONAL[name]}. {reason}" if name in OPTIONAL else f"WARNING: {reason}")
    return weights


def _fill_manifest(template: dict[str, Any], target: ZipTarget, stage: Path) -> str:
    """The manifest's text: Blender requires plain values first and tables last."""
    edition = EDITIONS[target.edition]
    files = sorted(path.relative_to(stage).as_posix() for path in stage.rglob("*") if path.is_file())
    wheels = [f"./{file}" for file in files if file.startswith("wheels/")]
    manifest = {
        **template,
        "blender_version_min": edition.first,
        **({"blender_version_max": edition.after_last} if edition.after_last else {}),
        "platforms": [target.platform],
        "wheels": wheels,
    }
    # Unlisted files would be in the order of the file system; the builder adds manifest and wheels.
    manifest["build"] = {"paths": [file for file in files if not file.startswith("wheels/")]}
    lines = ["# SPDX-License-Identifier: GPL-3.0-or-later"]
    lines += [f"{key} = {_to_toml(value)}" for key, value in manifest.items() if not isinstance(value, dict)]
    for key, table in manifest.items():
        if isinstance(table, dict):
            lines += ["", f"[{key}]", *(f"{name} = {_to_toml(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _to_toml(value: str | list[str]) -> str:
    if isinstance(value, list):
        return "[" + "".join(f"\n  {_to_toml(item)}," for item in value) + "\n]" if value else "[]"
    # A TOML basic string allows every escape that JSON writes.
    return json.dumps(value, ensure_ascii=False)


def _run_builder(command: str, *arguments: str, needs_tags: bool = True) -> None:
    # find_spec does not load the module, which would start Blender in this process.
    spec = importlib.util.find_spec("bpy")
    places = list(spec.submodule_search_locations or []) if spec else []
    tools = [path for place in places for path in Path(place).glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")]
    if len(tools) != 1:
        raise FaceBlurError("Blender's extension builder is missing from the environment's bpy module.")
    tags = tools[0].parents[3] / "modules" / "_bpy_internal" / "extensions" / "tags.py"
    with_tags = ["--valid-tags", str(tags)] if needs_tags else []
    # A zip stores local times.
    done = subprocess.run(
        [sys.executable, "-I", "-B", str(tools[0]), command, *with_tags, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=BUILD_TIMEOUT_S,
        check=False,
        env={**os.environ, "TZ": "UTC0"},
    )
    output = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode != 0:
        raise FaceBlurError(f"Blender's builder rejected the package ({command}): {' '.join(output)}")


def _list_problems(path: Path, archive: zipfile.ZipFile) -> list[str]:
    target = read_target(path.name)
    problems = []
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    manifest = tomllib.loads(archive.read(MANIFEST).decode())
    if path.name != f"{manifest['id']}-{manifest['version']}-{target}.zip":
        problems.append(f"the manifest belongs to {manifest['id']} {manifest['version']}")
    if manifest["platforms"] != [target.platform]:
        problems.append(f"the manifest is for {', '.join(manifest['platforms'])}")
    versions = (manifest["blender_version_min"], manifest.get("blender_version_max"))
    edition = EDITIONS[target.edition]
    if versions != (edition.first, edition.after_last):
        problems.append(f"the manifest's Blender versions are {versions}, not those of {target.edition}")

    wheels = [name for name in names if name.endswith(".whl")]
    listed = [name.removeprefix("./") for name in manifest["wheels"]]
    problems += [f"{name} is in the zip and not in the manifest" for name in wheels if name not in listed]
    problems += [f"{name} is in the manifest and not in the zip" for name in listed if name not in wheels]
    with_streams = [(PurePosixPath(name).name, archive.open(name)) for name in wheels]
    try:
        _check_all_wheels(with_streams, target)
    except FaceBlurError as error:
        problems.append(str(error))
    finally:
        for _, stream in with_streams:
            stream.close()

    weights = {}
    for model in tomllib.loads(archive.read("models/models.toml").decode())["model"]:
        used = model.get("converted", model)
        file = f"models/{used['file']}"
        if file in names:
            weights[file] = model
            if hashlib.sha256(archive.read(file)).hexdigest() != used["sha256"]:
                problems.append(f"{file} differs from the file that models.toml lists")
        elif model["required"]:
            problems.append(f"{file} is missing")
    pages = [f"{GUIDE}/{name}" for name in list_files()]
    known = {MANIFEST, *NEEDED, *CATALOGUES, *wheels, *weights, *pages}
    modules = [name for name in names if re.fullmatch(r"(?!wheels/|models/|docs/)(\w+/)*\w+\.py", name)]
    problems += [
        f"{name} must not be in the zip"
        for name in names
        if (name not in known and name not in modules) or name.split("/")[0] in COMMAND_ROOMS
    ]
    problems += [f"{name} is missing" for name in (*NEEDED, *CATALOGUES, *pages, "__init__.py") if name not in names]
    problems += [
        f"{name} is in the zip twice" for name, same in itertools.groupby(sorted(names)) if len(list(same)) > 1
    ]
    for name in modules:
        problems += [
            f"{name} imports {root}, which is not installed"
            for root in _list_roots(archive.read(name))
            if root in OUR_ROOTS
        ]

    problems += [
        f"{entry.filename} has an unexpected mode or time"
        for entry in entries
        if entry.date_time != (2020, 1, 1, 0, 0, 0)
        or (entry.create_system == 3 and entry.external_attr >> 16 != 0o100644)
    ]
    size = path.stat().st_size
    if size >= LARGEST_BYTES:
        problems.append(f"it has {size / 1e6:.0f} MB and must be smaller than {LARGEST_BYTES / 1e6:.0f} MB")
    return problems


def _check_all_wheels(wheels: list[tuple[str, IO[bytes]]], target: ZipTarget) -> None:
    """Raise FaceBlurError unless each Python of the edition finds the wheels of its pins, and no others are there."""
    problems, spare = [], {name for name, _ in wheels}
    for one in target.wheel_targets:
        chosen = [(name, stream) for name, stream in wheels if is_loaded(name, one)]
        spare -= {name for name, _ in chosen}
        try:
            check_wheels(chosen, read_pins(LOCK, one), one)
        except FaceBlurError as error:
            problems.append(str(error))
    problems += [f"{name} does not support {target}" for name in sorted(spare)]
    if problems:
        raise FaceBlurError(" ".join(problems))


def _list_roots(source: bytes) -> set[str]:
    """The first names of all absolute imports in a module."""
    roots = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            roots |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            roots.add(node.module.split(".")[0])
    return roots


def main(arguments: list[str] | None = None) -> int:
    """Build the requested packages; returns 0 if all succeed."""
    parser = argparse.ArgumentParser(prog="build.py package", description="Build the extension for Blender.")
    parser.add_argument("--platform", action="append", choices=list(PLATFORMS), help="default: all; may be repeated")
    parser.add_argument(
        "--python",
        action="append",
        choices=PYTHONS,
        help="only the zips for Blenders with this Python (5.0: 3.11, from 5.1 on: 3.13 or 3.14); may be repeated",
    )
    parser.add_argument(
        "--repository",
        action="store_true",
        help="also write what makes the output folder a repository for Get Extensions > Add Remote Repository",
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    options = parser.parse_args(arguments)
    try:
        pairs = itertools.product(options.platform or PLATFORMS, options.python or PYTHONS)
        for target in dict.fromkeys(ZipTarget.of(platform, python) for platform, python in pairs):
            package = build_package(target, options.output, _report)
            print(f"{package}  {package.stat().st_size / 1e6:.1f} MB", flush=True)
        if options.repository:
            print(build_repository(options.output), flush=True)
    except FaceBlurError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _report(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
