# SPDX-License-Identifier: GPL-3.0-or-later
"""The places of weights and of this user's own files: in a checkout, in an extension, and in a Python package."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]

MODELS_VARIABLE = "FACEBLUR_MODELS"
"""The environment variable for a folder with more weights, for machines that cannot download them."""

CONVERT_LOCK = "convert.txt"
"""The pinned packages that convert weights. A Python package has the file among its code, which tells it from an
extension; in a checkout it is in requirements/."""


@dataclass(frozen=True, slots=True)
class ConvertedFile:
    """The file that `weights/convert.py` makes from a network. `input` is the name of the network's picture input."""

    file: str
    bytes: int
    sha256: str
    input: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An entry of models.toml. No preset works without the `required` ones.

    At least one of `wheel`, `package`, `tarball` and `url` is set; they are tried in this order. `member` is the path
    of the file in the wheel, the package or the tarball. A wheel and a tarball have their own size and SHA-256.
    `second_url` is another address of the file at `url`.
    """

    name: str
    file: str
    bytes: int
    sha256: str
    licence: str
    origin: str
    required: bool
    presets: tuple[str, ...]
    wheel: str | None = None
    wheel_bytes: int = 0
    wheel_sha256: str | None = None
    package: str | None = None
    member: str | None = None
    url: str | None = None
    second_url: str | None = None
    tarball: str | None = None
    tarball_bytes: int = 0
    tarball_sha256: str | None = None
    needed_for: str = ""
    """The feature that does not work without the file, where that is not a preset."""
    converted: ConvertedFile | None = None
    """A file made from this one and used in its place. The SHA-256 of the original still identifies the network."""

    @property
    def used(self) -> ModelFile | ConvertedFile:
        """The file that detectors and recognisers load."""
        return self.converted or self


def get_models_folder() -> Path:
    """The folder of models.toml and the weights: inside the package when installed, beside it in a checkout.

    Raises FaceBlurError when there is neither.
    """
    for folder in (PACKAGE_FOLDER / "models", PACKAGE_FOLDER.parent / "models"):
        if (folder / "models.toml").is_file():
            return folder
    raise FaceBlurError("models/models.toml is missing: the installation is incomplete.")


def is_python_package() -> bool:
    """Whether this is neither a checkout nor an extension, but a package that pip or uv installed."""
    return (PACKAGE_FOLDER / "weights" / CONVERT_LOCK).is_file()


def get_convert_lock() -> Path:
    """The pip requirements file, with hashes, of the packages that convert weights."""
    own = PACKAGE_FOLDER / "weights" / CONVERT_LOCK
    return own if own.is_file() else PACKAGE_FOLDER.parent / "requirements" / CONVERT_LOCK


def get_weights_folder() -> Path:
    """The folder of this installation's weights: the user's cache in a Python package, else that of models.toml."""
    return get_cache_folder() / "models" if is_python_package() else get_models_folder()


def get_cache_folder() -> Path:
    """The folder for what this program keeps between its runs: the extension's own, the user's cache, or `.cache` in
    a checkout. It may not exist, except for the user's cache, which others must not read."""
    own = get_user_folder()
    if own is not None:
        return own
    if is_python_package():
        import platformdirs

        folder = platformdirs.user_cache_path("faceblur", appauthor=False)
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder
    return PACKAGE_FOLDER.parent / ".cache"


def get_version() -> str:
    """This program's version, from its manifest."""
    for folder in (PACKAGE_FOLDER, PACKAGE_FOLDER.parent):
        with suppress(OSError, KeyError, ValueError):
            return str(tomllib.loads((folder / "blender_manifest.toml").read_text(encoding="utf-8"))["version"])
    return "unknown"


@cache
def list_models() -> dict[str, ModelFile]:
    """All weights that this version knows, by name, in the order of the file."""
    with open(get_models_folder() / "models.toml", "rb") as stream:
        entries = tomllib.load(stream)["model"]
    return {entry["name"]: _read_entry(entry) for entry in entries}


def _read_entry(entry: dict[str, Any]) -> ModelFile:
    converted = ConvertedFile(**entry["converted"]) if "converted" in entry else None
    return ModelFile(**{**entry, "presets": tuple(entry["presets"]), "converted": converted})


def get_model_path(name: str) -> Path:
    """The verified weights file with that name, from the models folder, $FACEBLUR_MODELS or an installed package.

    Raises FaceBlurError when there is no such file, or none with the right size and SHA-256.
    """
    model = list_models().get(name)
    if model is None:
        raise FaceBlurError(f"There is no model named {name!r} in models.toml.")
    wrong = []
    for candidate in list_places(model):
        if is_readable_file(candidate):
            if is_right_file(candidate, model.used):
                return candidate
            wrong.append(candidate)
    if wrong:
        raise FaceBlurError(f"{wrong[0]} is not used: its size or SHA-256 differs from the expected file.")
    originals = [folder / model.file for folder in _list_weight_folders() if is_readable_file(folder / model.file)]
    if originals:
        raise FaceBlurError(
            f"{originals[0]} must be converted first: run `{_name_fetcher()} {name}`, "
            f"which makes {model.used.file} from it."
        )
    is_extension = get_user_folder() is not None
    remedy = "Install the extension again" if is_extension else f"Run `{_name_fetcher()} {name}`"
    raise FaceBlurError(
        f"{model.used.file} is missing. {remedy}, or set {MODELS_VARIABLE} to a folder that holds the file."
    )


