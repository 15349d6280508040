# SPDX-License-Identifier: GPL-3.0-or-later
"""The guessed size of a face that an editor adds by a click."""

from __future__ import annotations

from fractions import Fraction

import pytest

from blender_faceblur.core.document.size_guess import guess_face
from blender_faceblur.core.types import Ellipse, Evidence, Sample, Shot, SourceInfo, Track, TrackDocument, TrackKind


def build_document(*tracks: Track, shots: tuple[Shot, ...] = ()) -> TrackDocument:
    source = SourceInfo("film.mp4", "movie", 1000, 500, 100, Fraction(25), "0" * 64)
    return TrackDocument(source, "balanced", 1.4, [], list(shots), list(tracks), [])


def build_track(name: str, frames: range, x: float, radius: float, kind: TrackKind = TrackKind.FACE) -> Track:
    samples = [Sample(f, Ellipse(x, 200, radius, 1.5 * radius), Evidence.DETECTED, 1.0) for f in frames]
    return Track(name, samples, kind)


def test_a_bare_picture_gives_a_share_of_its_height() -> None:
    face = guess_face(build_document(), 10, 300, 200)
    assert (face.cx, face.cy) == (300, 200)
    assert face.ry == pytest.approx(40) and face.rx == pytest.approx(30)


def test_the_nearest_faces_give_the_size() -> None:
    near = [build_track(f"Face {n}", range(100), 280 + n, 20) for n in range(3)]
    far = build_track("Face 9", range(100), 900, 100)
    face = guess_face(build_document(far, *near), 10, 300, 200)
    assert face.rx == pytest.approx(20) and face.ry == pytest.approx(30)
    assert guess_face(build_document(far), 10, 300, 200).rx == pytest.approx(100)


def test_faces_of_another_shot_or_long_ago_and_regions_do_not_count() -> None:
    bare = guess_face(build_document(), 60, 300, 200)
    shots = (Shot(0, 50), Shot(50, 100))
    other = build_document(build_track("Face 1", range(40, 50), 300, 90), shots=shots)
    assert guess_face(other, 51, 300, 200) == bare
    assert guess_face(other, 45, 300, 200).rx == pytest.approx(90)
    before = build_document(build_track("Face 1", range(10), 300, 90))
    assert guess_face(before, 60, 300, 200) == bare
    region = build_document(build_track("Region 1", range(100), 300, 90, TrackKind.REGION))
    assert guess_face(region, 60, 300, 200) == bare
