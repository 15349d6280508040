# SPDX-License-Identifier: GPL-3.0-or-later
"""Open an ONNX face detector so that onnxruntime takes pictures of any size and folds the weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError

# Field numbers of onnx.proto (github.com/onnx/onnx/blob/main/onnx/onnx.proto).
_MODEL_IR_VERSION, _MODEL_GRAPH = 1, 7
_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 11, 12, 13
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_ELEMENT, _ELEMENT_FLOAT = 1, 1, 1
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


def _float_tensor_of_any_shape(name: bytes) -> bytes:
    element = _write_varint(_TENSOR_ELEMENT << 3) + _write_varint(_ELEMENT_FLOAT)
    return _block(_VALUE_NAME, name) + _block(_VALUE_TYPE, _block(_TYPE_TENSOR, element))


def relax_shapes(model: bytes, input_name: str) -> bytes:
    """The same ONNX model with the sizes of its pictures and results left open.

    The published files state fixed sizes (and batches of 10), which onnxruntime holds callers to, and list
    every weight as an input, which keeps it from folding batch normalisation into the convolutions.
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
                if part == _GRAPH_OUTPUT or name == input_name.encode():
                    graph.append(_block(part, _float_tensor_of_any_shape(name)))
            elif part != _GRAPH_VALUE_INFO:
                graph.append(bytes(part_raw))
        out.append(_block(_MODEL_GRAPH, b"".join(graph)))
    return b"".join(out)


def open_session(path: Path, input_name: str) -> Any:
    """An onnxruntime InferenceSession on one thread, on the fastest provider there is.

    Raises FaceBlurError when the file cannot be read as a model.
    """
    # onnxruntime from 1.29 on sends usage data unless this is set before it loads.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # Patterns keep a block for each size of picture.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        model = relax_shapes(path.read_bytes(), input_name)
    except (OSError, ValueError, IndexError, StopIteration) as error:
        raise FaceBlurError(f"Cannot read the face detector {path.name}: {error}") from error
    return onnxruntime.InferenceSession(model, options, providers=onnxruntime.get_available_providers())