def _name_fetcher() -> str:
    return "faceblur models" if is_python_package() else "build.py models"


def check_models(names: Iterable[str]) -> None:
    """Raise FaceBlurError where the weights with one of these names are missing."""
    for name in names:
        get_model_path(name)


def list_places(model: ModelFile) -> list[Path]:
    """The possible paths of a weights file, whether it exists or not, in the order in which they are tried."""
    return [*(folder / model.used.file for folder in _list_weight_folders()), *list_packaged(model)]


def list_packaged(model: ModelFile) -> list[Path]:
    """The possible paths of a weights file in an installed package, which is not imported."""
    if model.package is None or model.member is None:
        return []
    spec = importlib.util.find_spec(model.package)
    return [Path(place) / model.member for place in (spec.submodule_search_locations or [])] if spec else []


def is_readable_file(path: Path) -> bool:
    """Whether there is such a file. `Path.is_file` raises in a folder of another user, before Python 3.14."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_right_file(path: Path, wanted: ModelFile | ConvertedFile) -> bool:
    """Whether the file has the wanted size and SHA-256. A file is hashed once per process unless it changes."""
    status = path.stat()
    return status.st_size == wanted.bytes and _hash_file(path, status.st_size, status.st_mtime_ns) == wanted.sha256


def get_page_path(name: str) -> Path:
    """A page of the guide: HTML in an installed extension, Markdown in a checkout. Raises FaceBlurError if missing."""
    for page in (PACKAGE_FOLDER / "docs" / f"{name}.html", PACKAGE_FOLDER.parent / "docs" / f"{name}.md"):
        if page.is_file():
            return page
    raise FaceBlurError(f"The page '{name}' of the guide is missing: the installation is incomplete.")


@dataclass(slots=True)
class _Installation:
    """The folder that this process may write to: set when the extension is enabled, reset when it is disabled."""

    user_folder: Path | None = None


_INSTALLATION = _Installation()


def set_user_folder(folder: Path | None) -> None:
    """Set the only folder that an installed extension may write to; None outside an extension."""
    _INSTALLATION.user_folder = folder


def get_user_folder() -> Path | None:
    """The folder set by `set_user_folder`."""
    return _INSTALLATION.user_folder


def get_stored_analyses_folder() -> Path | None:
    """The folder in which an installed extension stores analyses; None outside an extension, where none are stored."""
    own = get_user_folder()
    return own / "analyses" if own is not None else None


def get_stored_embeddings_folder() -> Path | None:
    """The folder in which an installed extension stores face embeddings if the editor asks for it; else None."""
    own = get_user_folder()
    return own / "faces" if own is not None else None


def get_bytecode_folder() -> Path | None:
    """The folder in which processes of an installed extension keep the bytecode of what they import; outside one, what
    the interpreter's own settings say. None: nowhere."""
    own = get_user_folder()
    if own is not None:
        return own / "bytecode"
    return Path(sys.pycache_prefix) if sys.pycache_prefix else None


def get_unfinished_analyses_folder() -> Path:
    """The folder for the results of unfinished analyses."""
    return get_cache_folder() / "unfinished"


def get_temporary_folder() -> Path:
    """Create the folder for this user's job folders: private (mode 0700 where the system has modes).

    It lies in the user folder of an installed extension, otherwise in the system's temporary folder. Raises
    FaceBlurError when the folder cannot be created, or when others own it or have access to it.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    own = get_user_folder()
    folder = own / "jobs" if own is not None else Path(tempfile.gettempdir()) / f"faceblur-{user}"
    try:
        folder.mkdir(mode=0o700, parents=own is not None, exist_ok=True)
    except OSError as error:
        raise FaceBlurError(f"The temporary folder {folder} cannot be created: {error.strerror}.") from error
    if hasattr(os, "getuid"):
        status = folder.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077 or not folder.is_dir() or folder.is_symlink():
            raise FaceBlurError(f"Other users can access the temporary folder {folder}. Remove it, or set TMPDIR.")
    return folder


def _list_weight_folders() -> list[Path]:
    folders = [get_weights_folder()]
    given = os.environ.get(MODELS_VARIABLE)
    if given:
        folders.append(Path(given).expanduser())
    return folders


@cache
def _hash_file(path: Path, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
