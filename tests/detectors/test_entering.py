# SPDX-License-Identifier: GPL-3.0-or-later
"""A face that comes in at the picture's edge, while another one hides it, is covered from the beginning."""

from __future__ import annotations

import numpy as np

from tools.film import draw_frame

from .engine import analyse, compute_covered_share

WIDTH, HEIGHT, LENGTH = 1280, 720, 150
FIRST, COUNT = 36, 42
LEAST_VISIBLE = 0.1


def test_the_demo_films_second_face_is_covered_where_it_comes_in_behind_the_first() -> None:
    drawn = [draw_frame(frame / LENGTH, WIDTH, HEIGHT, "demo") for frame in range(FIRST, FIRST + COUNT)]
    document = analyse("balanced", [picture for picture, _ in drawn], (WIDTH, HEIGHT), COUNT)
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH] + 0.5
    measured = 0
    for frame, (_, faces) in enumerate(drawn):
        for face in faces:
            if face.face != 1 or face.visible < LEAST_VISIBLE or FIRST + frame > 62:
                continue
            e = face.ellipse
            c, s = np.cos(e.angle), np.sin(e.angle)
            along, across = (columns - e.cx) * c + (rows - e.cy) * s, (rows - e.cy) * c - (columns - e.cx) * s
            inside = np.hypot(along / e.rx, across / e.ry) <= 1
            points = np.stack([columns[inside], rows[inside]], axis=1)
            measured += 1
            assert compute_covered_share(document, frame, points) >= 0.9, f"frame {FIRST + frame}"
    assert measured >= 7
