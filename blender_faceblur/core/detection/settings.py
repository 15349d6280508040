# SPDX-License-Identifier: GPL-3.0-or-later
"""The presets: which detectors run at which size and threshold, and whether uncertain faces are covered."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..types import FaceBlurError

DEFAULT_MARGIN = 1.4
MARGINS = (1.0, 3.0)
"""The least and the greatest margin that is accepted."""

HEAD_MARGIN = 1.8
"""A margin that also covers ears and short hair, as measured on real clips; long hair needs more."""


@dataclass(frozen=True, slots=True)
class DetectorUse:
    """A detector's name, the long side of its picture (never larger than the source's own), and its threshold.

    `turns` are clockwise rotations of the picture in degrees, one detection pass each, for faces that are not upright.
    With `tiles` = n above 1 the detector sees n x n overlapping parts of the picture, each enlarged n times, for tiny
    faces; that takes the time of n x n pictures and the memory of one. Faces larger than `largest`, a share of the
    picture's long side, are left to the other uses: many more things look like faces in rotated and enlarged pictures.
    """

    detector: str
    long_side: int
    threshold: float
    each_look: int = 1
    """It runs only at regular detection passes whose number is a multiple of this, and whenever all detectors are
    needed."""
    turns: tuple[int, ...] = (0,)
    tiles: int = 1
    largest: float = 1.0
    edge_threshold: float | None = None
    """The threshold for boxes that touch the picture's edge, which cuts off faces that come in; None: the same."""


@dataclass(frozen=True, slots=True)
class Preset:
    """`strong_confidence` is the confidence from which a detection can start a track; weaker ones only continue
    or support one.

    `meaning` is shown to the user. `most_processes` limits the memory of all processes together (measured with two at
    1080p, including the leading process: balanced 550 MB, thorough 740 MB; ensemble alone at 720p 620 MB). The models
    of a preset that is available `on_request` are fetched only for users who ask for it, and any of its detectors may
    be missing; the other presets run with all of their detectors or not at all.
    """

    name: str
    meaning: str
    detectors: tuple[DetectorUse, ...]
    strong_confidence: float
    most_processes: int
    cover_uncertain: bool = False
    on_request: bool = False
    note: str = ""
    second_opinion: bool = False
    """Whether another network looks at what the detectors find; what it and all other evidence contradict is not
    covered. The evidence is calibrated for these detectors (see `tracking.face_probability`)."""
    seeks_turned: bool = False
    """Whether faces that lie or stand on their heads are sought (see `detection.turned`)."""
    seeks_enlarged: bool = False
    """Whether faces that only an enlarged picture shows are sought (see `detection.enlarged`); the second opinion must
    confirm them."""
    detect_every_s: float = 0.0
    """Longest interval, in seconds, between regular detection passes; 0: detectors run on every frame."""


LYING_TURNS = (35, 90, 145, 180, -145, -90, -35)
"""Rotations for faces that lie, are upside down, or lean by more than about 30 degrees, the limit for small faces."""

PRESETS = (
    Preset(
        "fast",
        "One detector. May miss dark and blurred faces",
        (DetectorUse("yunet_2023mar", 640, 0.2),),
        strong_confidence=0.5,
        most_processes=3,
        seeks_turned=True,
        detect_every_s=0.125,
        note="The fast preset uses one detector and may miss dark and defocused faces. Balanced finds more.",
    ),
    Preset(
        "balanced",
        "Two detectors at every third frame and where faces move fast; optical flow tracks them in between",
        (
            DetectorUse("centerface", 640, 0.25, each_look=2),
            DetectorUse("yunet_2023mar", 960, 0.25, edge_threshold=0.2),
        ),
        strong_confidence=0.5,
        most_processes=3,
        second_opinion=True,
        seeks_turned=True,
        seeks_enlarged=True,
        detect_every_s=0.125,
    ),
    Preset(
        "thorough",
        "More detection passes at every frame, some rotated or enlarged. Also covers uncertain faces. Slow",
        (
            DetectorUse("centerface", 960, 0.2),
            DetectorUse("centerface", 480, 0.2),
            DetectorUse("yunet_2023mar", 1280, 0.2),
            DetectorUse("yunet_2023mar", 640, 0.2),
            DetectorUse("yunet_2023mar", 320, 0.4),
            # Upright passes also find leaning faces, from about 50 pixels in 1280.
            # Rotated by 35 degrees, this picture is as large as the largest of the others and needs no more memory.
            DetectorUse("yunet_2023mar", 864, 0.5, each_look=2, turns=LYING_TURNS, largest=0.04),
            DetectorUse("yunet_2023mar", 960, 0.5, each_look=2, tiles=2, largest=0.03),
        ),
        strong_confidence=0.4,
        most_processes=2,
        cover_uncertain=True,
        seeks_turned=True,
    ),
    Preset(
        "ensemble",
        "The popular recipe: five detectors at every frame. Very slow, and covers many things that are not faces",
        (
            DetectorUse("ssd_res10", 640, 0.25),
            DetectorUse("blazeface_short", 1280, 0.2),
            DetectorUse("blazeface_full", 1280, 0.2),
            DetectorUse("yunet_2023mar", 1280, 0.3),
            DetectorUse("haar_frontal", 1280, 0.0),
            DetectorUse("haar_profile", 1280, 0.0),
        ),
        strong_confidence=0.4,
        most_processes=1,
        cover_uncertain=True,
        on_request=True,
        note="The ensemble preset is the popular recipe. Thorough is faster and covers fewer things by mistake.",
    ),
)

