# SPDX-License-Identifier: GPL-3.0-or-later
"""A face that comes back after it was hidden is linked again only where it looks the same."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from blender_faceblur.core.following import FrameRecord, Row
from blender_faceblur.core.linking import Alike, Place, link_tracks
from blender_faceblur.core.rows import RowTable, Segment
from blender_faceblur.worker.appearance import Appearance, compare, describe
from tools.film import FaceTruth, write_film

SIZE = (320, 240)
BOX = (140.0, 60.0, 180.0, 110.0)


def paint(face: tuple[int, int, int], clothes: tuple[int, int, int], light: float = 1.0) -> np.ndarray:
    """Somebody at BOX."""
    picture = np.full((SIZE[1], SIZE[0], 3), 120, float)
    picture[45:110, 136:184], picture[112:200, 120:200] = face, clothes
    picture += np.random.default_rng(3).normal(0, 4, picture.shape)
    return np.clip(picture * light, 0, 255).astype(np.uint8)


RED, GREEN = ((120, 150, 210), (40, 40, 190)), ((90, 110, 150), (60, 160, 60))


def test_colours_tell_people_apart() -> None:
    one = describe(paint(*RED), BOX)
    assert compare(one, describe(paint(*RED, light=0.95), BOX)) > 0.75
    assert compare(one, describe(paint(*GREEN), BOX)) < 0.5
    # What is outside the picture says nothing.
    edge = describe(paint(*RED)[:110], BOX)
    assert not edge[1].any() and compare(one, edge) > 0.75
    assert compare(describe(paint(*RED)[:1, :1], BOX), one) == 1.0


def test_a_face_comes_back_as_the_same_where_it_looks_the_same(tmp_path: Path) -> None:
    def link(second: tuple[tuple[int, int, int], tuple[int, int, int]], alike: Alike | None = None) -> int:
        table = RowTable([Segment(0, 110)])
        for frame in range(110):
            number = 0 if frame < 30 else 1
            rows = [Row(number, np.array(BOX), 0.9, None, 2)] if frame < 30 or frame >= 80 else []
            table.add(0, FrameRecord(frame, False, False, rows))
        if alike is None:
            film = tmp_path / "film.mkv"
            painted = [paint(*RED), paint(*second)]
            drawn: list[tuple[np.ndarray, list[FaceTruth]]] = [(painted[f >= 55], []) for f in range(110)]
            write_film(film, drawn, width=SIZE[0], height=SIZE[1], frame_rate=Fraction(25), frame_count=110, crf=12)
            with Appearance(SimpleNamespace(source=str(film), files=[], frame_rate=[])) as appearance:
                return len(link_tracks(table, 110, SIZE, 25, 0.5, False, appearance.are_alike).tracks)
        return len(link_tracks(table, 110, SIZE, 25, 0.5, False, alike).tracks)

    assert link(RED) == 1 and link(GREEN) == 2
    asked: list[tuple[Place, Place]] = []

    def refuse(one: Place, other: Place) -> bool:
        asked.append((one, other))
        return False

    assert link(RED, refuse) == 2
    assert asked == [((29, BOX), (80, BOX))]
