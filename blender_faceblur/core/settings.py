# SPDX-License-Identifier: GPL-3.0-or-later
"""What the presets mean: which detectors at which size and threshold, and what is done with doubts."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .types import FaceBlurError

DEFAULT_EXPANSION = 1.4
EXPANSIONS = (1.0, 3.0)
"""Least and greatest safety expansion that is taken."""


@dataclass(frozen=True, slots=True)
class DetectorUse:
    """A detector by name, the long side of its picture (never larger than the source's own), its threshold."""

    detector: str
    long_side: int
    threshold: float


@dataclass(frozen=True, slots=True)
class Preset:
    """`strong` is the confidence from which a hit can begin a track; weaker hits only continue or support one.

    `most_processes` keeps all of them together below 700 MB (measured at 1080p: 185 MB each, 258 MB for thorough).
    """

    name: str
    detectors: tuple[DetectorUse, ...]
    without_yunet: tuple[DetectorUse, ...]
    strong: float
    most_processes: int
    cover_doubts: bool = False
    note: str = ""


PRESETS = (
    Preset(
        "fast",
        (DetectorUse("yunet_n", 960, 0.25),),
        (DetectorUse("centerface", 640, 0.25),),
        strong=0.5,
        most_processes=3,
        note="The fast preset uses one detector: dark and defocused faces may be missed. Balanced finds more.",
    ),
    Preset(
        "balanced",
        (DetectorUse("centerface", 640, 0.25), DetectorUse("yunet_n", 960, 0.25)),
        (DetectorUse("centerface", 640, 0.25), DetectorUse("centerface", 960, 0.25)),
        strong=0.5,
        most_processes=3,
    ),
    Preset(
        "thorough",
        (
            DetectorUse("centerface", 960, 0.2),
            DetectorUse("centerface", 480, 0.2),
            DetectorUse("yunet_n", 1280, 0.2),
            DetectorUse("yunet_n", 640, 0.2),
        ),
        (
            DetectorUse("centerface", 1280, 0.2),
            DetectorUse("centerface", 960, 0.2),
            DetectorUse("centerface", 480, 0.2),
        ),
        strong=0.4,
        most_processes=2,
        cover_doubts=True,
    ),
)


def find_preset(name: str) -> Preset:
    for preset in PRESETS:
        if preset.name == name:
            return preset
    raise FaceBlurError(f"There is no preset '{name}'; there are {', '.join(p.name for p in PRESETS)}.")


def choose_detectors(preset: Preset, available: Collection[str]) -> tuple[tuple[DetectorUse, ...], list[str]]:
    """The detectors to run out of those whose weights are there, and sentences that tell the user what is lost.

    Raises FaceBlurError when the preset cannot be run at all.
    """
    notes = [preset.note] if preset.note else []
    if all(use.detector in available for use in preset.detectors):
        return preset.detectors, notes
    if all(use.detector in available for use in preset.without_yunet):
        sizes = " and ".join(str(use.long_side) for use in preset.without_yunet)
        notes.append(
            f"The weights of the YuNet detector are not there: CenterFace ran alone, at {sizes} pixels. "
            "Large profiles and half-hidden faces may be missed."
        )
        return preset.without_yunet, notes
    raise FaceBlurError(
        "The weights of the CenterFace detector are missing: in a checkout run 'build.py models', else install the "
        "extension again.")
