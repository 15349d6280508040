# SPDX-License-Identifier: GPL-3.0-or-later
"""The conversion of the recogniser: a small made-up package gives the expected network, and a bad one is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.weights import dlib_net

Array = NDArray[np.float64]
WIDTHS = {"conv32": 2, "conv64": 3, "conv128": 4, "conv256": 5}


def list_convolutions() -> list[tuple[str, int, int, int]]:
    """The name, the side, and the input and output channels of every convolution."""
    found, before = [("conv32_down", 7, 3, WIDTHS["conv32"])], WIDTHS["conv32"]
    for level, blocks in (("conv32", 3), ("conv64", 3), ("conv128", 2), ("conv256", 2)):
        width = WIDTHS[level]
        names = [f"{level}_{i}" for i in range(1, blocks + 1)]
        if level != "conv32":
            names.insert(0, f"{level}_down")
        if level == "conv256":
            names.append("conv256_down_out")
        for name in names:
            found += [(f"{name}/conv1", 3, before, width), (f"{name}/conv2", 3, width, width)]
            before = width
    return found


def make_package(path: Path, cut: int = 0) -> dict[str, Array]:
    """Write a package whose weights have 8 bits, except in one layer, and return their values."""
    rng = np.random.default_rng(5)
    entries: list[dict[str, Any]] = []
    raw, values = b"", {}

    def add(name: str, shape: tuple[int, ...], least: float, most: float, packed: bool = True) -> None:
        nonlocal raw
        entry: dict[str, Any] = {"name": name, "shape": shape, "dtype": "float32"}
        if packed:
            stored = rng.integers(0, 256, shape, np.uint8)
            entry["quantization"] = {"dtype": "uint8", "scale": (most - least) / 255, "min": least}
            values[name] = stored * ((most - least) / 255) + least
        else:
            stored = rng.uniform(least, most, shape).astype(np.float32)
            values[name] = stored.astype(float)
        entries.append(entry)
        raw += stored.tobytes()

    for name, side, before, after in list_convolutions():
        add(f"{name}/conv/filters", (side, side, before, after), -0.3, 0.3, not name.startswith("conv64_1"))
        for part, least, most in (("conv/bias", -0.1, 0.1), ("scale/weights", 0.5, 1.5), ("scale/biases", -0.2, 0.2)):
            add(f"{name}/{part}", (after,), least, most)
    add("fc", (WIDTHS["conv256"], 128), -1, 1)
    with tarfile.open(path, "w:gz") as archive:
        for member, data in (
            (dlib_net.MANIFEST, json.dumps([{"weights": entries, "paths": []}]).encode()),
            (dlib_net.WEIGHTS, raw[: len(raw) - cut]),
        ):
            info = tarfile.TarInfo(member)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return values


def compute(values: dict[str, Array], image: Array) -> Array:
    """Compute the network directly in double precision: C x H x W in, 128 out."""

    def windows(x: Array, side: int, stride: int) -> Array:
        view = np.lib.stride_tricks.sliding_window_view(x, (side, side), (1, 2))  # type: ignore[call-overload, unused-ignore]
        return np.asarray(view[:, ::stride, ::stride])

    def convolve(x: Array, name: str, stride: int = 1, pad: int = 1) -> Array:
        filters = values[f"{name}/conv/filters"]
        padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
        y = np.einsum("chwij,ijco->ohw", windows(padded, len(filters), stride), filters, optimize=True)
        y = y + values[f"{name}/conv/bias"][:, None, None]
        return np.asarray(
            y * values[f"{name}/scale/weights"][:, None, None] + values[f"{name}/scale/biases"][:, None, None]
        )

    def reduce(x: Array, name: str) -> Array:
        y = convolve(np.maximum(convolve(x, f"{name}/conv1", 2, 0), 0), f"{name}/conv2")
        shortcut = windows(x, 2, 2).mean(axis=(-1, -2))
        whole = np.zeros([max(a, b) for a, b in zip(y.shape, shortcut.shape, strict=True)])
        for part in (y, shortcut):
            whole[tuple(slice(n) for n in part.shape)] += part
        return np.maximum(whole, 0)

    x = (image - np.array([122.782, 117.001, 104.298])[:, None, None]) / 256
    x = windows(np.maximum(convolve(x, "conv32_down", 2, 0), 0), 3, 2).max(axis=(-1, -2))
    for level, blocks in (("conv32", 3), ("conv64", 3), ("conv128", 2), ("conv256", 2)):
        if level != "conv32":
            x = reduce(x, f"{level}_down")
        for i in range(1, blocks + 1):
            y = np.maximum(convolve(x, f"{level}_{i}/conv1"), 0)
            x = np.maximum(convolve(y, f"{level}_{i}/conv2") + x, 0)
    return np.asarray(reduce(x, "conv256_down_out").mean(axis=(1, 2)) @ values["fc"])


def test_the_float_weights_are_those_of_the_package(tmp_path: Path) -> None:
    values = make_package(tmp_path / "face.tgz")
    images = make_images()
    found = dlib_net.compute(dlib_net.read_package(tmp_path / "face.tgz"), images)
    expected = np.array([compute(values, one.astype(float)) for one in images])
    assert found.shape == (2, 128) and np.ptp(expected) > 0.1
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_the_file_computes_nearly_the_same_as_the_float_network(onnx_environment: None, tmp_path: Path) -> None:
    import onnxruntime

    package = tmp_path / "face.tgz"
    make_package(package)
    weights, images = dlib_net.read_package(package), make_images()
    ranges = dlib_net.compute_ranges(weights, [images[:1], images[1:]])
    model = dlib_net.convert_package(package, ranges)
    assert model == dlib_net.convert_package(package, ranges)
    session = onnxruntime.InferenceSession(model)
    found = session.run(["descriptor"], {"image": images})[0]
    expected = dlib_net.compute(weights, images)
    # Values between layers have 8 bits.
    assert np.abs(found - expected).max() < 0.7 * np.abs(expected[0] - expected[1]).max()
    assert np.allclose(session.run(["descriptor"], {"image": images[1:]})[0], found[1:], atol=1e-5)
    # Values beyond the ranges are clipped and do not wrap around.
    narrow = {name: (least / 4, most / 4) for name, (least, most) in ranges.items()}
    session = onnxruntime.InferenceSession(dlib_net.convert_package(package, narrow))
    cut = session.run(["descriptor"], {"image": images})[0]
    assert np.abs(cut).max() < np.abs(found).max()


def test_ranges_are_measured_for_all_layers() -> None:
    names = {f"{block}/{layer}" for block, _ in dlib_net.list_blocks() for layer in ("active", "y", "out")}
    assert set(dlib_net.RANGES) == names | {"conv32_down/active"}
    assert all(least <= 0 < most for least, most in dlib_net.RANGES.values())


def make_images() -> dlib_net.Pixels:
    return np.random.default_rng(1).integers(0, 256, (2, 3, 150, 150)).astype(np.float32)


def test_a_package_that_is_cut_short_is_refused(onnx_environment: None, tmp_path: Path) -> None:
    make_package(tmp_path / "face.tgz", cut=7)
    with pytest.raises(FaceBlurError, match="does not contain the expected network"):
        dlib_net.convert_package(tmp_path / "face.tgz")


def test_another_archive_is_refused(onnx_environment: None, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tgz", "w:gz"):
        pass
    (tmp_path / "none.tgz").write_bytes(b"no archive")
    for name in ("other.tgz", "none.tgz"):
        with pytest.raises(FaceBlurError, match="does not contain the expected network"):
            dlib_net.convert_package(tmp_path / name)
