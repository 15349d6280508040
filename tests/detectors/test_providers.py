# SPDX-License-Identifier: GPL-3.0-or-later
"""A GPU's provider is chosen if it is installed, and the user is warned if it fails.

The provider lists and onnxruntime are simulated: no GPU was measured, and none is needed here.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.detectors import get_detector
from blender_faceblur.detectors.onnx_model import OnnxSession
from blender_faceblur.detectors.providers import PROVIDERS, choose_providers, label_provider, list_available
from blender_faceblur.files.paths import get_model_path

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
DML, COREML = "DmlExecutionProvider", "CoreMLExecutionProvider"
TENSORRT, AZURE, OPENVINO = "TensorrtExecutionProvider", "AzureExecutionProvider", "OpenVINOExecutionProvider"


@pytest.mark.parametrize(
    ("available", "platform", "chosen"),
    [
        ([AZURE, CPU], "linux", (CPU,)),
        ([CPU], "darwin", (CPU,)),
        ([], "linux", (CPU,)),
        ([TENSORRT, CUDA, CPU], "linux", (CUDA, CPU)),
        ([TENSORRT, CUDA, CPU], "win32", (CUDA, CPU)),
        ([DML, CPU], "win32", (DML, CPU)),
        ([DML, CUDA, CPU], "win32", (CUDA, CPU)),
        ([COREML, AZURE, CPU], "darwin", (COREML, CPU)),
        ([OPENVINO, CPU], "linux", (CPU,)),
        ([TENSORRT, CPU], "linux", (CPU,)),
        ([DML, COREML, CPU], "linux", (CPU,)),
        ([CUDA, DML, CPU], "darwin", (CPU,)),
        ([CUDA, DML, COREML, CPU], "freebsd14", (CPU,)),
    ],
)
def test_a_gpu_is_chosen_on_the_platforms_that_support_it(
    available: list[str], platform: str, chosen: tuple[str, ...]
) -> None:
    assert choose_providers(available, "auto", platform) == chosen
    assert choose_providers(available, "cpu", platform) == (CPU,)


def test_an_unknown_provider_is_refused() -> None:
    with pytest.raises(FaceBlurError, match="TensorRT"):
        choose_providers([CPU], "TensorRT", "linux")


def test_a_gpu_that_is_asked_for_and_missing_is_an_error() -> None:
    assert choose_providers([CUDA, CPU], "gpu", "linux") == (CUDA, CPU)
    with pytest.raises(FaceBlurError, match="no graphics card"):
        choose_providers([CPU], "gpu", "linux")


def test_a_missing_onnxruntime_raises_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(FaceBlurError, match="onnxruntime cannot be loaded"):
        list_available()


def test_providers_have_readable_labels() -> None:
    assert [label_provider(name) for name in (CPU, CUDA, DML, COREML)] == ["CPU", "CUDA", "DirectML", "CoreML"]
    assert label_provider("NewExecutionProvider") == "New"


PICTURE = {"input": np.zeros((1, 3, 64, 96), np.float32)}


class Failure(Exception):
    """Like onnxruntime's exceptions, which have no common base class."""


class FakeRuntime:
    """An onnxruntime with a CUDA provider that behaves as requested."""

    def __init__(self, gpu: str) -> None:
        """`gpu`: "works", "absent" (dropped silently), "idle" (assigned no node), "raises", "fails later"."""
        self.gpu = gpu
        self.opened: list[list[str]] = []
        self.sizes: list[dict[str, int]] = []
        """The fixed sizes of each session's input."""
        self.capi = SimpleNamespace(onnxruntime_pybind11_state=SimpleNamespace(Fail=Failure))

    def get_available_providers(self) -> list[str]:
        return [TENSORRT, CUDA, AZURE, CPU]

    class SessionOptions:
        def __init__(self) -> None:
            self.fixed: dict[str, int] = {}

        def add_session_config_entry(self, key: str, value: str) -> None:
            pass

        def add_free_dimension_override_by_name(self, name: str, length: int) -> None:
            self.fixed[name] = length

    def InferenceSession(  # noqa: N802 - onnxruntime's name
        self,
        model: bytes,
        options: Any,
        providers: list[str],
        provider_options: list[dict[str, str]],
        enable_fallback: int,
    ) -> Any:
        assert enable_fallback == 0
        quick = {"cudnn_conv_algo_search": "HEURISTIC"}
        assert provider_options == [quick if name == CUDA else {} for name in providers]
        self.opened.append(providers)
        self.sizes.append(options.fixed)
        if providers[0] == CUDA and self.gpu == "raises":
            raise Failure("no kernel image\nfor this device")
        used = [CPU] if self.gpu == "absent" else providers
        nodes = CPU if self.gpu == "idle" else used[0]

        def run(outputs: list[str], inputs: dict[str, Any]) -> list[str]:
            if providers[0] == CUDA and self.gpu == "fails later":
                raise Failure("out of memory")
            return [providers[0]]

        return SimpleNamespace(
            get_providers=lambda: used,
            run=run,
            get_provider_graph_assignment_info=lambda: [SimpleNamespace(ep_name=nodes), SimpleNamespace(ep_name=CPU)],
        )


