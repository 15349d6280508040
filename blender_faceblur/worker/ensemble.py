# SPDX-License-Identifier: GPL-3.0-or-later
"""The detectors of a preset that can run on this machine, their sessions, and the number of processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

from ..core.detection.settings import DetectorUse, Preset, choose_detectors, list_detectors
from ..core.types import FaceBlurError, ModelUse, SourceInfo
from ..detectors import get_detector
from ..detectors.base import FaceDetector
from ..detectors.onet import MODEL as OPINION_MODEL
from ..detectors.onet import ONet
from ..detectors.providers import CPU, PROVIDERS
from ..files.paths import get_model_path, list_models

N = TypeVar("N")


class Networks:
    """The networks that a process has opened. They stay open for its next jobs, until the end of the `with` block.

    Each keeps the memory for its largest picture. None knows anything of the pictures before, except that a detector
    whose GPU failed stays on the CPU (see `close_failed`).
    """

    def __init__(self) -> None:
        self._opened: dict[tuple[Any, ...], Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def open(self, kind: Callable[..., N], *arguments: Any) -> N:
        """The network that `kind` makes of these arguments, made at the first call."""
        key = (kind, *arguments)
        if key not in self._opened:
            self._opened[key] = kind(*arguments)
        network: N = self._opened[key]
        return network

    def close_failed(self) -> None:
        """Close all networks if a detector has failed or fallen back, so that the next job tries anew and warns anew.

        To be called between two jobs.
        """
        if any(isinstance(network, FaceDetector) and network.notes for network in self._opened.values()):
            self._close()

    def _close(self) -> None:
        for network in self._opened.values():
            if isinstance(network, FaceDetector):
                network.close()
        self._opened.clear()


def choose_usable(preset: Preset) -> tuple[tuple[DetectorUse, ...], list[str]]:
    """The usable detectors of a preset, and sentences that say which others are unavailable and why.

    Raises FaceBlurError, with the reasons, if the preset cannot run.
    """
    usable, reasons = _list_usable(preset)
    try:
        uses, notes = choose_detectors(preset, usable)
    except FaceBlurError as error:
        raise FaceBlurError(" ".join([str(error), *reasons])) from error
    return uses, [*notes, *reasons]


def _list_usable(preset: Preset) -> tuple[set[str], list[str]]:
    """The preset's detectors whose weights and packages are present and valid, and why the others are unusable."""
    names, reasons = set(), []
    for name in list_detectors(preset):
        kind = get_detector(name)
        try:
            for weights in (name, *kind.further_weights):
                get_model_path(weights)
        except FaceBlurError as error:
            reasons.append(str(error))
            continue
        problem = kind.explain_unavailable()
        if problem:
            reasons.append(problem)
        else:
            names.add(name)
    return names, list(dict.fromkeys(reasons))


def open_sessions(networks: Networks, uses: Iterable[DetectorUse], provider: str) -> dict[str, FaceDetector]:
    """One session for all uses of a detector, with the lowest of their thresholds."""
    least: dict[str, float] = {}
    for use in uses:
        lowest = use.threshold if use.edge_threshold is None else min(use.threshold, use.edge_threshold)
        least[use.detector] = min(lowest, least.get(use.detector, lowest))
    return {
        name: networks.open(get_detector(name), get_model_path(name), threshold, provider)
        for name, threshold in least.items()
    }


def find_opinion_weights(preset: Preset) -> tuple[str, list[str]]:
    """The SHA-256 of the weights that give a preset's second opinion, empty if it gets none.

    The sentences warn the user where the weights are missing: then more is covered, never less.
    """
    if not preset.second_opinion:
        return "", []
    try:
        get_model_path(OPINION_MODEL)
    except FaceBlurError as error:
        return "", [f"More things that are not faces may be covered than usual. {error}"]
    return list_models()[OPINION_MODEL].sha256, []


def open_opinion(networks: Networks, preset: Preset) -> ONet | None:
    """The network for a preset's second opinion; None if it gets none or the weights are missing."""
    return networks.open(ONet, get_model_path(OPINION_MODEL)) if find_opinion_weights(preset)[0] else None


def list_used(uses: Iterable[DetectorUse], info: SourceInfo) -> list[ModelUse]:
    """The weights behind these uses, in the form that a document stores."""
    models = list_models()
    longest = max(info.width, info.height)
    return [ModelUse(u.detector, models[u.detector].sha256, min(u.long_side, longest), u.threshold) for u in uses]


def count_processes(preset: Preset, provider: str, wanted: int) -> int:
    """How many processes share a film: `wanted`, or with 0 as many as the machine's cores and memory allow."""
    most = preset.most_processes if provider == CPU else min(PROVIDERS.most_gpu_processes, preset.most_processes)
    return wanted or min(os.cpu_count() or 1, most)
