# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the weights and this user's temporary files are, in a checkout and in an installed extension."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]

MODELS_VARIABLE = "FACEBLUR_MODELS"
"""Names a folder with further weights, for machines that cannot fetch them."""


@dataclass(frozen=True, slots=True)
class ConvertedFile:
    """What `tools/convert.py` makes of a network; `input` is the name of the input that takes the pictures."""

    file: str
    bytes: int
    sha256: str
    input: str


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An entry of models.toml; no preset works without a `required` one.

    At least one of `wheel`, `package`, `tarball` and `url` is set, and they are tried in this order. `member` goes with
    the first two, the size and SHA-256 of what is downloaded with a wheel or a tarball. `second_url` is another address
    of the file at `url`.
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
    """What does not work without it, where that is no preset."""
    converted: ConvertedFile | None = None
    """The file that is used in place of this one, made of it. The SHA-256 of this one still names the network."""

    @property
    def used(self) -> ModelFile | ConvertedFile:
        """The file that detectors and recognisers open."""
        return self.converted or self


def models_folder() -> Path:
    """The folder of models.toml and the weights: inside the package when installed, beside it in a checkout.

    Raises FaceBlurError when there is neither.
    """
    for folder in (PACKAGE_FOLDER / "models", PACKAGE_FOLDER.parent / "models"):
        if (folder / "models.toml").is_file():
            return folder
    raise FaceBlurError("models/models.toml is missing: the installation is incomplete.")


@cache
def list_models() -> dict[str, ModelFile]:
    """All weights this version knows, by name, in the file's order."""
    with open(models_folder() / "models.toml", "rb") as stream:
        entries = tomllib.load(stream)["model"]
    return {entry["name"]: _read_entry(entry) for entry in entries}


def _read_entry(entry: dict[str, Any]) -> ModelFile:
    converted = ConvertedFile(**entry["converted"]) if "converted" in entry else None
    return ModelFile(**{**entry, "presets": tuple(entry["presets"]), "converted": converted})


def get_model_path(name: str) -> Path:
    """The verified weights file of that name: from the models folder, $FACEBLUR_MODELS or the package that has it.

    Raises FaceBlurError when no such file is there, or none with the right size and SHA-256.
    """
    model = list_models().get(name)
    if model is None:
        raise FaceBlurError(f"There is no model named {name!r} in models.toml.")
    wrong = []
    for candidate in list_places(model):
        if candidate.is_file():
            if is_right_file(candidate, model.used):
                return candidate
            wrong.append(candidate)
    if wrong:
        raise FaceBlurError(f"{wrong[0]} is not the expected file (size or SHA-256 differ); it is not used.")
    originals = [folder / model.file for folder in _weight_folders() if (folder / model.file).is_file()]
    if originals:
        raise FaceBlurError(
            f"{originals[0]} cannot be used as it is: in a checkout run `build.py models {name}`, "
            f"which makes {model.used.file} of it."
        )
    raise FaceBlurError(
        f"{model.used.file} is missing: in a checkout run `build.py models`, else install the "
        f"extension again; or set {MODELS_VARIABLE} to a folder that holds it."
    )


def check_models(names: Iterable[str]) -> None:
    """Raise FaceBlurError where the weights of one of those names are not there."""
    for name in names:
        get_model_path(name)


def list_places(model: ModelFile) -> list[Path]:
    """Where the file of those weights may lie, whether it is there or not, the first choice first."""
    return [*(folder / model.used.file for folder in _weight_folders()), *list_packaged(model)]


def list_packaged(model: ModelFile) -> list[Path]:
    """The files that an installed package may carry the weights in; the package is not loaded."""
    if model.package is None or model.member is None:
        return []
    spec = importlib.util.find_spec(model.package)
    return [Path(place) / model.member for place in (spec.submodule_search_locations or [])] if spec else []


def is_right_file(path: Path, wanted: ModelFile | ConvertedFile) -> bool:
    """Whether the file has the size and SHA-256 that are wanted. Hashed once per process and file state."""
    status = path.stat()
    return status.st_size == wanted.bytes and _hash_file(path, status.st_size, status.st_mtime_ns) == wanted.sha256


def get_page_path(name: str) -> Path:
    """A page of the guide: as HTML in an installed extension, as Markdown in a checkout. FaceBlurError without one."""
    for page in (PACKAGE_FOLDER / "docs" / f"{name}.html", PACKAGE_FOLDER.parent / "docs" / f"{name}.md"):
        if page.is_file():
            return page
    raise FaceBlurError(f"The page '{name}' of the guide is missing: the installation is incomplete.")


@dataclass(slots=True)
class _Installation:
    """Where this process may write: set when the extension is switched on, reset when it is switched off."""

    user_folder: Path | None = None


_INSTALLATION = _Installation()


def set_user_folder(folder: Path | None) -> None:
    """Name the only folder that an installed extension may write into; None outside of one."""
    _INSTALLATION.user_folder = folder


def user_folder() -> Path | None:
    """The folder set by `set_user_folder`."""
    return _INSTALLATION.user_folder


def stored_analyses() -> Path | None:
    """The folder in which an installed extension keeps analyses; None outside of one, where nothing is kept."""
    own = user_folder()
    return own / "analyses" if own is not None else None


def stored_embeddings() -> Path | None:
    """The folder in which an installed extension keeps what faces look like, where the editor asks for it."""
    own = user_folder()
    return own / "faces" if own is not None else None


def unfinished_analyses() -> Path:
    """The folder for what unfinished analyses have seen: the extension's own, or `.cache` in a checkout."""
    return (user_folder() or PACKAGE_FOLDER.parent / ".cache") / "unfinished"


def temporary_folder() -> Path:
    """The folder for this user's job folders, made private (0700 where the system has such modes).

    In an installed extension it lies in the folder that Blender gives it, else in the system's temporary folder.

    Raises FaceBlurError when somebody else owns a folder of that name.
    """
    user = str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    own = user_folder()
    folder = own / "jobs" if own is not None else Path(tempfile.gettempdir()) / f"faceblur-{user}"
    try:
        folder.mkdir(mode=0o700, parents=own is not None, exist_ok=True)
    except OSError as error:
        raise FaceBlurError(f"The temporary folder {folder} cannot be made: {error.strerror}.") from error
    if hasattr(os, "getuid"):
        status = folder.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077 or not folder.is_dir() or folder.is_symlink():
            raise FaceBlurError(f"The temporary folder {folder} is open to others; remove it or set TMPDIR.")
    return folder


def _weight_folders() -> list[Path]:
    folders = [models_folder()]
    given = os.environ.get(MODELS_VARIABLE)
    if given:
        folders.append(Path(given).expanduser())
    return folders


@cache
def _hash_file(path: Path, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
