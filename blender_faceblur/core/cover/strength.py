# SPDX-License-Identifier: GPL-3.0-or-later
"""Rate how well a cover hides a person's identity, from its effect, its samples, and measurements."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import FaceBlurError

MEASURED_PEOPLE = 150
"""How many people took part in the measurement (docs/strength.md)."""


@dataclass(frozen=True, slots=True)
class StrengthRating:
    """`word` is "strong" or "weak"; `reason` is a sentence for the panel."""

    word: str
    reason: str

    @property
    def is_strong(self) -> bool:
        return self.word == "strong"


@dataclass(frozen=True, slots=True)
class _Leak:
    """The most people in a hundred that any attack identified correctly, as in docs/strength.md.

    `picture` from one picture and `shot` from a moving shot, if the attacker has another photograph of everyone; None
    if that is no better than guessing. `own` if the attacker has the same photograph in different light.
    """

    picture: float | None
    shot: float | None
    own: float


_MEASURED: dict[str, dict[int, _Leak]] = {
    "mosaic": {
        2: _Leak(picture=4.7, shot=4.0, own=8.0),
        3: _Leak(picture=None, shot=None, own=23.0),
        4: _Leak(picture=4.7, shot=4.0, own=34.0),
        5: _Leak(picture=8.0, shot=5.3, own=53.0),
        6: _Leak(picture=7.3, shot=6.0, own=83.0),
        8: _Leak(picture=10.7, shot=10.0, own=100.0),
        12: _Leak(picture=29.3, shot=34.0, own=100.0),
        16: _Leak(picture=48.0, shot=49.3, own=100.0),
    },
    "blur": {
        2: _Leak(picture=None, shot=None, own=10.0),
        3: _Leak(picture=6.0, shot=4.0, own=31.0),
        4: _Leak(picture=7.3, shot=6.0, own=60.0),
        5: _Leak(picture=6.0, shot=6.7, own=81.0),
        6: _Leak(picture=12.7, shot=9.3, own=98.0),
        8: _Leak(picture=17.3, shot=25.3, own=100.0),
        12: _Leak(picture=39.3, shot=46.0, own=100.0),
        16: _Leak(picture=72.7, shot=80.7, own=100.0),
    },
    "gaussian": {
        4: _Leak(picture=4.0, shot=None, own=21.0),
        6: _Leak(picture=6.7, shot=None, own=51.0),
        8: _Leak(picture=10.0, shot=None, own=92.0),
    },
}

_EMPTY = {
    "solid": "Nothing of the face is left: recognition was no better than guessing",
    "erase": "Drawn from the surroundings of the face: recognition was no better than guessing",
}
_NOT_MEASURED = {
    "image": StrengthRating("strong", "The picture and its colour leave nothing of the face"),
}


def rate_effect(kind: str, samples_per_face: float) -> StrengthRating:
    """The verdict on an effect with this many samples across a face. Raises FaceBlurError for an unknown effect.

    Only effects that leave nothing of the face are strong: no measured number of samples withstood every attack.
    Between two measured numbers the larger one counts, because it shows more.
    """
    if kind in _EMPTY:
        return StrengthRating("strong", f"{_EMPTY[kind]} ({MEASURED_PEOPLE} people)")
    if kind in _NOT_MEASURED:
        return _NOT_MEASURED[kind]
    if kind not in _MEASURED:
        raise FaceBlurError(f"There is no measurement of the effect '{kind[:40]}'.")
    leaks = _MEASURED[kind]
    samples = min((count for count in leaks if count >= samples_per_face), default=max(leaks))
    leak = leaks[samples]
    if leak.picture is None:
        return StrengthRating(
            "weak",
            f"At {samples} samples {leak.own:.0f} of 100 people were recognised by comparing with "
            "the very same photograph (guessing: 1)",
        )
    of_shot = f", {leak.shot:.0f} from a moving shot" if leak.shot is not None else ""
    return StrengthRating(
        "weak",
        f"At {samples} samples up to {leak.picture:.0f} of 100 people were recognised from one "
        f"picture{of_shot} (guessing: {100 / MEASURED_PEOPLE:.1f})",
    )
