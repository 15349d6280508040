# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions about who stays visible in which frames, for embeddings with known distances."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from blender_faceblur.core.people import similarity
from blender_faceblur.core.people.decisions import (
    NOBODY_OF,
    RATES,
    USUAL_RATE,
    Mode,
    People,
    Person,
    apply_decisions,
    cover_everybody,
    decide_tracks,
    get_kept_person,
)
from blender_faceblur.core.people.similarity import (
    FaceEmbedding,
    assign_embeddings,
    choose_references,
    compute_clarity,
    compute_false_accept_rate,
    compute_median_distance,
    compute_threshold,
    describe_rate,
    group_tracks,
    list_coexisting_pairs,
    measure_distances,
    rate_crop,
)
from blender_faceblur.core.people.uninformative import UNINFORMATIVE
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    ReviewReason,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
    TrackKind,
    TrackStatus,
)

RATE = 25


def face(number: int) -> similarity.Vector:
    """The embedding of person `number`. Those of two people are sqrt(2) apart."""
    vector = np.zeros(128, np.float32)
    vector[number] = 1.0
    return vector


def near(number: int, distance: float, way: int = 60) -> similarity.Vector:
    """An embedding at a distance from that of person `number`."""
    vector = face(number)
    vector[way] += distance
    return vector


def embed(frame: int, vector: similarity.Vector, quality: float = 0.9) -> FaceEmbedding:
    return FaceEmbedding(frame, vector, quality)


def make_track(name: str, start: int, stop: int, x: float = 100.0, gap: range = range(0)) -> Track:
    return Track(
        name, [Sample(f, Ellipse(x, 100, 20, 25), Evidence.DETECTED, 0.9) for f in range(start, stop) if f not in gap]
    )


def make_document(*tracks: Track, frames: int = 500) -> TrackDocument:
    source = SourceInfo("film.mp4", "movie", 640, 360, frames, Fraction(RATE), "ab" * 32)
    return TrackDocument(source, "balanced", 1.4, [], [], list(tracks), [])


def keep(*numbers: int) -> People:
    return People([Person(f"P{n}", Mode.KEEP, [face(n)]) for n in numbers])


def make_embeddings(
    start: int, stop: int, number: int, distance: float = 0.3, quality: float = 0.9
) -> list[FaceEmbedding]:
    return [embed(f, near(number, distance), quality) for f in range(start, stop, RATE)]


def test_distances_and_rates_convert_both_ways() -> None:
    rates = [rate for _, rate in similarity.STRANGER_DISTANCES]
    assert list(similarity.STRANGER_DISTANCES) == sorted(similarity.STRANGER_DISTANCES) and rates == sorted(rates)
    for distance, rate in similarity.STRANGER_DISTANCES:
        assert compute_false_accept_rate(distance) == pytest.approx(rate)
        assert compute_threshold(rate) == pytest.approx(distance)
    assert compute_false_accept_rate(0.1) == pytest.approx(similarity.STRANGER_DISTANCES[0][1]), (
        "nothing below the least that was measured"
    )
    assert compute_threshold(1e-7) == 0.0


def test_more_references_give_strangers_more_chances() -> None:
    assert compute_false_accept_rate(0.5, 3) == pytest.approx(3 * compute_false_accept_rate(0.5))
    assert compute_threshold(1e-3, 5) < compute_threshold(1e-3)
    assert len(choose_references([face(1), near(1, 0.1), face(2)])) == 2
    assert len(choose_references([face(n) for n in range(40)])) == similarity.SIMILARITY.most_references
    assert choose_references([]) == []
    most = similarity.SIMILARITY.most_references
    assert compute_threshold(min(RATES), most) > 0, "however many pictures, somebody can be recognised"


def test_a_rate_is_described_in_words() -> None:
    assert describe_rate(0.0004) == "about 1 in 2 000" or describe_rate(0.0005) == "about 1 in 2 000"
    assert describe_rate(1e-9).startswith("fewer than 1 in ")


def test_the_best_crops_count_most() -> None:
    embeddings = [embed(0, face(1), 0.9), embed(1, face(1), 0.2), embed(2, face(1), 0.2)]
    assert compute_median_distance(np.array([0.3, 0.7, 0.7]), embeddings) == 0.3
    assert compute_median_distance(np.zeros(0), []) == np.inf


