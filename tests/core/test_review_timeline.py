# SPDX-License-Identifier: GPL-3.0-or-later
"""One queue over the films of a timeline: what a viewer would see most of comes first."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from blender_faceblur.core.review.groups import list_review_groups
from blender_faceblur.core.review.queue import ReviewEntry
from blender_faceblur.core.review.timeline import FilmInTimeline, rank_timeline
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

RATE, COUNT = 25, 500
EVERYTHING = ((0, COUNT),)


def find_entries(*faces: tuple[float, int, int], confidence: float = 0.5) -> list[ReviewEntry]:
    """The queue of a film of 640 x 360 with an uncovered track of each radius, from frame to frame."""
    uncovered = [
        Track(
            f"Ignored {number:02}",
            [
                Sample(f, Ellipse(60 + 150 * number, 180, radius, radius), Evidence.DETECTED, confidence)
                for f in range(start, stop)
            ],
            status=TrackStatus.SUPPRESSED,
            suppression=Suppression(SuppressionReason.LOW_CONFIDENCE, stop - start),
        )
        for number, (radius, start, stop) in enumerate(faces)
    ]
    source = SourceInfo("film.mp4", "movie", 640, 360, COUNT, Fraction(RATE), "0")
    return list_review_groups(TrackDocument(source, "balanced", 1.4, [], [], [], [], uncovered=uncovered))


def test_the_larger_face_comes_first_whichever_film_it_is_in() -> None:
    small, large = find_entries((10, 0, 100), (30, 200, 300)), find_entries((20, 0, 100), (50, 200, 300))
    films = [FilmInTimeline(entries, EVERYTHING, scale=1 / 360) for entries in (small, large)]
    ranked = rank_timeline(films)
    assert [(one.film, round(one.entry.size_px)) for one in ranked] == [(1, 100), (0, 60), (1, 40), (0, 20)]
    assert [one.is_large for one in ranked] == [True, False, False, False], "72 pixels are a fifth of the height"


def test_a_film_that_is_shown_smaller_comes_later() -> None:
    entries = find_entries((40, 0, 100))
    films = [FilmInTimeline(entries, EVERYTHING, scale=scale) for scale in (0.5 / 360, 1 / 360)]
    ranked = rank_timeline(films)
    assert [one.film for one in ranked] == [1, 0]
    assert [one.is_large for one in ranked] == [True, False]


def test_a_brief_track_comes_after_a_long_one_of_the_same_size_and_before_one_that_is_half_as_large() -> None:
    long, brief = find_entries((30, 0, 100)), find_entries((30, 0, 2), (21, 100, 200))
    ranked = rank_timeline([FilmInTimeline(entries, EVERYTHING, scale=1 / 360) for entries in (brief, long)])
    assert [one.film for one in ranked] == [1, 0, 0]
    assert [len(range(one.entry.start, one.entry.stop)) for one in ranked] == [100, 2, 100]


def test_what_other_strips_hide_comes_last_and_what_no_strip_shows_not_at_all() -> None:
    film = find_entries((50, 0, 100), (40, 200, 300), (30, 400, 450))
    other = find_entries((10, 0, 100))
    hidden = FilmInTimeline(film, [(200, 320)], hidden=[(0, 120)], scale=1 / 360)
    ranked = rank_timeline([hidden, FilmInTimeline(other, EVERYTHING, scale=1 / 360)])
    assert [(one.film, one.entry.start, one.is_hidden) for one in ranked] == [
        (0, 200, False),
        (1, 0, False),
        (0, 0, True),
    ]


def test_a_group_keeps_its_place_when_a_verdict_makes_another_item_its_first() -> None:
    first, second = find_entries((50, 0, 100))[0], find_entries((20, 0, 100))[0]
    group = replace(second, members=(replace(first, verdict=Verdict.CONFIRMED),))
    between = find_entries((40, 0, 100))
    ranked = rank_timeline([FilmInTimeline(entries, EVERYTHING) for entries in (between, [group])])
    assert [one.film for one in ranked] == [1, 0]
