# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of onnxruntime's execution providers run the networks: a GPU's where one is installed, else the CPU's.

No GPU was measured: the choice and the way back to the CPU are tested with made-up providers only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.types import FaceBlurError

CPU = "CPUExecutionProvider"

# TensorRT builds an engine for each picture size first, which takes minutes; OpenVINO, Azure and the like would also
# come along with what others installed, and the one sends pictures away. None of them is used unasked.
_GPUS = {
    "linux": ("CUDAExecutionProvider",),
    "win32": ("CUDAExecutionProvider", "DmlExecutionProvider"),
    "darwin": ("CoreMLExecutionProvider",),
}
_LABELS = {
    CPU: "CPU",
    "CUDAExecutionProvider": "CUDA",
    "DmlExecutionProvider": "DirectML",
    "CoreMLExecutionProvider": "CoreML",
}


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """How a GPU is shared."""

    most_gpu_processes: int = 2
    """Processes that share one GPU and its memory; two keep it busy while pictures are decoded. Raising it takes memory
    of the GPU. Origin: not measured."""


PROVIDERS = ProviderSettings()


def choose_providers(available: Sequence[str], wanted: str, platform: str) -> tuple[str, ...]:
    """onnxruntime's provider names to ask for, best first; the last is always the CPU's.

    `available` are the names that onnxruntime lists, `wanted` is "auto" or "cpu", `platform` is `sys.platform`.
    At most one GPU's: a second one that takes over silently would be another thing to tell.
    """
    if wanted not in ("auto", "cpu"):
        raise FaceBlurError(f"There is no provider {wanted[:40]!r}; there are auto and cpu.")
    if wanted == "auto":
        for name in _GPUS.get(platform, ()):
            if name in available:
                return name, CPU
    return (CPU,)


def label_provider(name: str) -> str:
    """The word for people: "CPU", "CUDA", "DirectML", "CoreML"."""
    return _LABELS.get(name, name.removesuffix("ExecutionProvider"))


def list_available() -> list[str]:
    """What the installed onnxruntime says it could use; loads it. FaceBlurError when it cannot be loaded."""
    # onnxruntime from 1.29 on sends usage data unless this is set before it loads.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise FaceBlurError(
            f"onnxruntime cannot be loaded ({error}): install the extension, or what the checkout needs, again."
        ) from error
    return list(onnxruntime.get_available_providers())