def test_a_crop_from_the_side_counts_less() -> None:
    front = [(30, 40), (70, 40), (50, 60), (35, 85), (65, 85)]
    side = [(30, 40), (45, 40), (58, 60), (35, 85), (46, 85)]
    assert rate_crop(front, 80, 0.9, 1.0) > 0.8 and rate_crop(side, 80, 0.9, 1.0) < 0.3
    assert rate_crop(front, 12, 0.9, 1.0) < 0.3 and rate_crop(front, 80, 0.9, 0.1) < 0.3
    assert rate_crop([(1, 1)] * 5, 80, 0.9, 1.0) == 0.0


def test_an_uninformative_embedding_has_no_weight() -> None:
    nobody = np.array(UNINFORMATIVE, np.float32)
    assert len(UNINFORMATIVE) == 128 and compute_clarity(nobody) == 0.0 and compute_clarity(nobody + face(3)) == 1.0


def test_tracks_of_one_person_are_grouped() -> None:
    embeddings = {
        "a": make_embeddings(0, 100, 1),
        "b": make_embeddings(200, 300, 1, 0.35),
        "c": make_embeddings(0, 100, 2),
        "d": make_embeddings(0, 100, 1, 0.3, 0.1),
        "e": make_embeddings(0, 25, 1),
    }
    assert group_tracks(embeddings) == [["a", "b"], ["c"], ["d"], ["e"]], "seen poorly or once, one stays alone"


def test_tracks_at_two_places_at_once_are_never_grouped() -> None:
    embeddings = {"a": make_embeddings(0, 100, 1), "b": make_embeddings(0, 100, 1), "c": make_embeddings(200, 300, 1)}
    groups = group_tracks(embeddings, {("a", "b")})
    assert not any({"a", "b"} <= set(group) for group in groups)
    assert sorted(map(len, groups)) == [1, 2]


def test_a_track_between_two_people_does_not_join_them() -> None:
    """A face between two people may be grouped with one of them, but these two stay separate."""
    between = face(1) * 0.55 + face(2) * 0.45
    groups = group_tracks(
        {"a": [embed(0, face(1))] * 2, "m": [embed(50, between)] * 2, "b": [embed(90, face(2))] * 2}, limit=0.9
    )
    assert not any({"a", "b"} <= set(group) for group in groups)


def test_tracks_that_show_two_faces_are_apart() -> None:
    one, double, other = make_track("a", 0, 50), make_track("b", 0, 50, 105), make_track("c", 40, 90, 300)
    assert list_coexisting_pairs([one, double, other]) == {("a", "c"), ("b", "c")}
    assert list_coexisting_pairs([make_track("a", 0, 50), make_track("b", 50, 90, 300)]) == set()


def test_crops_are_assigned_to_their_tracks() -> None:
    tracks = [make_track("a", 0, 50), make_track("b", 0, 50, 300)]
    found = list(
        assign_embeddings(
            tracks,
            [
                (10, (82, 78, 118, 122)),
                (10, (285, 80, 320, 120)),
                (60, (82, 78, 118, 122)),
                (10, (200, 80, 240, 120)),
                (10, (95, 95, 105, 105)),
            ],
        )
    )
    assert found == [("a", 0), ("b", 1)], "none at a frame without the track, beside all, or of another size"


def test_a_recognised_person_stays_visible() -> None:
    document = make_document(make_track("Face 01", 0, 250), make_track("Face 02", 0, 250, 300))
    embeddings = {"Face 01": make_embeddings(5, 250, 1), "Face 02": make_embeddings(5, 250, 2)}
    first, second = decide_tracks(document, embeddings, keep(1))
    assert (first.person, first.clear) == ("P1", [(0, 250)])
    assert first.rate <= USUAL_RATE and "strangers is as similar" in first.why
    assert (second.person, second.clear) == ("", [])


def test_the_threshold_follows_from_the_rate_of_strangers() -> None:
    limit = compute_threshold(USUAL_RATE)
    document = make_document(make_track("Face 01", 0, 250))
    for distance, stays in ((limit - 0.01, True), (limit + 0.01, False)):
        (decision,) = decide_tracks(document, {"Face 01": make_embeddings(5, 250, 1, distance)}, keep(1))
        assert bool(decision.clear) is stays
        assert decision.person == "P1"
    loose = keep(1)
    loose.stranger_rate = 1e-2
    (decision,) = decide_tracks(document, {"Face 01": make_embeddings(5, 250, 1, limit + 0.03)}, loose)
    assert decision.clear


