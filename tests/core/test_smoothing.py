# SPDX-License-Identifier: GPL-3.0-or-later
"""Smoothing steadies a track and never uncovers a detected face."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.geometry import (
    FACE_SHAPE,
    compute_roll,
    compute_supports,
    fit_ellipses,
    fit_faces,
    grow_to_contain,
)
from blender_faceblur.core.tracking.averaging import Runs
from blender_faceblur.core.tracking.smoothing import SMOOTHING, fill_rolls, smooth_ellipses

DIRECTIONS = np.linspace(0, 2 * np.pi, 180, endpoint=False)


def make_boxes(seed: int, count: int = 200) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    random = np.random.default_rng(seed)
    t = np.arange(count) / 25
    centre = np.stack([500 + 200 * np.sin(t), 300 + 50 * np.cos(2 * t)], axis=1) + random.normal(0, 3, (count, 2))
    half = np.stack([30 + 8 * np.sin(t), 40 + 9 * np.cos(t)], axis=1) * random.uniform(0.9, 1.1, (count, 2))
    return np.concatenate([centre - half, centre + half], axis=1), random.uniform(-1.2, 1.2) * np.sin(t)


@pytest.mark.parametrize("seed", range(5))
def test_smoothed_ellipses_contain_the_detected_ones_but_for_their_noise(seed: int) -> None:
    boxes, rolls = make_boxes(seed)
    smooth = smooth_ellipses(fit_ellipses(boxes, rolls), np.ones(len(boxes)), (1280, 720), 25)
    raw = fit_ellipses(boxes, rolls)
    raw[:, 2:4] *= 1 - SMOOTHING.noise_share
    assert (compute_supports(smooth, DIRECTIONS) >= compute_supports(raw, DIRECTIONS) - 0.06).all()


def test_uncertain_ellipses_are_contained_completely() -> None:
    raw = fit_ellipses(*make_boxes(2))
    smooth = smooth_ellipses(raw, np.zeros(len(raw)), (1280, 720), 25)
    assert (compute_supports(smooth, DIRECTIONS) >= compute_supports(raw, DIRECTIONS) - 0.06).all()


def test_smoothing_steadies_a_shaking_track() -> None:
    boxes, rolls = make_boxes(1)
    shake = np.abs(np.diff(fit_ellipses(boxes, rolls)[:, :4], n=2, axis=0)).mean()
    left = np.abs(
        np.diff(smooth_ellipses(fit_ellipses(boxes, rolls), np.ones(len(boxes)), (1280, 720), 25)[:, :4], n=2, axis=0)
    ).mean()
    assert left < shake / 5


def test_a_shaking_track_becomes_a_few_straight_segments_near_it() -> None:
    boxes, rolls = make_boxes(1, 500)
    raw, smooth = (
        fit_ellipses(boxes, rolls),
        smooth_ellipses(fit_ellipses(boxes, rolls), np.ones(len(boxes)), (1280, 720), 25),
    )
    turns = np.abs(np.diff(smooth[:, :2], n=2, axis=0)).max(axis=1) > 0.02
    assert 10 < turns.sum() < 60
    growth = np.sqrt(np.prod(smooth[:, 2:4], axis=1) / np.prod(raw[:, 2:4], axis=1))
    assert np.median(growth) < 1.15 and growth.max() < 1.5


def test_a_face_fills_the_lower_part_of_its_box_whichever_way_it_leans() -> None:
    box, down = np.array([[100.0, 100.0, 160.0, 180.0]]), FACE_SHAPE.down * 80
    upright = [130, 140 + down, 30 * FACE_SHAPE.width, 40 * FACE_SHAPE.height, 0]
    np.testing.assert_allclose(fit_faces(box, np.zeros(1)), [upright])
    hanging = [130, 140 - down, *upright[2:]]
    np.testing.assert_allclose(fit_faces(box, np.zeros(1), is_upside_down=True), [hanging])
    lying = fit_faces(np.array([[100.0, 100.0, 180.0, 160.0]]), np.array([np.pi / 2]))
    np.testing.assert_allclose(lying, [[140 - down, 130, *upright[2:4], np.pi / 2]])


def test_upright_face_fills_its_box_and_leaning_one_covers_most_of_it() -> None:
    box = np.array([[100.0, 100.0, 160.0, 180.0]])
    np.testing.assert_allclose(fit_ellipses(box, np.zeros(1)), [[130, 140, 30, 40, 0]])
    lying = fit_ellipses(box, np.array([np.pi / 2]))
    np.testing.assert_allclose(lying, [[130, 140, 40, 30, np.pi / 2]])
    leaning = fit_ellipses(box, np.array([1.0]))
    inner = np.array([[130, 140, 27, 36, 0.0]])
    assert (compute_supports(leaning, DIRECTIONS) >= compute_supports(inner, DIRECTIONS) - 0.02).all()


def test_growth_is_sufficient_and_not_wasteful() -> None:
    inner, outer = np.array([[10.0, 5.0, 20.0, 26.0, 0.3]]), np.array([[8.0, 5.0, 22.0, 22.0, 0.0]])
    grown = grow_to_contain(outer, inner)
    spare = compute_supports(grown, DIRECTIONS) - compute_supports(inner, DIRECTIONS)
    assert spare.min() >= -1e-3
    assert spare.min() < 0.5
    np.testing.assert_array_equal(grow_to_contain(grown, inner)[:, :2], outer[:, :2])


def test_roll_turns_clockwise_on_the_screen() -> None:
    upright = np.array([(-10, -10), (10, -10), (0, 0), (-8, 10), (8, 10)], float)
    for angle in (0.0, 0.4, -0.7, 1.5):
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        marks = tuple((float(x), float(y)) for x, y in upright @ turn)
        assert compute_roll(marks) == pytest.approx(angle, abs=1e-6)


def test_unknown_rolls_are_interpolated() -> None:
    rolls = np.full(100, np.nan)
    rolls[:20], rolls[80:] = 0.0, 0.6
    filled = fill_rolls(rolls, np.ones(100), 10)
    assert np.isfinite(filled).all()
    assert filled[5] == pytest.approx(0, abs=0.05) and filled[95] == pytest.approx(0.6, abs=0.05)
    assert 0.2 < filled[50] < 0.4
    np.testing.assert_array_equal(fill_rolls(np.full(3, np.nan), np.ones(3), 10), np.zeros(3))


def test_tracks_are_smoothed_together_as_each_alone() -> None:
    rng = np.random.default_rng(3)
    lengths, tracks = (1, 300, 2, 3, 5, 9, 12, 60, 4, 150), []
    for length in lengths:
        motion = np.cumsum(rng.normal(0, 3, (length, 2)), axis=0) + rng.uniform(100, 900, 2)
        axes = rng.uniform(18, 60, 2) + rng.normal(0, 1, (length, 2))
        tracks.append(np.column_stack([motion, axes, np.cumsum(rng.normal(0, 0.4, length)) + 40]))
    certainty = [rng.uniform(0, 1, length) for length in lengths]
    together = smooth_ellipses(np.concatenate(tracks), np.concatenate(certainty), (1280, 720), 25, Runs(lengths))
    alone = [smooth_ellipses(track, sure, (1280, 720), 25) for track, sure in zip(tracks, certainty, strict=True)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=0, atol=1e-9)
