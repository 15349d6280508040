# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python package: its wheel, installed with uv for an empty user, covers a film on each Python that is here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
import zipfile
from pathlib import Path

import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths
from blender_faceblur.weights.fetch import preset_models
from tools.environment import EnvironmentProblem, _ask_version, ensure_tool
from tools.lint import ROOT
from tools.package import OPTIONAL
from tools.wheel import build_wheel

from .test_command import count_frames, find_faces

PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def find_interpreter(python: str) -> str | None:
    """The Python of that version. What pyenv puts on the path runs only versions that are chosen there, so its others
    are looked for in its own folder."""
    own = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{python}"), *map(str, sorted(own.glob(f"{python}.*/bin/python{python}")))]
    wanted = tuple(map(int, python.split(".")))
    return next((path for path in found if path is not None and _ask_version([path]) == wanted), None)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return build_wheel(tmp_path_factory.mktemp("wheel"))
    except FaceBlurError as error:
        pytest.skip(f"the wheel cannot be built: {error}")


class User:
    """A user with an empty home, who has uv and a network."""

    def __init__(self, folder: Path, uv: Path, cache: Path) -> None:
        self.uv, self.home, self.environment = uv, folder / "home", folder / "environment"
        self.home.mkdir()
        kept = ("SYSTEMROOT", "SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "HTTPS_PROXY", "https_proxy")
        self.variables = {
            **{name: value for name, value in os.environ.items() if name in kept or name.startswith("PIP_")},
            # pip asks a Rust compiler for its version, and that may write to the home.
            "PATH": os.defpath,
            "HOME": str(self.home),
            "USERPROFILE": str(self.home),
            "LOCALAPPDATA": str(self.home),
            "UV_CACHE_DIR": str(cache),
            "UV_PYTHON_DOWNLOADS": "never",
        }

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(word) for word in command],
            env={**self.variables, **variables},
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=600,
            check=False,
        )

    def install(self, python: str, package: Path) -> Path:
        """Install the package for that Python; returns the command. Skips the test where that is not possible here."""
        interpreter = find_interpreter(python)
        if interpreter is None:
            pytest.skip(f"there is no Python {python}")
        made = self.run(self.uv, "venv", "--python", interpreter, self.environment)
        assert made.returncode == 0, made.stderr
        folder = self.environment / ("Scripts" if os.name == "nt" else "bin")
        done = self.run(self.uv, "pip", "install", "--python", folder / "python", package)
        if done.returncode != 0 and "failed to fetch" in done.stderr.lower():
            pytest.skip("PyPI cannot be reached")
        assert done.returncode == 0, done.stderr
        return folder / "faceblur"


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def user(tmp_path: Path, uv_cache: Path) -> User:
    try:
        folder = ensure_tool(ROOT, "uv").parent
    except EnvironmentProblem as problem:
        pytest.skip(f"uv cannot be had: {problem}")
    return User(tmp_path, folder / "uv", uv_cache)