@pytest.mark.parametrize(
    "embeddings", [[], make_embeddings(0, 75, 1), make_embeddings(0, 250, 1, 0.3, 0.2)], ids=["none", "few", "poor"]
)
def test_a_track_without_enough_good_crops_is_covered(embeddings: list[FaceEmbedding]) -> None:
    (decision,) = decide_tracks(make_document(make_track("Face 01", 0, 250)), {"Face 01": embeddings}, keep(1))
    assert not decision.clear and decision.review_items == [], "a covered face needs no name"


def test_weak_evidence_is_listed_for_review() -> None:
    (decision,) = decide_tracks(
        make_document(make_track("Face 01", 0, 130)), {"Face 01": make_embeddings(5, 130, 1)}, keep(1)
    )
    assert decision.clear == [(0, 130)] and [d.reason for d in decision.review_items] == [ReviewReason.WEAK_EVIDENCE]


def test_an_identity_switch_is_covered() -> None:
    """The cover begins after the last crop of the person, and not at the first crop of the other."""
    document = make_document(make_track("Face 01", 0, 500))
    embeddings = {"Face 01": make_embeddings(0, 250, 1) + make_embeddings(250, 500, 2)}
    (decision,) = decide_tracks(document, embeddings, keep(1))
    assert decision.clear == [(0, 223)]
    assert [(d.start, d.stop, d.reason) for d in decision.review_items] == [(223, 500, ReviewReason.DIFFERENT_PERSON)]


def test_a_short_visit_of_another_person_is_covered() -> None:
    document = make_document(make_track("Face 01", 0, 500))
    embeddings = {"Face 01": [*make_embeddings(0, 250, 1), embed(250, face(2)), *make_embeddings(275, 500, 1)]}
    (decision,) = decide_tracks(document, embeddings, keep(1))
    assert decision.clear == [(0, 223), (278, 500)]


def test_a_long_time_without_recognition_is_covered() -> None:
    embeddings = {"Face 01": [v for v in make_embeddings(0, 500, 1) if not 200 < v.source_frame < 400]}
    (decision,) = decide_tracks(make_document(make_track("Face 01", 0, 500)), embeddings, keep(1))
    (first, second) = decision.clear
    assert first == (0, 201 + 38) and second == (400 - 38, 500)
    assert ReviewReason.NOT_RECOGNIZED in [d.reason for d in decision.review_items]


def test_a_face_must_be_recognised_again_after_a_gap() -> None:
    track = make_track("Face 01", 0, 500, gap=range(250, 260))
    embeddings = {"Face 01": make_embeddings(0, 250, 1)}
    (decision,) = decide_tracks(make_document(track), embeddings, keep(1))
    assert decision.clear == [(0, 250)]
    assert (260, 500) in [(d.start, d.stop) for d in decision.review_items]


def test_a_few_similar_crops_among_many_are_not_enough() -> None:
    """A few crops of a stranger are similar to the person by chance."""
    embeddings = {"Face 01": make_embeddings(0, 100, 1) + make_embeddings(100, 500, 2)}
    (decision,) = decide_tracks(make_document(make_track("Face 01", 0, 500)), embeddings, keep(1))
    assert not decision.clear


def test_a_person_who_resembles_one_to_be_covered_is_covered() -> None:
    people = keep(1)
    people.persons.append(Person("B", Mode.BLUR, [near(1, 0.25, 60)]))
    (decision,) = decide_tracks(
        make_document(make_track("Face 01", 0, 250)), {"Face 01": make_embeddings(5, 250, 1)}, people
    )
    assert not decision.clear and ReviewReason.AMBIGUOUS_PERSON in [d.reason for d in decision.review_items]


def test_a_person_at_two_places_at_once_is_covered_at_both() -> None:
    document = make_document(make_track("Face 01", 0, 250), make_track("Face 02", 0, 250, 300))
    embeddings = {"Face 01": make_embeddings(5, 250, 1), "Face 02": make_embeddings(5, 250, 1, 0.32)}
    for decision in decide_tracks(document, embeddings, keep(1)):
        assert not decision.clear and [d.reason for d in decision.review_items] == [ReviewReason.PERSON_ELSEWHERE]
    embeddings["Face 02"] = make_embeddings(5, 250, 1, 0.46)
    first, second = decide_tracks(document, embeddings, keep(1))
    assert first.clear and not second.clear, "the much more certain track stays visible"