def open_fake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpu: str, wanted: str
) -> tuple[FakeRuntime, OnnxSession]:
    runtime = FakeRuntime(gpu)
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "model.onnx").write_bytes(b"")
    return runtime, OnnxSession(tmp_path / "model.onnx", wanted)


def test_a_gpu_that_works_is_used_without_a_word(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime, session = open_fake(monkeypatch, tmp_path, "works", "auto")
    assert runtime.opened == [[CUDA, CPU]]
    assert session.run([], PICTURE) == [CUDA]
    assert (session.provider, session.notes) == ("CUDA", [])


def test_each_size_of_picture_has_its_own_session_on_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime, session = open_fake(monkeypatch, tmp_path, "works", "gpu")
    sides = [32 * n for n in range(1, PROVIDERS.most_gpu_sizes + 3)]
    for _ in range(2):
        for side in sides:
            assert session.run([], {"input": np.zeros((1, 3, side, 64), np.float32)}) == [CUDA]
    # The last two share the first session, which serves any size.
    assert runtime.sizes == [{}, *({"n": 1, "height": side, "width": 64} for side in sides[:-2])]


def test_the_cpu_has_one_session_for_all_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime, session = open_fake(monkeypatch, tmp_path, "works", "cpu")
    for side in (32, 64):
        session.run([], {"input": np.zeros((1, 3, side, side), np.float32)})
    assert runtime.sizes == [{}]


def test_only_the_cpu_is_requested_if_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runtime, session = open_fake(monkeypatch, tmp_path, "works", "cpu")
    assert runtime.opened == [[CPU]]
    assert (session.provider, session.notes) == ("CPU", [])


@pytest.mark.parametrize(
    ("gpu", "reason"), [("absent", "could not load"), ("idle", "no part"), ("raises", "no kernel image")]
)
def test_the_user_is_warned_of_a_gpu_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpu: str, reason: str
) -> None:
    runtime, session = open_fake(monkeypatch, tmp_path, gpu, "auto")
    assert runtime.opened == [[CUDA, CPU], [CPU]]
    assert session.provider == "CPU" and session.run([], PICTURE) == [CPU]
    (note,) = session.notes
    assert note.startswith("CUDA is installed but cannot be used") and reason in note and "\n" not in note
    assert "CPU instead" in note


def test_a_gpu_that_fails_midway_loses_no_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, session = open_fake(monkeypatch, tmp_path, "fails later", "auto")
    assert (session.provider, session.notes) == ("CUDA", [])
    assert session.run([], PICTURE) == [CPU]
    assert session.provider == "CPU" and "out of memory" in session.notes[0]
    assert session.run([], PICTURE) == [CPU] and len(session.notes) == 1


def test_an_error_of_the_cpu_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _, session = open_fake(monkeypatch, tmp_path, "works", "cpu")

    def fail(outputs: list[str], inputs: dict[str, Any]) -> None:
        raise Failure("broken")

    session._session.run = fail
    with pytest.raises(Failure):
        session.run([], PICTURE)


def test_the_real_runtime_reports_where_its_nodes_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listed provider that runs no node is recognised: Azure's, which runs no network itself."""
    import onnxruntime

    if AZURE not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no provider but the CPU's")
    try:
        path = get_model_path("centerface")
    except FaceBlurError as error:
        pytest.skip(str(error))
    monkeypatch.setattr("blender_faceblur.detectors.onnx_model.choose_providers", lambda *_: (AZURE, CPU))
    detector = get_detector("centerface")(path, 0.3)
    assert detector.provider == "CPU" and "no part" in detector.notes[0]
    assert detector.detect(np.zeros((96, 160, 3), np.uint8)) == []
