# SPDX-License-Identifier: GPL-3.0-or-later
"""Run an ONNX network with onnxruntime, on a GPU if there is one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from .base import BlobMaker, FaceDetector
from .providers import CPU, PROVIDERS, choose_providers, label_provider, list_available, list_options

_FREE_SIZES = ("n", "", "height", "width")
"""The names of the sizes of a network's pictures; those without one are fixed."""


class OnnxSession:
    """A network on one thread of the CPU, or on the GPU that onnxruntime offers.

    On a GPU each size of input has a session of its own: one that meets another size prepares itself anew. If all of
    the network stays on the CPU nevertheless, the user is warned as for any other fallback. The effect of GPU rounding
    was not measured.
    """

    def __init__(self, path: Path, wanted: str = "auto") -> None:
        """`wanted` is "auto", "cpu" or "gpu" (see `choose_providers`). Raises FaceBlurError if the file cannot be read
        as a model."""
        try:
            self._model = path.read_bytes()
        except OSError as error:
            raise FaceBlurError(f"Cannot read the model {path.name}: {error}") from error
        self._name = path.name
        self.notes: list[str] = []
        """Sentences for the user: why it runs on the CPU although a GPU's provider is installed."""
        self._providers = choose_providers(list_available(), wanted, sys.platform)
        self._sized: dict[tuple[int, ...], Any] = {}
        """The GPU's sessions, by the size of their input; what is beyond their number runs in `_session`."""
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
        """What it runs on, for display."""
        return label_provider(self._providers[0])

    def run(self, outputs: list[str], inputs: dict[str, NDArray[np.float32]]) -> Any:
        """The outputs of those names, as arrays. If a GPU fails, the CPU takes over for good."""
        if self._providers[0] == CPU:
            return self._session.run(outputs, inputs)
        try:
            return self._get_sized(inputs).run(outputs, inputs)
        except _list_failures() as error:
            self._fall_back(str(error))
            return self._session.run(outputs, inputs)

    def _get_sized(self, inputs: dict[str, NDArray[np.float32]]) -> Any:
        """The GPU's session for inputs of these sizes."""
        size = next(iter(inputs.values())).shape
        if size not in self._sized and len(self._sized) < PROVIDERS.most_gpu_sizes:
            self._sized[size] = self._open(size)
        return self._sized.get(size, self._session)

    def _fall_back(self, reason: str) -> None:
        label = self.provider
        first_line = (reason.strip().splitlines() or ["no reason given"])[0][:200]
        self.notes.append(
            f"{label} is installed but cannot be used ({first_line}). Detection runs on the CPU instead, more slowly."
        )
        self._providers = (CPU,)
        self._sized.clear()
        self._session = self._open()

    def _open(self, size: Sequence[int] = ()) -> Any:
        """A session, with `size` for inputs of that size alone."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # Memory patterns keep a block for each picture size, and DirectML does not allow them.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        if self._providers[0] == CPU:
            _share_memory()
            options.add_session_config_entry("session.use_env_allocators", "1")
        else:
            options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
            # CoreML runs only networks whose sizes are fixed. The names are those that `weights` gives free sizes.
            for name, length in zip(_FREE_SIZES, size, strict=False):
                if name:
                    options.add_free_dimension_override_by_name(name, length)
        try:
            # onnxruntime's own fallback to the CPU is silent, and would come before ours.
            return onnxruntime.InferenceSession(
                self._model,
                options,
                providers=list(self._providers),
                provider_options=[list_options(name) for name in self._providers],
                enable_fallback=0,
            )
        except _find_errors("InvalidProtobuf") as error:
            raise FaceBlurError(f"Cannot read the model {self._name}: {error}") from error


@cache
def _share_memory() -> None:
    """Let all networks on the CPU take their memory from one store: they never run at the same time."""
    import onnxruntime

    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    # The defaults of onnxruntime.
    sizes = {
        "max_mem": 0,
        "arena_extend_strategy": 0,
        "initial_chunk_size_bytes": -1,
        "max_dead_bytes_per_chunk": -1,
    }
    onnxruntime.create_and_register_allocator(place, onnxruntime.OrtArenaCfg(sizes))


def _list_failures() -> tuple[type[Exception], ...]:
    """The exceptions that onnxruntime raises when a provider fails."""
    return (
        RuntimeError,
        ValueError,
        *_find_errors(
            "DeviceReset",
            "EPFail",
            "EngineError",
            "Fail",
            "InvalidArgument",
            "InvalidGraph",
            "NotFound",
            "NotImplemented",
            "RuntimeException",
        ),
    )


def _find_errors(*names: str) -> tuple[type[Exception], ...]:
    """onnxruntime's exceptions of those names, if it has them; they have no common base class."""
    import onnxruntime

    state = onnxruntime.capi.onnxruntime_pybind11_state
    return tuple(getattr(state, name) for name in names if hasattr(state, name))


def _runs_nothing(session: Any, provider: str) -> bool:
    """Whether the provider was assigned no part of the network (reported by onnxruntime from 1.24 on)."""
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return False
    return all(part.ep_name != provider for part in session.get_provider_graph_assignment_info())


class OnnxDetector(FaceDetector):
    """A detector whose network runs in onnxruntime; its input is a picture of any size, padded to the stride.

    `input_name` is the input for the pictures, as in the entry of models.toml.
    """

    input_name: ClassVar[str]
    stride: ClassVar[int]

    def __init__(self, model: Path, threshold: float, provider: str = "auto") -> None:
        self._session = OnnxSession(model, provider)
        self._blobs = BlobMaker(self.stride)
        self._threshold = threshold

    @property
    def provider(self) -> str:
        return self._session.provider

    @property
    def notes(self) -> list[str]:
        return self._session.notes
