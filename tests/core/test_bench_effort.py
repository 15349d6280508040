# SPDX-License-Identifier: GPL-3.0-or-later
"""The editor of `bench effort` decides by the truth, and what is left uncovered is counted."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import effort
from benchmarks.effort import HEIGHT, RATE, WIDTH, Appearance, Look
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    Sample,
    SourceInfo,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackStatus,
    Verdict,
)

FRAMES = 50
PLANNED = [
    Appearance(0, Look.CLEAR, 0, FRAMES, 150.0, 150.0, 0.0),
    Appearance(1, Look.DIM, 10, 40, 450.0, 150.0, 1.0),
]


def follow(name: str, number: int) -> Track:
    one = PLANNED[number]
    samples = [
        Sample(frame, face.ellipse, Evidence.DETECTED, 0.9)
        for frame in range(one.start, one.stop)
        for face in effort.list_true_faces([one], frame)
    ]
    return Track(name, samples)


def build() -> TrackDocument:
    """A covered face, a face that the program suppressed, and something that is none but suppressed as well."""
    source = SourceInfo("film.mp4", "movie", WIDTH, HEIGHT, FRAMES, RATE, "")
    doubtful = follow("Face 02", 1)
    other = Track("Face 03", [Sample(f, Ellipse(320, 320, 20, 25), Evidence.DETECTED, 0.4) for f in range(5, 30)])
    for track in (doubtful, other):
        track.status, track.suppression = TrackStatus.SUPPRESSED, Suppression(SuppressionReason.UNKNOWN)
    return TrackDocument(source, "balanced", 1.4, [], [], [follow("Face 01", 0)], [], [], [doubtful, other])


def test_the_editor_covers_the_face_and_leaves_the_rest() -> None:
    document = build()
    assert effort.measure(document, PLANNED).exposed == {PLANNED[0]: 0, PLANNED[1]: 30}
    done = effort.review(document, PLANNED)
    assert done.by_verdict == {Verdict.COVERED: 1, Verdict.UNCOVERED: 1}
    assert (done.items, done.decisions) == (2, 2)
    after = effort.measure(document, PLANNED)
    assert after.exposed == dict.fromkeys(PLANNED, 0) and after.phantoms == 0


def test_a_cover_beside_its_face_leaves_the_face_uncovered() -> None:
    document = build()
    track = document.tracks[0]
    track.samples = [replace(s, ellipse=replace(s.ellipse, cx=s.ellipse.cx + 80)) for s in track.samples]
    result = effort.measure(document, PLANNED)
    assert result.exposed == {PLANNED[0]: 50, PLANNED[1]: 30} and result.phantoms == 1


def test_the_plan_fills_the_film_and_has_every_look() -> None:
    planned = effort.plan(60, 20.0, seed=1)
    frames = 20 * 60 * RATE
    assert {one.look for one in planned} == set(Look) and {one.who for one in planned} == set(range(60))
    assert all(0 <= one.start < one.stop <= frames for one in planned)


def test_a_brief_face_whose_cover_begins_before_it_and_ends_after_it_is_no_phantom() -> None:
    document = build()
    one = Appearance(0, Look.BRIEF, 20, 23, 150.0, 150.0, 0.0)
    samples = [
        Sample(frame, effort.place_face(one, 21).ellipse, Evidence.DETECTED if seen else Evidence.EXTRAPOLATED, 0.9)
        for frame in range(15, 28)
        for seen in (one.start <= frame < one.stop,)
    ]
    document.tracks = [Track("Face 01", samples)]
    assert effort.measure(document, [one]).phantoms == 0
    document.tracks = [Track("Face 01", [replace(s, evidence=Evidence.DETECTED) for s in samples])]
    assert effort.measure(document, [one]).phantoms == 1
