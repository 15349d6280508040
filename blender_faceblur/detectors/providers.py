# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose which of onnxruntime's execution providers run the networks: a GPU's if installed, otherwise the CPU's.

The choice and the fallback to the CPU are tested with simulated providers only. CUDA was measured before a session
served a single size of pictures, and DirectML and CoreML never.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..core.types import FaceBlurError

CPU = "CPUExecutionProvider"
CHOICES = ("auto", "cpu", "gpu")
"""What a user can choose: "auto" is the GPU if there is one, in an analysis only if it is faster (see
`worker.gpu_probe`)."""

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
    most_gpu_sizes: int = 8
    """Sizes of pictures for which a GPU gets a session each: on an NVIDIA H200, a session that met another size took 1
    to 2.6 s for its first picture, and 2 ms for the next of the same size. Further sizes share one. Raising it takes
    GPU memory. Origin: a detector meets its own size, windows of two sizes, and the sizes of turned pictures."""


PROVIDERS = ProviderSettings()


def choose_providers(available: Sequence[str], wanted: str, platform: str) -> tuple[str, ...]:
    """Names of onnxruntime's providers to request, best first; the last is always the CPU's.

    `available` are the names that onnxruntime lists, `wanted` is "auto", "cpu" or "gpu", `platform` is `sys.platform`.
    At most one is a GPU's, so that no second GPU takes over without the user's knowledge. Raises FaceBlurError if
    `wanted` is "gpu" and there is none.
    """
    if wanted not in CHOICES:
        raise FaceBlurError(f"There is no provider {wanted[:40]!r}. Choose one of {', '.join(CHOICES)}.")
    if wanted != "cpu":
        for name in _GPUS.get(platform, ()):
            if name in available:
                return name, CPU
    if wanted == "gpu":
        raise FaceBlurError(
            "There is no graphics card that the installed onnxruntime can use. Choose the processor, or install an "
            "onnxruntime for the graphics card."
        )
    return (CPU,)


def list_options(name: str) -> dict[str, str]:
    """onnxruntime's options for a provider."""
    # An exhaustive search for the fastest convolution takes seconds for each size of picture, and gains nothing here.
    return {"cudnn_conv_algo_search": "HEURISTIC"} if name == "CUDAExecutionProvider" else {}


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
