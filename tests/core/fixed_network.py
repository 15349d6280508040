# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a small network with the form of published ones: a fixed picture size, and weights among the inputs.

It needs the onnx package. Run `python -m tests.core.fixed_network FILE`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def build_network() -> bytes:
    """A convolution and a batch normalisation, from "pictures" (10 x 3 x 32 x 32) to "map" (10 x 2 x 32 x 32)."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(7)
    weights = {
        "filters": rng.uniform(-1, 1, (2, 3, 3, 3)),
        "scale": [1.5, 0.5],
        "shift": [0.1, -0.2],
        "mean": [0.3, 0.1],
        "variance": [1.2, 0.8],
    }
    arrays = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in weights.items()]
    nodes = [
        helper.make_node("Conv", ["pictures", "filters"], ["filtered"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["filtered", *list(weights)[1:]], ["map"]),
    ]
    values = {"pictures": [10, 3, 32, 32], "filtered": [10, 2, 32, 32], "map": [10, 2, 32, 32]}
    values |= {array.name: list(array.dims) for array in arrays}
    reported = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values.items()}
    graph = helper.make_graph(
        nodes,
        "small",
        [reported["pictures"], *(reported[name] for name in weights)],
        [reported["map"]],
        arrays,
        value_info=[reported["filtered"]],
    )
    model = helper.make_model(graph, ir_version=3, opset_imports=[helper.make_opsetid("", 9)])
    return bytes(model.SerializeToString(deterministic=True))


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(build_network())