def only_blur(number: int) -> People:
    return People([Person("B", Mode.BLUR, [face(number)])], others_clear=True)


def test_blur_only_shows_people_who_are_certainly_others() -> None:
    document = make_document(*(make_track(f"Face 0{n}", 0, 250, 100 * n) for n in (1, 2, 3)))
    embeddings = {
        "Face 01": make_embeddings(5, 250, 1),
        "Face 02": make_embeddings(5, 250, 2),
        "Face 03": make_embeddings(5, 250, 1, 0.66),
    }
    blurred, other, unsure = decide_tracks(document, embeddings, only_blur(1))
    assert (blurred.person, blurred.clear) == ("B", [])
    assert (other.person, other.clear) == (NOBODY_OF, [(0, 250)])
    assert unsure.clear == [] and [d.reason for d in unsure.review_items] == [ReviewReason.AMBIGUOUS_PERSON]


def test_blur_only_covers_a_track_from_where_it_shows_the_person() -> None:
    embeddings = {"Face 01": make_embeddings(0, 250, 2) + make_embeddings(250, 500, 1)}
    (decision,) = decide_tracks(make_document(make_track("Face 01", 0, 500)), embeddings, only_blur(1))
    assert all(stop <= 223 for _, stop in decision.clear), decision.clear


def test_an_assignment_counts_only_where_the_track_shows_that_person() -> None:
    document = make_document(make_track("Face 01", 0, 500))
    embeddings = {"Face 01": make_embeddings(0, 250, 1, 0.58, 0.5) + make_embeddings(250, 500, 2)}
    (decision,) = decide_tracks(document, embeddings, keep(1), {"Face 01": "P1"})
    assert decision.by_editor and decision.clear == [(0, 223)]
    (decision,) = decide_tracks(document, {}, only_blur(1), {"Face 01": "B"})
    assert decision.by_editor and not decision.clear


def test_regions_are_not_changed() -> None:
    region = make_track("Region 01", 0, 250)
    region.kind = TrackKind.REGION
    assert decide_tracks(make_document(region), {"Region 01": make_embeddings(5, 250, 1)}, keep(1)) == []


def test_a_single_picture_needs_one_good_crop() -> None:
    document = make_document(make_track("Face 01", 0, 1), frames=1)
    for distance, stays in ((compute_threshold(1e-4) - 0.01, True), (compute_threshold(1e-4) + 0.01, False)):
        (decision,) = decide_tracks(document, {"Face 01": [embed(0, near(1, distance))]}, keep(1))
        assert bool(decision.clear) is stays


def test_decisions_are_applied_and_undone() -> None:
    document = make_document(make_track("Face 01", 0, 500), make_track("Face 02", 0, 250, 300))
    people = keep(1)
    people.persons.append(Person("P2", Mode.KEEP, [face(2)]))
    embeddings = {
        "Face 01": make_embeddings(0, 250, 1) + make_embeddings(250, 500, 3),
        "Face 02": make_embeddings(5, 250, 2),
    }
    covered = {(t.samples[0].ellipse.cx, s.source_frame) for t in document.tracks for s in t.samples}
    apply_decisions(document, decide_tracks(document, embeddings, people), people)
    assert [(t.name, t.list_spans()) for t in document.tracks] == [("Face 01", [(223, 500)])]
    assert {get_kept_person(t): t.list_spans() for t in document.uncovered} == {"P1": [(0, 223)], "P2": [(0, 250)]}
    assert all(t.status is TrackStatus.ALLOWED for t in document.uncovered)
    assert len({t.name for t in (*document.tracks, *document.uncovered)}) == 3
    notes = "\n".join(document.all_notes)
    assert "everyone is covered except P1, P2" in notes and "P1 in Face 01" in notes
    assert ReviewReason.DIFFERENT_PERSON in [d.reason for d in document.review_items]
    cover_everybody(document)
    assert {(t.samples[0].ellipse.cx, s.source_frame) for t in document.tracks for s in t.samples} == covered
    assert not document.uncovered and not document.review_items and not document.all_notes


def test_distances_are_to_the_nearest_reference() -> None:
    assert measure_distances([embed(0, face(1))], [face(2), near(1, 0.4)])[0] == pytest.approx(0.4)
    assert measure_distances([embed(0, face(1))], [])[0] == np.inf
