# SPDX-License-Identifier: GPL-3.0-or-later
"""`bench hidden` hides a part of a face, and counts the frames in which the other part shows."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from benchmarks import hidden
from benchmarks.hidden import Hider
from benchmarks.scoring import draw_ellipse
from blender_faceblur.core.types import Ellipse, Evidence, Sample, SourceInfo, Track, TrackDocument

SIZE, FRAMES = (320, 240), 100
FACE = Ellipse(150, 120, 30, 40)


def make_track(name: str, face: Ellipse, evidence: Evidence = Evidence.DETECTED, stop: int = FRAMES) -> Track:
    return Track(name, [Sample(frame, face, evidence, 0.9) for frame in range(stop)])


def build(*tracks: Track) -> TrackDocument:
    source = SourceInfo("film.mp4", "movie", *SIZE, FRAMES, Fraction(25), "")
    return TrackDocument(source, "balanced", 1.0, [], [], list(tracks), [], [])


def test_the_largest_face_that_is_found_steadily_is_chosen() -> None:
    small = make_track("Face 01", Ellipse(60, 60, 10, 12))
    flowed = make_track("Face 02", FACE, Evidence.FLOW)
    brief = make_track("Face 03", FACE, stop=60)
    assert hidden.choose_track(build(flowed, brief)) is None
    chosen = hidden.choose_track(build(small, flowed, brief, make_track("Face 04", FACE)))
    assert chosen is not None and chosen.name == "Face 04"


@pytest.mark.parametrize("hider", Hider)
def test_a_part_of_the_face_is_hidden_and_nothing_far_from_it(hider: Hider) -> None:
    picture = np.full((SIZE[1], SIZE[0], 3), 200, np.uint8)
    seen = hidden.hide(picture, FACE, hider, 1)
    changed = np.abs(seen.astype(int) - picture).max(axis=2) > 30
    inside = draw_ellipse(FACE, picture.shape[:2]).astype(bool)
    assert 0.2 < changed[inside].mean() < 0.8
    assert not changed[:, :80].any() and not changed[:, 240:].any() and picture.min() == 200


def test_only_the_part_that_is_not_hidden_must_be_covered() -> None:
    faces = dict.fromkeys(range(FRAMES), FACE)
    upper = make_track("Face 01", Ellipse(150, 100, 45, 45))
    assert hidden.measure(build(upper), faces, Hider.SCARF).exposed == 0
    assert hidden.measure(build(upper), faces, Hider.CAP) == hidden.Result(FRAMES, 0, FRAMES)
    late = make_track("Face 01", FACE.scaled(1.5))
    late.samples = late.samples[10:]
    assert hidden.measure(build(late), faces, Hider.SIDE).exposed == 10
