# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPU and the CPU are compared once on each machine, and "auto" takes the faster one. No GPU is needed here."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur.core.detection.settings import DetectorUse
from blender_faceblur.worker import gpu_probe

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
USES = DetectorUse("centerface", 640, 0.25), DetectorUse("yunet_2023mar", 960, 0.25)


class FakeDetector:
    """Takes `seconds` for a picture, and more for the first, as a network on a GPU does."""

    seconds: dict[str, float]
    fails = False
    shapes: list[tuple[int, ...]]

    def __init__(self, model: Path, threshold: float, provider: str) -> None:
        self.choice, self.count = provider, 0
        self.notes = ["CUDA is installed but cannot be used"] if self.fails and provider == "gpu" else []

    @property
    def provider(self) -> str:
        return "CUDA" if self.choice == "gpu" and not self.notes else "CPU"

    def detect(self, picture: Any) -> list[Any]:
        self.shapes.append(picture.shape)
        time.sleep(self.seconds[self.choice] + (0.05 if self.count == 0 else 0.0))
        self.count += 1
        return []

    def close(self) -> None:
        pass


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> type[FakeDetector]:
    """A machine with a GPU that is ten times as fast as its CPU."""

    class Machine(FakeDetector):
        seconds = {"cpu": 0.01, "gpu": 0.001}  # noqa: RUF012 (changed by tests)
        shapes = []  # noqa: RUF012

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(gpu_probe, "list_available", lambda: [CUDA, CPU])
    monkeypatch.setattr(gpu_probe, "get_detector", lambda name: Machine)
    monkeypatch.setattr(gpu_probe, "get_model_path", Path)
    monkeypatch.setattr(gpu_probe, "describe_device", lambda provider: "A card, driver 1")
    return Machine


def choose(folder: Path | None, wanted: str = "auto") -> tuple[str, list[str]]:
    said: list[str] = []
    return gpu_probe.choose_faster(wanted, USES, folder, said.append), said


def test_a_faster_gpu_is_taken_and_compared_once(machine: type[FakeDetector], tmp_path: Path) -> None:
    choice, said = choose(tmp_path)
    assert choice == "gpu" and len(said) == 1 and said[0].startswith("Detection runs on CUDA, which takes 0.")
    assert set(machine.shapes) == {(352, 640, 3)}
    machine.shapes.clear()
    assert choose(tmp_path) == ("gpu", []) and not machine.shapes


def test_a_slower_gpu_is_not_taken(machine: type[FakeDetector], tmp_path: Path) -> None:
    machine.seconds = {"cpu": 0.001, "gpu": 0.01}
    choice, said = choose(tmp_path)
    assert choice == "cpu" and len(said) == 1 and said[0].startswith("Detection runs on the processor: CUDA takes ")
    assert choose(tmp_path) == ("cpu", [])


def test_another_driver_is_compared_anew(
    machine: type[FakeDetector], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert choose(tmp_path)[0] == "gpu"
    monkeypatch.setattr(gpu_probe, "describe_device", lambda provider: "A card, driver 2")
    machine.seconds = {"cpu": 0.001, "gpu": 0.01}
    assert choose(tmp_path)[0] == "cpu"
    assert len(json.loads((tmp_path / "providers.json").read_text())) == 2


def test_a_gpu_that_fails_is_said_and_tried_again(machine: type[FakeDetector], tmp_path: Path) -> None:
    machine.fails = True
    for _ in range(2):
        assert choose(tmp_path) == ("cpu", ["CUDA is installed but cannot be used"])
    assert not (tmp_path / "providers.json").exists()


def test_a_choice_of_the_user_is_not_compared(machine: type[FakeDetector], tmp_path: Path) -> None:
    machine.seconds = {"cpu": 0.001, "gpu": 0.01}
    assert choose(tmp_path, "gpu") == ("gpu", []) and choose(tmp_path, "cpu") == ("cpu", [])
    assert not machine.shapes


def test_damaged_results_are_measured_again(machine: type[FakeDetector], tmp_path: Path) -> None:
    for content in ("", "[]", '{"x": "y"}', "{"):
        (tmp_path / "providers.json").write_text(content)
        assert choose(tmp_path)[0] == "gpu" and choose(tmp_path)[1] == []
    assert choose(None)[0] == "gpu"


def test_without_a_gpu_nothing_is_compared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_probe, "list_available", lambda: [CPU])
    monkeypatch.setattr(gpu_probe, "_measure", lambda *_: pytest.fail("it compared"))
    assert choose(tmp_path) == ("cpu", [])
