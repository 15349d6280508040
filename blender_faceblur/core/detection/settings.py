# SPDX-License-Identifier: GPL-3.0-or-later
"""What the presets mean: which detectors at which size and threshold, and what is done with doubts."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..types import FaceBlurError

DEFAULT_MARGIN = 1.4
MARGINS = (1.0, 3.0)
"""Least and greatest safety expansion that is taken."""

HEAD_MARGIN = 1.8
"""The expansion that also covers ears and short hair, as seen on real clips; long hair is longer."""


@dataclass(frozen=True, slots=True)
class DetectorUse:
    """A detector by name, the long side of its picture (never larger than the source's own), its threshold.

    `turns` are degrees by which the picture is turned clockwise, one pass each, for faces that do not stand upright.
    With `tiles` = n above 1 it sees n x n overlapping parts of the picture, each enlarged n times, for tiny faces;
    that takes the time of n x n pictures and the memory of one. Faces larger than `largest`, a share of the picture's
    long side, are left to the other uses: turned and enlarged pictures show many more things that look like faces.
    """

    detector: str
    long_side: int
    threshold: float
    each_look: int = 1
    """It runs at every so manyth look only, and at those that something called for."""
    turns: tuple[int, ...] = (0,)
    tiles: int = 1
    largest: float = 1.0


@dataclass(frozen=True, slots=True)
class Preset:
    """`strong` is the confidence from which a hit can begin a track; weaker hits only continue or support one.

    `meaning` is for people. `most_processes` bounds the memory of all of them together (measured with two at 1080p,
    with the one that leads: balanced 550 MB, thorough 740 MB; ensemble alone at 720p 620 MB). What a preset needs
    `on_request` is fetched only for those who ask for it, and any of its detectors may be missing; the other presets
    run with all of their detectors or not at all.
    """

    name: str
    meaning: str
    detectors: tuple[DetectorUse, ...]
    strong: float
    most_processes: int
    cover_uncertain: bool = False
    on_request: bool = False
    note: str = ""
    detect_every_s: float = 0.0
    """The detectors look at least so often; 0: at every frame."""


LYING = (35, 90, 145, 180, -145, -90, -35)
"""Turns for faces that lie, stand on their heads or lean more than small faces may: about 30 degrees."""

PRESETS = (
    Preset(
        "fast",
        "One detector. Dark and blurred faces may be missed",
        (DetectorUse("yunet_2023mar", 640, 0.2),),
        strong=0.5,
        most_processes=3,
        detect_every_s=0.125,
        note="The fast preset uses one detector: dark and defocused faces may be missed. Balanced finds more.",
    ),
    Preset(
        "balanced",
        "Two detectors at every third frame and where faces move much; followed in between",
        (DetectorUse("centerface", 640, 0.25, each_look=2), DetectorUse("yunet_2023mar", 960, 0.25)),
        strong=0.5,
        most_processes=3,
        detect_every_s=0.125,
    ),
    Preset(
        "thorough",
        "More looks at every frame, also turned and enlarged; covers what is only perhaps a face. Slow",
        (
            DetectorUse("centerface", 960, 0.2),
            DetectorUse("centerface", 480, 0.2),
            DetectorUse("yunet_2023mar", 1280, 0.2),
            DetectorUse("yunet_2023mar", 640, 0.2),
            DetectorUse("yunet_2023mar", 320, 0.4),
            # From about 50 pixels in 1280 on, upright looks find leaning faces too.
            # Turned by 35 degrees this is as large as the largest of the others, and needs no more memory.
            DetectorUse("yunet_2023mar", 864, 0.5, each_look=2, turns=LYING, largest=0.04),
            DetectorUse("yunet_2023mar", 960, 0.5, each_look=2, tiles=2, largest=0.03),
        ),
        strong=0.4,
        most_processes=2,
        cover_uncertain=True,
    ),
    Preset(
        "ensemble",
        "The popular recipe: five detectors on every frame. Very slow, and covers much that is no face",
        (
            DetectorUse("ssd_res10", 640, 0.25),
            DetectorUse("blazeface_short", 1280, 0.2),
            DetectorUse("blazeface_full", 1280, 0.2),
            DetectorUse("yunet_2023mar", 1280, 0.3),
            DetectorUse("haar_frontal", 1280, 0.0),
            DetectorUse("haar_profile", 1280, 0.0),
        ),
        strong=0.4,
        most_processes=1,
        cover_uncertain=True,
        on_request=True,
        note="The ensemble preset is the popular recipe. Thorough is quicker and covers less that is no face.",
    ),
)

PLATES = Preset(
    "plates",
    "Number plates, at every third frame; followed in between",
    # Plates of 30 pixels and more are found, at most half as wide as a picture of 640 (see `detectors.lpd_yunet`).
    (
        DetectorUse("lpd_yunet", 640, 0.3),
        DetectorUse("lpd_yunet", 320, 0.3),
        DetectorUse("lpd_yunet", 1280, 0.4, each_look=2),
    ),
    strong=0.4,
    most_processes=2,
    detect_every_s=0.125,
)
"""Not one to choose: what looks for number plates, beside the preset that looks for faces."""

_OWN = "own:"
"""Begins the name of a preset that a user puts together."""

_USE = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,40})(@(?P<side>[0-9]{2,4}))?(:(?P<threshold>0(\.[0-9]{1,4})?))?")
_USUAL_SIDE, _SIDES = 960, (96, 4096)


FORMER_NAMES = {"five": "ensemble"}
"""Names of presets in files and commands of 0.1.0, and what they are called now."""


def get_preset(name: str) -> Preset:
    """The preset of that name, also one that `name_ensemble` has named. Raises FaceBlurError where there is none."""
    for preset in (*PRESETS, PLATES):
        if preset.name == FORMER_NAMES.get(name, name):
            return preset
    if not name.startswith(_OWN):
        raise FaceBlurError(f"There is no preset '{name[:80]}'; there are {', '.join(p.name for p in PRESETS)}.")
    uses = tuple(_build_use(specification) for specification in name.removeprefix(_OWN).split("+"))
    if len({(use.detector, use.long_side) for use in uses}) != len(uses):
        raise FaceBlurError("A detector is named twice at the same size.")
    return Preset(
        name, "Detectors of your own choice at every frame", uses, strong=0.5, most_processes=2 if len(uses) < 3 else 1
    )


def name_ensemble(specifications: Collection[str]) -> str:
    """The name of the preset that runs these detectors at every frame. Raises FaceBlurError.

    Each is NAME[@SIDE][:THRESHOLD]: the long side of its picture in pixels, and the least confidence.
    """
    return get_preset(_OWN + "+".join(specifications)).name


def _build_use(specification: str) -> DetectorUse:
    part = _USE.fullmatch(specification)
    if part is None:
        raise FaceBlurError(f"'{specification[:80]}' is no detector: NAME, NAME@SIDE or NAME@SIDE:THRESHOLD.")
    known = [use for preset in PRESETS for use in preset.detectors if use.detector == part["name"]]
    side = int(part["side"] or _USUAL_SIDE)
    if not _SIDES[0] <= side <= _SIDES[1]:
        raise FaceBlurError(f"The size of {part['name']} must lie between {_SIDES[0]} and {_SIDES[1]}.")
    usual = known[0].threshold if known else 0.25
    return DetectorUse(part["name"], side, float(part["threshold"]) if part["threshold"] else usual)


def list_detectors(preset: Preset) -> list[str]:
    """The names of all detectors that the preset may run, each once, in its order."""
    return list(dict.fromkeys(use.detector for use in preset.detectors))


def choose_detectors(preset: Preset, available: Collection[str]) -> tuple[tuple[DetectorUse, ...], list[str]]:
    """The detectors to run out of those that are available, and sentences that warn the user of what is lost.

    Raises FaceBlurError when a preset that needs all of its detectors lacks one, or when none is there.
    """
    notes = [preset.note] if preset.note else []
    uses = tuple(use for use in preset.detectors if use.detector in available)
    missing = ", ".join(name for name in list_detectors(preset) if name not in available)
    if missing and not preset.on_request:
        raise FaceBlurError(f"The preset '{preset.name}' needs detectors that are missing: {missing}.")
    if not uses:
        raise FaceBlurError(f"None of the detectors of the preset '{preset.name}' is there.")
    if missing:
        notes.append(f"The preset '{preset.name}' ran without {missing}: faces may be missed.")
    return uses, notes
