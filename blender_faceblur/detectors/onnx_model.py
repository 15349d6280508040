# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an ONNX face detector with onnxruntime: pictures of any size, a GPU where there is one, folded weights."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from .base import BlobMaker, FaceDetector
from .providers import CPU, choose_providers, label_provider, list_available

# Field numbers of onnx.proto (github.com/onnx/onnx/blob/main/onnx/onnx.proto).
_MODEL_IR_VERSION, _MODEL_GRAPH = 1, 7
_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 11, 12, 13
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_ELEMENT, _TENSOR_SHAPE, _ELEMENT_FLOAT = 1, 1, 2, 1
_SHAPE_SIDE, _SIDE_LENGTH, _SIDE_NAME = 1, 1, 2
# From this version on weights need not be listed as inputs; only then does onnxruntime treat them as constants.
_IR_VERSION = 4


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview, memoryview]]:
    """Each field of a message: its number, its raw bytes (tag included), its payload (for wire type 2)."""
    at = 0
    while at < len(data):
        start = at
        tag, at = _read_varint(data, at)
        wire = tag & 7
        payload = data[at:at]
        if wire == 0:
            _, at = _read_varint(data, at)
        elif wire == 1:
            at += 8
        elif wire == 2:
            size, at = _read_varint(data, at)
            payload = data[at:at + size]
            at += size
        elif wire == 5:
            at += 4
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(data):
            raise ValueError("ends in the middle of a field")
        yield tag >> 3, data[start:at], payload


def _block(number: int, payload: bytes) -> bytes:
    return _write_varint(number << 3 | 2) + _write_varint(len(payload)) + payload


def _float_tensor(name: bytes, shape: bytes = b"") -> bytes:
    """A tensor's name and type; without `shape` of any."""
    element = _write_varint(_TENSOR_ELEMENT << 3) + _write_varint(_ELEMENT_FLOAT)
    return _block(_VALUE_NAME, name) + _block(_VALUE_TYPE, _block(_TYPE_TENSOR, element + shape))


def _pictures() -> bytes:
    """The shape of so many pictures of three channels and any size: n x 3 x height x width."""
    sides = (_block(_SIDE_NAME, b"n"), _write_varint(_SIDE_LENGTH << 3) + _write_varint(3),
             _block(_SIDE_NAME, b"height"), _block(_SIDE_NAME, b"width"))
    return _block(_TENSOR_SHAPE, b"".join(_block(_SHAPE_SIDE, side) for side in sides))


def relax_shapes(model: bytes, input_name: str) -> bytes:
    """The same ONNX model with the sizes of its pictures and results left open.

    The published files state fixed sizes (and batches of 10), which onnxruntime holds callers to, and list
    every weight as an input, which keeps it from folding batch normalisation into the convolutions. That they are
    pictures of three channels is still said: without it onnxruntime orders their values in a slower way.
    Raises ValueError when `model` is not a protobuf message.
    """
    out = [_write_varint(_MODEL_IR_VERSION << 3) + _write_varint(_IR_VERSION)]
    for number, raw, payload in _fields(memoryview(model)):
        if number == _MODEL_IR_VERSION:
            continue
        if number != _MODEL_GRAPH:
            out.append(bytes(raw))
            continue
        graph: list[bytes] = []
        for part, part_raw, part_payload in _fields(payload):
            if part in (_GRAPH_INPUT, _GRAPH_OUTPUT):
                name = next(bytes(p) for n, _, p in _fields(part_payload) if n == _VALUE_NAME)
                if part == _GRAPH_OUTPUT:
                    graph.append(_block(part, _float_tensor(name)))
                elif name == input_name.encode():
                    graph.append(_block(part, _float_tensor(name, _pictures())))
            elif part != _GRAPH_VALUE_INFO:
                graph.append(bytes(part_raw))
        out.append(_block(_MODEL_GRAPH, b"".join(graph)))
    return b"".join(out)


class OnnxSession:
    """A network on one thread of the CPU, or on the GPU that onnxruntime offers.

    With CoreML the open sizes of the pictures may keep the network, or parts of it, on the CPU; where all of it stays
    there that is noted like every other fall back. Not measured, neither speed nor what the GPUs' rounding changes.
    """

    def __init__(self, path: Path, input_name: str, wanted: str = "auto") -> None:
        """`wanted` is "auto" or "cpu". Raises FaceBlurError when the file cannot be read as a model."""
        try:
            self._model = relax_shapes(path.read_bytes(), input_name)
        except (OSError, ValueError, IndexError, StopIteration) as error:
            raise FaceBlurError(f"Cannot read the face detector {path.name}: {error}") from error
        self.notes: list[str] = []
        """Sentences for the user: why it runs on the CPU although there is a GPU's provider."""
        self._providers = choose_providers(list_available(), wanted, sys.platform)
        if self._providers[0] == CPU:
            self._session = self._open()
            return
        try:
            self._session = self._open()
        except _list_failures() as error:
            self._fall_back(str(error))
            return
        if self._providers[0] not in self._session.get_providers():
            self._fall_back("onnxruntime could not load it")
        elif _runs_nothing(self._session, self._providers[0]):
            self._fall_back("it can run no part of this detector")

    @property
    def provider(self) -> str:
        """What it runs on, for people."""
        return label_provider(self._providers[0])

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.float32]]) -> Any:
        """The outputs of those names, as arrays. A GPU that fails midway is given up and the CPU takes over."""
        if self._providers[0] == CPU:
            return self._session.run(outputs, inputs)
        try:
            return self._session.run(outputs, inputs)
        except _list_failures() as error:
            self._fall_back(str(error))
            return self._session.run(outputs, inputs)

    def _fall_back(self, reason: str) -> None:
        label = self.provider
        first_line = (reason.strip().splitlines() or ["no reason given"])[0][:200]
        self.notes.append(
            f"{label} is installed but cannot be used ({first_line}): detection runs on the CPU instead, more slowly.")
        self._providers = (CPU,)
        self._session = self._open()

    def _open(self) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Patterns keep a block for each size of picture, and DirectML does not allow them.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        if self._providers[0] != CPU:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        # onnxruntime's own way back to the CPU is silent, and would come before ours.
        return onnxruntime.InferenceSession(self._model, options, providers=list(self._providers), enable_fallback=0)


def _list_failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises when a provider fails; its errors have no base of their own."""
    import onnxruntime

    state = onnxruntime.capi.onnxruntime_pybind11_state
    names = ("DeviceReset", "EPFail", "EngineError", "Fail", "InvalidArgument", "InvalidGraph", "NotFound",
             "NotImplemented", "RuntimeException")
    return (RuntimeError, ValueError, *(getattr(state, name) for name in names if hasattr(state, name)))


def _runs_nothing(session: Any, provider: str) -> bool:
    """Whether the provider was given no part of the network (onnxruntime tells from 1.24 on)."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return False
    return all(part.ep_name != provider for part in session.get_provider_graph_assignment_info())


class OnnxDetector(FaceDetector):
    """A detector whose network onnxruntime runs; its input is a picture of any size, padded to the stride."""

    input_name: ClassVar[str]
    stride: ClassVar[int]

    def __init__(self, model: Path, threshold: float, provider: str = "auto") -> None:
        self._session = OnnxSession(model, self.input_name, provider)
        self._blobs = BlobMaker(self.stride)
        self._threshold = threshold

    @property
    def provider(self) -> str:
        return self._session.provider

    @property
    def notes(self) -> list[str]:
        return self._session.notes
