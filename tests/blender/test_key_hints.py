# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys in the status bar leave room for Blender's messages."""

from __future__ import annotations

import pytest

from blender_faceblur.blender.correction.status import HINTS, choose_hints


def measure(words: str) -> float:
    return 6.0 * len(words)


def compute_width(unit_px: float = 20.0, scale: float = 1.0) -> float:
    return sum(scale * measure(hint.words) + (len(hint.icons) + 0.8) * unit_px for hint in HINTS)


def test_all_keys_are_shown_where_they_fit() -> None:
    assert choose_hints(HINTS, compute_width(), 20.0, measure) == list(HINTS)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_keys_never_take_more_room_than_they_may(scale: float) -> None:
    for room in range(0, round(compute_width(20 * scale, scale)), 25):
        chosen = choose_hints(HINTS, room, 20 * scale, lambda words: scale * measure(words))
        width = sum(scale * measure(hint.words) + (len(hint.icons) + 0.8) * 20 * scale for hint in chosen)
        assert width <= room and len(chosen) < len(HINTS)


def test_the_most_important_keys_stay_in_their_order() -> None:
    chosen = choose_hints(HINTS, 0.7 * compute_width(), 20.0, measure)
    assert [hint.words for hint in chosen] == ["Choose Face", "Move", "Switch Off", "Add Face"]
    assert choose_hints(HINTS, 20.0, 20.0, measure) == []