def test_the_wheel_has_the_code_and_lists_of_weights_but_no_weights(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.read("blender_faceblur/models/models.toml") == (ROOT / "models" / "models.toml").read_bytes()
    package = ROOT / "blender_faceblur"
    code = {path.relative_to(ROOT).as_posix() for kind in ("py", "po") for path in package.rglob(f"*.{kind}")}
    added = {
        "blender_faceblur/blender_manifest.toml",
        "blender_faceblur/models/models.toml",
        "blender_faceblur/models/LICENCES.txt",
        "blender_faceblur/weights/convert.txt",
    }
    assert {name for name in names if ".dist-info/" not in name} == code | added
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_same_checkout_gives_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    assert build_wheel(tmp_path).read_bytes() == wheel.read_bytes()


def test_the_package_requires_what_the_lock_was_made_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (ROOT / "requirements" / "plain.in").read_text(encoding="utf-8").replace('"', "'").splitlines()
    listed = [line for line in lines if line and not line.startswith("#")]
    assert [*listed, "pip"] == project["project"]["dependencies"]
    (required,) = project["build-system"]["requires"]
    assert required in (ROOT / "requirements" / "wheel.txt").read_text(encoding="utf-8")
    extra = project["project"]["optional-dependencies"]["blender"]
    for python in ("py311", "py313"):
        pinned = next(
            line for line in (ROOT / "requirements" / f"{python}.in").read_text().splitlines() if line.startswith("bpy")
        )
        assert pinned.replace('"', "'").replace(" ", "") in [entry.replace(" ", "") for entry in extra]


def test_the_image_has_the_weights_that_a_zip_has() -> None:
    """Its containers run without a network, so nothing can be fetched later."""
    words = re.search(r"faceblur models ([a-z0-9_ ]+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert words is not None and words[1].split() == [*preset_models(), *OPTIONAL]


@pytest.mark.parametrize("python", PYTHONS)
def test_an_empty_user_installs_it_and_covers_a_film(
    user: User, python: str, wheel: Path, film: Path, tmp_path: Path
) -> None:
    command = user.install(python, wheel)
    version = user.run(command, "--version")
    assert version.stdout.split() == ["Face", "Blur", paths.get_version()], version.stderr
    source, tracks = Path(shutil.copy(film, tmp_path / "film.mp4")), tmp_path / "tracks.json"
    done = user.run(command, source, "--save-tracks", tracks)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Weights: \d+\.\d MB to download into .*models", done.stderr)
    output = tmp_path / "film.blurred.mp4"
    assert count_frames(output) == count_frames(source)
    assert find_faces(source) == count_frames(source) and find_faces(output) == 0
    # Nothing else is left, and the second run fetches nothing.
    weights = {
        f"models/{paths.list_models()[name].used.file}" for name in ("centerface", "yunet_2023mar", "mtcnn_onet")
    }
    cache = next(path for path in user.home.rglob("models") if path.is_dir()).parent
    assert {path.relative_to(cache).as_posix() for path in cache.rglob("*") if path.is_file()} == weights
    assert [path for path in user.home.rglob("*") if path.is_file() and cache not in path.parents] == []
    again = user.run(command, "verify", source, output, "--tracks", tracks, https_proxy="http://127.0.0.1:9")
    assert again.returncode == 0 and "nothing leaked" in again.stderr, again.stderr


def test_weights_that_differ_are_refused_and_nothing_is_written(
    user: User, wheel: Path, film: Path, tmp_path: Path
) -> None:
    command = user.install("3.11", wheel)
    given = tmp_path / "given"
    given.mkdir()
    (given / paths.list_models()["centerface"].file).write_bytes(b"another network")
    source = Path(shutil.copy(film, tmp_path / "film.mp4"))
    for arguments in ([source], ["models", "centerface"]):
        done = user.run(command, *arguments, FACEBLUR_MODELS=str(given))
        assert done.returncode == 1 and "rejected" in done.stderr, done.stderr
    assert not (tmp_path / "film.blurred.mp4").exists()
    help_text = user.run(command, "--help").stdout
    assert "examples:" in help_text and "exit codes:" in help_text
    assert user.run(command).returncode == 2
    for shell in ("bash", "zsh", "tcsh"):
        assert "--save-tracks" in user.run(command, "completion", shell).stdout


def test_given_weights_are_used_without_a_network(user: User, wheel: Path, film: Path, tmp_path: Path) -> None:
    command = user.install("3.11", wheel)
    given = tmp_path / "given"
    given.mkdir()
    for name in ("centerface", "yunet_2023mar", "mtcnn_onet"):
        shutil.copy(paths.get_model_path(name), given)
    nowhere = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
    source = Path(shutil.copy(film, tmp_path / "film.mp4"))
    done = user.run(command, source, FACEBLUR_MODELS=str(given), **nowhere)
    assert done.returncode == 0 and "download" not in done.stderr, done.stderr
    assert find_faces(tmp_path / "film.blurred.mp4") == 0
    # The second opinion may be missing: then more is covered, and the user is told.
    (given / "onet.onnx").unlink()
    done = user.run(command, source, "--overwrite", FACEBLUR_MODELS=str(given), **nowhere)
    assert done.returncode == 0 and "onet.onnx" in done.stderr, done.stderr
    assert find_faces(tmp_path / "film.blurred.mp4") == 0
