# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts a fetched network into the one that the program uses, which accepts pictures of any size.

Everything that needs the onnx package runs in a separate process, with packages of its own: pip installs those pinned
in requirements/convert.txt into a folder for the first network that has to be converted.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ..core.types import FaceBlurError
from ..files import paths

INSTALL_TIMEOUT_S = 900
TIMEOUT_S = 300

NOTICE = (
    "Changed by Face Blur for Blender (tools/convert.py): pictures of any size and number may go in, and only "
    "pictures are inputs."
)
"""Stored in each converted file: the licences require a notice of changes. It is a part of what is hashed, so the path
stays that of the version that wrote it first."""

_LEAST_IR_VERSION = 4
"""Before this version every weight had to be listed as an input."""


def convert_network(source: Path, result: Path, input_name: str) -> None:
    """Write the converted network to `result`; `input_name` is the input for the pictures.

    Raises FaceBlurError if the file is not such a network or the onnx package cannot be installed.
    """
    run_with_onnx(f"{__package__}.convert", str(source.resolve()), str(result.resolve()), input_name)


def run_with_onnx(module: str, *arguments: str) -> None:
    """Run a module in a process that has the onnx package. Raises FaceBlurError with its error message if it fails."""
    packages = ensure_onnx()
    variables = {
        **os.environ,
        # These packages come before others of the same name.
        "PYTHONPATH": os.pathsep.join((str(packages), str(paths.PACKAGE_FOLDER.parent))),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
    }
    variables.pop("PYTHONHOME", None)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", module, *arguments],
            env=variables,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FaceBlurError(f"{module} did not finish within {TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise FaceBlurError((done.stderr.strip().splitlines() or [f"{module} gave no reason"])[-1])


def ensure_onnx() -> Path:
    """The folder of the onnx package and what it needs, in their pinned versions, which pip fetches once.

    Raises FaceBlurError if they cannot be installed.
    """
    folder = _get_onnx_folder()
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".onnx-") as scratch:
            part = Path(scratch) / "packages"
            print("Fetching the packages that convert weights (27 MB to download) ...", file=sys.stderr, flush=True)
            install_packages(paths.get_convert_lock(), part)
            try:
                part.rename(folder)
            except OSError:
                # Another process was quicker.
                if not folder.is_dir():
                    raise
    except (OSError, FaceBlurError) as error:
        raise FaceBlurError(f"the onnx package cannot be installed: {error}") from error
    return folder


def remove_onnx() -> None:
    """Remove the packages that `ensure_onnx` has installed, if any (0.13 GB)."""
    shutil.rmtree(_get_onnx_folder(), ignore_errors=True)


def install_packages(lock: Path, folder: Path) -> None:
    """Let pip install the packages of a lock with hashes into a folder. Raises FaceBlurError if that fails."""
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
        *("--require-hashes", "--only-binary=:all:", "--target", str(folder), "--requirement", str(lock)),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=INSTALL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise FaceBlurError(f"pip did not finish within {INSTALL_TIMEOUT_S} s") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it gave no reason"]
        raise FaceBlurError(f"pip could not install {lock.name}: {lines[0]}")


def _get_onnx_folder() -> Path:
    """Named after the lock, Python and machine, since the packages are compiled for these."""
    lock = paths.get_convert_lock().read_text(encoding="utf-8")
    digest = hashlib.sha256((lock + platform.machine()).encode()).hexdigest()[:12]
    return paths.get_cache_folder() / "onnx-py{}{}-{}".format(*sys.version_info[:2], digest)


def open_sizes(network: bytes, input_name: str) -> bytes:
    """The same ONNX network with variable sizes of pictures and results. Raises ValueError for any other file.

    The published files declare fixed sizes (and batches of 10), which onnxruntime enforces, and one lists every weight
    as an input, which keeps onnxruntime from folding batch normalisation into the convolutions. The three channels of
    the pictures stay declared: without them onnxruntime chooses a slower memory layout. The same network gives the same
    bytes, and a converted network stays unchanged.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(network)
    except DecodeError as error:
        raise ValueError("it is not an ONNX file") from error
    graph = model.graph
    if input_name not in [value.name for value in graph.input]:
        raise ValueError(f"it has no input '{input_name}'")
    del graph.input[:], graph.value_info[:]
    graph.input.append(
        onnx.helper.make_tensor_value_info(input_name, onnx.TensorProto.FLOAT, ["n", 3, "height", "width"])
    )
    for output in graph.output:
        for side in output.type.tensor_type.shape.dim:
            side.Clear()
    model.ir_version = max(model.ir_version, _LEAST_IR_VERSION)
    model.doc_string = NOTICE
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ValueError(f"it is not a valid network: {str(error).splitlines()[0]}") from error
    return bytes(model.SerializeToString(deterministic=True))


def main(source: str, result: str, input_name: str) -> int:
    """Convert one file, in the onnx environment; returns 0 on success."""
    try:
        Path(result).write_bytes(open_sizes(Path(source).read_bytes(), input_name))
    except (OSError, ValueError) as error:
        print(f"{Path(source).name} cannot be converted: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
