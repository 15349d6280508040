# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts a fetched network into the one that the program uses, which accepts pictures of any size.

Everything that needs the onnx package runs in a separate environment (requirements/convert.txt), which is created for
the first network that has to be converted.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from blender_faceblur.core.types import FaceBlurError

from .environment import EnvironmentProblem, build_command, build_variables, ensure_tool

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 300

NOTICE = (
    "Changed by Face Blur for Blender (tools/convert.py): pictures of any size and number may go in, and only "
    "pictures are inputs."
)
"""Stored in each converted file: the licences require a notice of changes."""

_LEAST_IR_VERSION = 4
"""Before this version every weight had to be listed as an input."""


def convert_network(source: Path, result: Path, input_name: str) -> None:
    """Write the converted network to `result`; `input_name` is the input for the pictures.

    Raises FaceBlurError if the file is not such a network or the onnx package cannot be installed.
    """
    run_with_onnx("tools.convert", str(source.resolve()), str(result.resolve()), input_name)


def run_with_onnx(module: str, *arguments: str) -> None:
    """Run a module of the checkout in the onnx environment. Raises FaceBlurError with its error message if it fails."""
    try:
        command = build_command(ensure_tool(ROOT, "convert"), module, list(arguments))
    except EnvironmentProblem as problem:
        raise FaceBlurError(f"the onnx package cannot be installed: {problem}") from problem
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=build_variables(ROOT),
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