PLATES = Preset(
    "plates",
    "Number plates, at every third frame; optical flow tracks them in between",
    # Finds plates from 30 pixels up to half the width of a picture of 640 (see `detectors.lpd_yunet`).
    (
        DetectorUse("lpd_yunet", 640, 0.3),
        DetectorUse("lpd_yunet", 320, 0.3),
        DetectorUse("lpd_yunet", 1280, 0.4, each_look=2),
    ),
    strong_confidence=0.4,
    most_processes=2,
    detect_every_s=0.125,
)
"""Detects number plates, in addition to the preset for faces. Users cannot choose it as their preset."""

TEXT = Preset(
    "text",
    "Lines of text, four times a second; optical flow tracks them in between",
    (DetectorUse("ppocr_text", 960, 0.5), DetectorUse("ppocr_text", 1600, 0.5, each_look=2)),
    strong_confidence=0.6,
    most_processes=2,
    detect_every_s=0.25,
)
"""Detects text, in addition to the preset for faces. Users cannot choose it as their preset."""

_OWN = "own:"
"""Prefix of the names of presets that users put together."""

_USE = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,40})(@(?P<side>[0-9]{2,4}))?(:(?P<threshold>0(\.[0-9]{1,4})?))?")

_USUAL_SIDE = 960
"""The long side in pixels of a named detector's picture where the user gives none."""

_SIDES = (96, 4096)
"""The least and the greatest long side that a user may give."""


FORMER_NAMES = {"five": "ensemble"}
"""Names of presets in files and commands of 0.1.0, and their present names."""


def get_preset(name: str) -> Preset:
    """The preset of that name, which may come from `name_ensemble`. Raises FaceBlurError if there is none."""
    for preset in (*PRESETS, PLATES, TEXT):
        if preset.name == FORMER_NAMES.get(name, name):
            return preset
    if not name.startswith(_OWN):
        raise FaceBlurError(f"There is no preset '{name[:80]}'. Choose one of {', '.join(p.name for p in PRESETS)}.")
    uses = tuple(_build_use(specification) for specification in name.removeprefix(_OWN).split("+"))
    if len({(use.detector, use.long_side) for use in uses}) != len(uses):
        raise FaceBlurError("A detector is listed twice at the same size. Remove one, or give it another size.")
    return Preset(
        name,
        "Your own choice of detectors, at every frame",
        uses,
        strong_confidence=0.5,
        most_processes=2 if len(uses) < 3 else 1,
    )


def name_ensemble(specifications: Collection[str]) -> str:
    """The name of the preset that runs these detectors at every frame. Raises FaceBlurError if one is invalid.

    Each is NAME[@SIDE][:THRESHOLD]: the long side of its picture in pixels, and the minimum confidence.
    """
    return get_preset(_OWN + "+".join(specifications)).name


def is_named_ensemble(name: str) -> bool:
    """Whether the name of a preset comes from `name_ensemble`."""
    return name.startswith(_OWN)


def _build_use(specification: str) -> DetectorUse:
    part = _USE.fullmatch(specification)
    if part is None:
        raise FaceBlurError(f"'{specification[:80]}' is not a detector. Write NAME, NAME@SIDE or NAME@SIDE:THRESHOLD.")
    known = [use for preset in PRESETS for use in preset.detectors if use.detector == part["name"]]
    side = int(part["side"] or _USUAL_SIDE)
    if not _SIDES[0] <= side <= _SIDES[1]:
        raise FaceBlurError(f"The size of {part['name']} must be between {_SIDES[0]} and {_SIDES[1]} pixels.")
    usual = known[0].threshold if known else 0.25
    return DetectorUse(part["name"], side, float(part["threshold"]) if part["threshold"] else usual)


def list_detectors(preset: Preset) -> list[str]:
    """The names of all detectors that the preset may run, each once, in its order."""
    return list(dict.fromkeys(use.detector for use in preset.detectors))


def choose_detectors(preset: Preset, available: Collection[str]) -> tuple[tuple[DetectorUse, ...], list[str]]:
    """The available detectors to run, and sentences that warn the user of what the missing ones cost.

    Raises FaceBlurError if a preset that needs all of its detectors lacks one, or if none is available.
    """
    notes = [preset.note] if preset.note else []
    uses = tuple(use for use in preset.detectors if use.detector in available)
    missing = ", ".join(name for name in list_detectors(preset) if name not in available)
    if missing and not preset.on_request:
        raise FaceBlurError(f"The preset '{preset.name}' needs detectors that are missing: {missing}.")
    if not uses:
        raise FaceBlurError(f"None of the detectors of the preset '{preset.name}' is installed. Choose another preset.")
    if missing:
        notes.append(f"The preset '{preset.name}' ran without {missing} and may have missed faces.")
    return uses, notes
