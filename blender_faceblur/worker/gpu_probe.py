# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the GPU with the CPU once on each machine, so that "auto" takes the faster one."""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.detection.picture_sizes import compute_detector_size
from ..core.detection.settings import DetectorUse
from ..detectors import get_detector
from ..detectors.providers import CPU, choose_providers, label_provider, list_available
from ..files.paths import get_model_path, list_models

_FILE = "providers.json"


@dataclass(frozen=True, slots=True)
class GpuProbeSettings:
    """How the GPU is compared with the CPU."""

    frame_size: tuple[int, int] = (1920, 1080)
    """Width and height, in pixels, of the film for which the detector's picture is made. Raising it compares larger
    pictures, at which a GPU is better. Origin: the most frequent size of films."""
    pictures: int = 7
    """Pictures whose median time is compared, after one that prepares the network. Raising it takes time at the first
    run with a GPU. Origin: not measured."""
    least_ratio: float = 1.2
    """How many times as fast as the CPU the GPU must be. Raising it takes fewer GPUs. Origin: not measured; one that is
    hardly faster is not worth its memory."""
    device_wait_s: float = 10.0
    """Seconds to wait for the program that names the GPU and its driver. Raising it waits longer where that hangs.
    Origin: not measured."""


GPU_PROBE = GpuProbeSettings()


def choose_faster(wanted: str, uses: tuple[DetectorUse, ...], folder: Path | None, warn: Callable[[str], None]) -> str:
    """What "auto" stands for on this machine with these detectors: "cpu" or "gpu"; any other choice stays as it is.

    The times are compared once, and kept in `folder` by the network, the device and its driver. `warn` gets sentences
    for the user: the result of a new comparison, and why a GPU could not be used.
    """
    provider = choose_providers(list_available(), wanted, sys.platform)[0]
    if wanted != "auto" or provider == CPU:
        return "cpu" if provider == CPU else "gpu"
    # The largest picture of the first detector takes most of the time of an analysis.
    use = max(uses, key=lambda one: (one.detector == uses[0].detector, one.long_side))
    key = json.dumps([provider, describe_device(provider), _read_version(), list_models()[use.detector].sha256])
    ratios = _read(folder)
    ratio = ratios.get(key)
    if ratio is None:
        times = {choice: _measure(use, choice, warn) for choice in ("cpu", "gpu")}
        if times["gpu"] is None or times["cpu"] is None:
            # Not kept: the next run tries again, and warns again.
            return "cpu"
        ratio = times["cpu"] / times["gpu"]
        _keep(folder, {**ratios, key: ratio})
        label = label_provider(provider)
        if ratio >= GPU_PROBE.least_ratio:
            warn(f"Detection runs on {label}, which takes {1 / ratio:.2f} times as long as the processor.")
        else:
            warn(f"Detection runs on the processor: {label} takes {1 / ratio:.2f} times as long.")
    return "gpu" if ratio >= GPU_PROBE.least_ratio else "cpu"


def describe_device(provider: str) -> str:
    """The device and its driver, as far as they can be told: that of CUDA, otherwise the system's version."""
    program = shutil.which("nvidia-smi") if provider == "CUDAExecutionProvider" else None
    if program is not None:
        with suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(
                [program, "--query-gpu=name,driver_version", "--format=csv,noheader"],
                capture_output=True,
                text=True,
                timeout=GPU_PROBE.device_wait_s,
                check=True,
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )
            return answer.stdout.strip()
    return f"{platform.machine()} {platform.platform()}"


def _measure(use: DetectorUse, choice: str, warn: Callable[[str], None]) -> float | None:
    """The median seconds of a detector for a picture; None if it does not run where it should."""
    width, height = compute_detector_size(GPU_PROBE.frame_size, use.long_side)
    picture = np.zeros((height, width, 3), np.uint8)
    with closing(get_detector(use.detector)(get_model_path(use.detector), use.threshold, choice)) as detector:
        seconds = []
        # The first picture prepares the network.
        for _ in range(1 + GPU_PROBE.pictures):
            began = time.perf_counter()
            detector.detect(picture)
            seconds.append(time.perf_counter() - began)
        for note in detector.notes:
            warn(note)
        if detector.notes or (choice == "gpu") != (detector.provider != "CPU"):
            return None
    return statistics.median(seconds[1:])


def _read_version() -> str:
    import onnxruntime

    return f"{onnxruntime.__version__}, {os.cpu_count()} cores"


def _read(folder: Path | None) -> dict[str, float]:
    """The kept results: how many times as fast as the CPU each GPU is."""
    if folder is None:
        return {}
    content: Any = None
    with suppress(OSError, ValueError):
        content = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        return {}
    return {key: float(ratio) for key, ratio in content.items() if type(ratio) in (int, float) and 0 < ratio < 1e6}


def _keep(folder: Path | None, ratios: dict[str, float]) -> None:
    """A failure is ignored: the next run only compares again."""
    if folder is None:
        return
    part = folder / (_FILE + ".part")
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(ratios), encoding="utf-8")
        part.replace(folder / _FILE)
