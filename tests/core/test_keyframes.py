# SPDX-License-Identifier: GPL-3.0-or-later
"""The mask stays within its bounds in every frame, measured on the drawn Bezier curve."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.cover.keyframes import HANDLE, compute_tolerance_px, simplify
from blender_faceblur.core.types import Ellipse, Evidence, Keyframe, Sample, Track

MARGIN = 1.4
FRAME_SIZE = (1920, 1080)
POINTS = np.array(
    [
        (1, 0),
        (1, HANDLE),
        (HANDLE, 1),
        (0, 1),
        (-HANDLE, 1),
        (-1, HANDLE),
        (-1, 0),
        (-1, -HANDLE),
        (-HANDLE, -1),
        (0, -1),
        (HANDLE, -1),
        (1, -HANDLE),
    ]
)


def make_track(seed: int, count: int = 400, gap: bool = False) -> Track:
    """A face that moves, grows, shrinks and leans, and sometimes jumps or stands still."""
    random = np.random.default_rng(seed)
    time_s = np.arange(count) / 30
    samples = []
    rate, turn = random.uniform(0.1, 2.5, 4), random.uniform(0.05, 1.2)
    size = random.choice([8.0, 30.0, 90.0, 300.0])
    shake = random.choice([0.0, 0.3, 2.0])
    for frame in range(count):
        t = time_s[frame]
        if gap and 100 <= frame < 130:
            continue
        samples.append(
            Sample(
                frame + 5,
                Ellipse(
                    960 + 5 * size * np.sin(rate[0] * t) + random.normal(0, shake) + (frame > 250) * size,
                    540 + 2 * size * np.cos(rate[1] * t) + random.normal(0, shake),
                    size * (1 + 0.4 * np.sin(rate[2] * t)),
                    1.3 * size * (1 + 0.4 * np.sin(rate[3] * t)),
                    2.5 * np.sin(turn * t),
                ),
                Evidence.DETECTED,
                0.9,
            )
        )
    return Track("Face 01", samples)


def draw_points(ellipse: Ellipse) -> NDArray[np.float64]:
    c, s = np.cos(ellipse.angle), np.sin(ellipse.angle)
    centre = ellipse.cx, ellipse.cy
    points: NDArray[np.float64] = POINTS * (ellipse.rx, ellipse.ry) @ np.array([[c, s], [-s, c]]) + centre
    return points


def draw_curve(points: NDArray[np.float64]) -> NDArray[np.float64]:
    t = np.linspace(0, 1, 60, endpoint=False)[:, None]
    parts = []
    for i in range(4):
        a, b, c, d = points[3 * i], points[3 * i + 1], points[3 * i + 2], points[(3 * i + 3) % 12]
        parts.append((1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d)
    return np.concatenate(parts)


def compute_curve(keys: list[Keyframe], frame: int) -> NDArray[np.float64]:
    """The mask's curve in a frame as Blender shows it: points move linearly between keys."""
    later = next(i for i, key in enumerate(keys) if key.source_frame >= frame)
    if keys[later].source_frame == frame:
        return draw_curve(draw_points(keys[later].ellipse))
    one, two = keys[later - 1], keys[later]
    part = (frame - one.source_frame) / (two.source_frame - one.source_frame)
    return draw_curve((1 - part) * draw_points(one.ellipse) + part * draw_points(two.ellipse))


def find_support(ellipse: Ellipse, direction: float) -> float:
    """How far the ellipse reaches in a direction (radians, clockwise from +x): max of p . (cos, sin)."""
    c, s = math.cos(direction), math.sin(direction)
    ca, sa = math.cos(ellipse.angle), math.sin(ellipse.angle)
    along, across = c * ca + s * sa, -c * sa + s * ca
    return ellipse.cx * c + ellipse.cy * s + math.hypot(ellipse.rx * along, ellipse.ry * across)


def measure(curve: NDArray[np.float64], ellipse: Ellipse) -> tuple[float, float]:
    """How far the curve lies inside and outside the ellipse at most, in pixels, measured in 360 directions."""
    directions = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    reach = (curve @ np.stack([np.cos(directions), np.sin(directions)])).max(axis=0)
    wanted = np.array([find_support(ellipse, d) for d in directions])
    return float((wanted - reach).max()), float((reach - wanted).max())


@pytest.mark.parametrize("seed", range(12))
def test_mask_stays_within_its_bounds(seed: int) -> None:
    track = make_track(seed, 300, gap=seed % 2 == 0)
    keys = simplify(track, MARGIN, FRAME_SIZE)
    faces = np.array([(s.ellipse.cx, s.ellipse.cy, s.ellipse.rx, s.ellipse.ry, s.ellipse.angle) for s in track.samples])
    tolerance = compute_tolerance_px(faces)
    for sample, most in list(zip(track.samples, tolerance, strict=True))[::3]:
        wanted = sample.ellipse.scaled(MARGIN)
        into, beyond = measure(compute_curve(keys, sample.source_frame), wanted)
        # Chords of the drawn polygon lie slightly inside the curve.
        chord = 2e-4 * max(wanted.rx, wanted.ry)
        assert into <= chord, f"frame {sample.source_frame}: the mask is {into:.3f} px inside the face"
        assert beyond <= most + chord, f"frame {sample.source_frame}: {beyond:.2f} px outside, allowed {most:.2f}"


def test_spans_have_keys_at_both_ends() -> None:
    track = make_track(1, gap=True)
    frames = {key.source_frame for key in simplify(track, MARGIN, FRAME_SIZE)}
    assert track.list_covered_spans() == [(5, 105), (135, 405)]
    assert {5, 104, 135, 404} <= frames
    assert not frames & set(range(105, 135))


def test_still_and_steadily_moving_faces_need_two_keys() -> None:
    def line(speed: float) -> Track:
        return Track(
            "Face 01", [Sample(f, Ellipse(100 + speed * f, 200, 40, 50), Evidence.DETECTED, 0.9) for f in range(900)]
        )

    assert len(simplify(line(0), MARGIN, FRAME_SIZE)) == 2
    assert len(simplify(line(1.5), MARGIN, FRAME_SIZE)) == 2


def test_one_frame_needs_one_key() -> None:
    track = Track("Face 01", [Sample(7, Ellipse(100, 200, 40, 50), Evidence.DETECTED, 0.9)])
    keys = simplify(track, MARGIN, FRAME_SIZE)
    assert [key.source_frame for key in keys] == [7]
    assert keys[0].ellipse.rx >= 56


def test_half_turns_of_the_angle_do_not_spin_the_mask() -> None:
    samples = [
        Sample(f, Ellipse(100, 100, 40, 60, 0.1 + (np.pi if f % 2 else 0)), Evidence.DETECTED, 0.9) for f in range(60)
    ]
    assert len(simplify(Track("Face 01", samples), MARGIN, FRAME_SIZE)) == 2


def test_a_long_track_is_fast() -> None:
    track = make_track(3, 9000)
    began = time.process_time()
    simplify(track, MARGIN, FRAME_SIZE)
    assert time.process_time() - began < 4
