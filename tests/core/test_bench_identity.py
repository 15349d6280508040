# SPDX-License-Identifier: GPL-3.0-or-later
"""The benchmark of people counts correctly, and its annotations are consistent."""

from __future__ import annotations

import pytest

from benchmarks.identity import Count, WatchedFilm, compute_bound, name_people, read_truth
from benchmarks.mixing import CELLS, SIZE, compute_cell

from .test_people import make_document, make_embeddings, make_track


@pytest.mark.parametrize(
    ("wrong", "of", "bound"), [(0, 100, 0.0295), (0, 299, 0.00997), (1, 100, 0.0466), (5, 1000, 0.0105), (3, 3, 1.0)]
)
def test_confidence_bounds_are_exact(wrong: int, of: int, bound: float) -> None:
    """The figures come from tables of one-sided Clopper-Pearson intervals."""
    assert compute_bound(wrong, of) == pytest.approx(bound, rel=0.01)


def test_the_annotations_are_consistent() -> None:
    """Places of two people in a clip never overlap in the same frames, and several people are in more than one clip."""
    clips: dict[str, set[str]] = {}
    for name, (sha256, places) in read_truth().items():
        assert len(sha256) == 64
        for i, one in enumerate(places):
            assert one.start < one.stop and one.box[0] < one.box[2] and one.box[1] < one.box[3]
            clips.setdefault(one.who, set()).add(name)
            for other in places[i + 1 :]:
                apart = (
                    one.stop <= other.start
                    or other.stop <= one.start
                    or one.box[2] < other.box[0]
                    or other.box[2] < one.box[0]
                    or one.box[3] < other.box[1]
                    or other.box[3] < one.box[1]
                )
                assert apart or one.who == other.who, f"{name}: {one} and {other}"
    assert any(len(names) > 1 for names in clips.values())


def make_film() -> WatchedFilm:
    film = WatchedFilm(
        "film",
        make_document(make_track("Face 01", 0, 100), make_track("Face 02", 0, 100, 300)),
        {"Face 01": make_embeddings(0, 100, 1)},
    )
    film.who = {"Face 01": {f: "Ann" if f < 90 else "Bo" for f in range(100)}, "Face 02": dict.fromkeys(range(100), "")}
    return film


def test_frames_and_tracks_are_counted() -> None:
    film, count = make_film(), Count()
    first, second = film.document.tracks
    count.add(film, first, [(0, 80)], ["Ann"], "Ann is kept")
    count.add(film, second, [], ["Ann"], "Ann is kept")
    assert (count.own_clear, count.own_tracks, count.own_clear_frames, count.own_frames) == (1, 1, 80, 90)
    assert (count.other_clear, count.other_tracks, count.other_frames) == (0, 2, 110) and not count.wrong
    count.add(film, first, [(0, 95)], ["Ann"], "Ann is kept")
    assert count.other_clear_frames == 5 and "frames 90 to 94" in count.wrong[0] and "Bo" in count.wrong[0]


def test_a_track_belongs_to_the_person_whom_it_mostly_shows() -> None:
    film = make_film()
    assert film.get_person("Face 01") == "Ann" and film.get_person("Face 02") == ""
    film.who["Face 01"] = {f: "Ann" if f < 60 else "Bo" for f in range(100)}
    assert film.get_person("Face 01") == ""


def test_places_name_people() -> None:
    film = make_film()
    name_people(film, [])
    assert set(film.who["Face 01"].values()) == {""}


def test_cells_cover_the_picture() -> None:
    assert compute_cell(0, 0) == 0 and compute_cell(SIZE[0] - 1, SIZE[1] - 1) == CELLS - 1
    assert compute_cell(-50, SIZE[1] + 50) == 3
