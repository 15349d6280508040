# SPDX-License-Identifier: GPL-3.0-or-later
"""A track of a new analysis is the same as an earlier one only where it cannot show another person."""

from __future__ import annotations

from blender_faceblur.core.document.matching import is_same_track
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Track


def make_track(frames: range, shift: float = 0.0) -> Track:
    return Track("a", [Sample(f, Ellipse(100 + 3 * f + shift, 50, 20, 26), Evidence.DETECTED, 1.0) for f in frames])


def test_a_track_at_the_same_place_is_the_same() -> None:
    assert is_same_track(make_track(range(5, 30)), make_track(range(5, 30)))
    assert is_same_track(make_track(range(8, 20), 4.0), make_track(range(5, 30)))


def test_a_track_with_one_more_frame_is_another() -> None:
    assert not is_same_track(make_track(range(5, 31)), make_track(range(5, 30)))


def test_a_track_with_one_frame_elsewhere_is_another() -> None:
    track = make_track(range(5, 30))
    track.samples[12] = Sample(17, Ellipse(20, 50, 20, 26), Evidence.DETECTED, 1.0)
    assert not is_same_track(track, make_track(range(5, 30)))
    assert not is_same_track(make_track(range(5, 30), 12.0), make_track(range(5, 30)))


def test_an_empty_track_is_another() -> None:
    assert not is_same_track(Track("a", []), make_track(range(5)))
