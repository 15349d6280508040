# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose which of onnxruntime's execution providers run the networks: a GPU's if installed, otherwise the CPU's.

No GPU was measured: the choice and the fallback to the CPU are tested with simulated providers only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.types import FaceBlurError

CPU = "CPUExecutionProvider"

# TensorRT first builds an engine for each picture size, which takes minutes. OpenVINO, Azure and others may come with
# other software, and Azure's sends pictures to a server. None of them is used without the user's request.
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
    """How processes share a GPU."""

    most_gpu_processes: int = 2
    """Processes that share one GPU and its memory; two keep it busy while pictures are decoded. Raising it takes GPU
    memory. Origin: not measured."""


PROVIDERS = ProviderSettings()


def choose_providers(available: Sequence[str], wanted: str, platform: str) -> tuple[str, ...]:
    """Names of onnxruntime's providers to request, best first; the last is always the CPU's.

    `available` are the names that onnxruntime lists, `wanted` is "auto" or "cpu", `platform` is `sys.platform`. At most
    one is a GPU's, so that no second GPU takes over without the user's knowledge.
    """
    if wanted not in ("auto", "cpu"):
        raise FaceBlurError(f"There is no provider {wanted[:40]!r}. Choose auto or cpu.")
    if wanted == "auto":
        for name in _GPUS.get(platform, ()):
            if name in available:
                return name, CPU
    return (CPU,)


def label_provider(name: str) -> str:
    """The provider's name for display: "CPU", "CUDA", "DirectML", "CoreML"."""
    return _LABELS.get(name, name.removesuffix("ExecutionProvider"))


def list_available() -> list[str]:
    """The providers that the installed onnxruntime lists. Loads it; FaceBlurError if it cannot be loaded."""
    # onnxruntime from 1.29 on sends usage data unless this is set before it loads.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise FaceBlurError(
            f"onnxruntime cannot be loaded ({error}). Reinstall the extension or, in a checkout, its requirements."
        ) from error
    return list(onnxruntime.get_available_providers())
