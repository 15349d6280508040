# SPDX-License-Identifier: GPL-3.0-or-later
"""The second opinion: who is asked, what it counts for, and that a track is never uncovered without it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.settings import PRESETS, get_preset
from blender_faceblur.core.tracking.face_probability import FACE_PROBABILITY, FaceScorer, compute_face_logit
from blender_faceblur.core.tracking.linking import LinkedTracks, link_tracks
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.tracking.tracker import FrameRecord, Observation
from blender_faceblur.core.types import ReviewReason, Sample, SuppressionReason
from blender_faceblur.reporting.wording import describe_status

SIZE, RATE, COUNT = (1280, 720), 25.0, 60
BOX = np.array([500.0, 200.0, 700.0, 450.0])
PICTURE: NDArray[np.uint8] = np.zeros((360, 640, 3), np.uint8)


def make_record(frame: int, tracklets: int = 1, votes: int = 1, side: float = 100.0) -> FrameRecord:
    boxes = [np.array([150.0 * i, 0, 150.0 * i + side, side]) for i in range(tracklets)]
    return FrameRecord(frame, False, False, [Observation(i, box, 0.5, 0.0, votes) for i, box in enumerate(boxes)])


def link(score: float, confidence: float, votes: int = 1, several: bool = True) -> LinkedTracks:
    table = ObservationTable([Segment(0, COUNT)])
    for frame in range(COUNT):
        one = Observation(0, BOX, confidence, 0.0, votes, b"", score if frame % 10 == 0 else math.nan)
        table.add(0, FrameRecord(frame, False, False, [one]))
    return link_tracks(table, COUNT, SIZE, RATE, 0.5, cover_uncertain=False, has_several_detectors=several)


def test_what_everything_contradicts_is_ignored_and_listed() -> None:
    linked = link(score=0.01, confidence=0.52)
    (track,) = linked.uncovered
    assert not linked.tracks and track.suppression is not None
    assert track.suppression.reason is SuppressionReason.UNLIKELY_FACE and describe_status(track)
    assert [(item.track, item.reason) for item in linked.review_items] == [(track.name, ReviewReason.UNLIKELY_FACE)]


def test_one_look_at_a_face_or_a_second_detector_keeps_it_covered() -> None:
    for linked in (link(0.99, 0.6), link(0.01, 0.52, votes=2), link(0.01, 0.98, votes=2)):
        assert len(linked.tracks) == 1 and not linked.uncovered


def test_a_doubtful_track_stays_covered_and_is_listed_once() -> None:
    linked = link(score=0.4, confidence=0.6)
    assert len(linked.tracks) == 1
    reasons = [item.reason for item in linked.review_items]
    assert reasons.count(ReviewReason.UNLIKELY_FACE) == 1 and ReviewReason.SINGLE_DETECTOR not in reasons


def test_what_one_detector_is_sure_of_is_listed_if_nothing_ever_confirms_it() -> None:
    for score, votes, several, listed in (
        (0.3, 1, True, True),
        (0.6, 1, True, False),
        (0.3, 2, True, False),
        (0.3, 1, False, False),
    ):
        linked = link(score, 0.9, votes, several)
        assert len(linked.tracks) == 1 and not linked.uncovered
        assert (ReviewReason.UNLIKELY_FACE in [item.reason for item in linked.review_items]) == listed


def link_contradicted(
    side: float, agreed: int = 0, scored: int = 8, usual: float = 0.35, seen: int = COUNT, every: int = 5
) -> LinkedTracks:
    """A square that looks like a face in one frame, with certainty, and in no other."""
    table = ObservationTable([Segment(0, COUNT)])
    for frame in range(COUNT):
        score = (0.9 if frame == 0 else 0.1) if frame % every == 0 and frame < every * scored else math.nan
        votes = 2 if frame < agreed else 1
        box = np.array([300.0, 200.0, 300.0 + side, 200.0 + side])
        one = [Observation(0, box, 0.9 if frame == 0 else usual, 0.0, votes, b"", score)] if frame < seen else []
        table.add(0, FrameRecord(frame, False, False, one))
    return link_tracks(table, COUNT, SIZE, RATE, 0.5, cover_uncertain=False, has_several_detectors=True)


def test_one_look_at_a_face_does_not_save_a_large_track_that_all_contradict_for_long() -> None:
    assert len(link_contradicted(200, seen=19, every=2).uncovered) == 1
    (track,) = link_contradicted(200).uncovered
    assert track.suppression is not None and track.suppression.reason is SuppressionReason.UNLIKELY_FACE


def test_small_brief_agreed_and_confident_tracks_are_not_contradicted() -> None:
    for linked in (
        link_contradicted(80),
        link_contradicted(200, scored=4),
        link_contradicted(200, agreed=6),
        link_contradicted(200, usual=0.6),
        link_contradicted(200, seen=17, every=2),
    ):
        assert len(linked.tracks) == 1 and not linked.uncovered


def link_lasting(
    seen: int = 40,
    scored: int = 40,
    score: float = 0.1,
    agreed: int = 0,
    best: float = 0.75,
    usual: float = 0.4,
    side: float = 80.0,
) -> LinkedTracks:
    """A square that one detector finds in `seen` frames, of which the first `scored` have scores now and then."""
    table = ObservationTable([Segment(0, COUNT)])
    box = np.array([300.0, 200.0, 300.0 + side, 200.0 + side])
    for frame in range(COUNT):
        votes = 2 if 10 <= frame < 10 + agreed else 1
        confidence = best if frame < 14 else usual
        opinion = score if frame % 4 == 0 and frame < 10 + scored else math.nan
        one = [Observation(0, box, confidence, 0.0, votes, b"", opinion)] if 10 <= frame < 10 + seen else []
        table.add(0, FrameRecord(frame, False, False, one))
    return link_tracks(table, COUNT, SIZE, RATE, 0.5, cover_uncertain=False, has_several_detectors=True)


def test_what_lasts_without_ever_being_confirmed_is_ignored() -> None:
    assert len(link_lasting(best=0.85).uncovered) == 1
    (track,) = link_lasting().uncovered
    assert track.suppression is not None and track.suppression.reason is SuppressionReason.UNLIKELY_FACE


def test_what_is_brief_confirmed_or_seen_by_the_network_for_a_while_only_stays_covered() -> None:
    for linked in (
        link_lasting(seen=15, best=0.85),
        link_lasting(scored=14),
        link_lasting(agreed=3),
        link_lasting(score=0.3),
        link_lasting(usual=0.55),
    ):
        assert len(linked.tracks) == 1 and not linked.uncovered


def test_what_is_likely_but_never_confirmed_is_in_doubt() -> None:
    for score, doubted in ((0.17, True), (0.3, False)):
        linked = link_lasting(score=score, agreed=1, best=0.95, usual=0.42, side=25)
        assert len(linked.tracks) == 1
        assert (ReviewReason.UNLIKELY_FACE in [item.reason for item in linked.review_items]) == doubted


def link_scored(
    scores: int, score: float = 0.03, confidence: float = 0.59, left: float = 300.0, every: int = 1, votes: int = 1
) -> LinkedTracks:
    """A square that is found in ten frames, of which the first ones, or every so many, have scores."""
    table = ObservationTable([Segment(0, COUNT)])
    box = np.array([left, 200.0, left + 220.0, 420.0])
    for frame in range(COUNT):
        opinion = score if frame % every == 0 and frame < 20 + every * scores else math.nan
        both = votes if frame == 20 else 1
        one = [Observation(0, box, confidence, 0.0, both, b"", opinion)] if 20 <= frame < 30 else []
        table.add(0, FrameRecord(frame, False, False, one))
    return link_tracks(table, COUNT, SIZE, RATE, 0.5, cover_uncertain=False, has_several_detectors=True)


def test_what_is_brief_and_no_face_each_time_is_ignored_unless_the_edge_cuts_it_off() -> None:
    assert len(link_scored(3, confidence=0.7, every=4).uncovered) == 1
    for linked in (
        link_scored(3, confidence=0.7, every=1),
        link_scored(2, confidence=0.7, every=4),
        link_scored(3, confidence=0.7, every=4, left=-20),
        link_scored(3, confidence=0.7, every=4, score=0.4),
        link_scored(3, confidence=0.7, every=4, votes=2),
        link_scored(3, confidence=0.8, every=4),
    ):
        assert len(linked.tracks) == 1 and not linked.uncovered


def link_brief(score: float, detected: int = 10) -> tuple[list[Sample], bool]:
    """The samples of a track that flow carries for five frames before and after its detections; if it is doubted."""
    table = ObservationTable([Segment(0, COUNT)])
    for frame in range(COUNT):
        votes = int(20 <= frame < 20 + detected)
        near = 15 <= frame < 25 + detected
        seen = [Observation(0, BOX, 0.6, 0.0, votes, b"", score if votes else math.nan)] if near else []
        table.add(0, FrameRecord(frame, False, False, seen))
    linked = link_tracks(table, COUNT, SIZE, RATE, 0.5, cover_uncertain=False, has_several_detectors=True)
    (track,) = linked.tracks
    return track.samples, any(item.reason is ReviewReason.UNLIKELY_FACE for item in linked.review_items)


def test_extrapolated_covers_of_doubtful_tracks_do_not_grow_as_fast() -> None:
    (doubted, is_doubted), (certain, is_certain) = link_brief(0.4), link_brief(0.99)
    assert is_doubted and not is_certain
    assert doubted[-1].ellipse.rx < 0.8 * certain[-1].ellipse.rx


def test_the_less_a_doubtful_track_was_seen_the_sooner_its_cover_ends() -> None:
    for count in (10, 15, 20):
        samples, is_doubted = link_brief(0.4, count)
        assert is_doubted
        share = round(0.25 * (count - 1))
        assert 20 - samples[0].source_frame == samples[-1].source_frame - 19 - count == share + max(3, share)
    samples, _ = link_brief(0.99, 15)
    assert samples[0].source_frame < 15 - 3


def test_without_an_opinion_nothing_is_uncovered() -> None:
    assert len(link(math.nan, 0.52).tracks) == 1
    assert len(link(0.01, 0.52, several=False).tracks) == 1, "calibrated for several detectors"


def test_a_second_opinion_raises_the_probability_with_the_score() -> None:
    table = ObservationTable([Segment(0, 2)])
    for frame in range(2):
        table.add(0, FrameRecord(frame, False, False, [Observation(0, BOX, 0.5, None, 1, b"", 0.2 + 0.6 * frame)]))
    (trajectory,) = table.build_trajectories()
    early = trajectory.select(np.array([0]))
    both, low = (compute_face_logit(one, SIZE, np.arange(2)) for one in (trajectory, early))
    assert both is not None and low is not None and both > low
    twice = trajectory.join(early)
    assert twice.face_scores.tolist() == trajectory.face_scores.tolist()


def test_a_tracklet_is_scored_often_at_first_and_rarely_later() -> None:
    asked: list[int] = []

    def score(picture: NDArray[np.uint8], boxes: object) -> list[float]:
        return [0.5 for _ in boxes]  # type: ignore[attr-defined]

    scorer = FaceScorer(score, RATE)
    for frame in range(0, 3000, 3):
        record = make_record(frame)
        scorer.score(record, PICTURE, np.array([1.0, 1.0]))
        asked += [frame] if record.observations[0].face_score == 0.5 else []
    first = FACE_PROBABILITY.first_scores
    assert asked[:first] == [0, 3, 6, 9] and 30 < len(asked) < 60
    assert np.diff(asked)[first:].min() >= 10 and np.diff(asked)[-1] > 200


def test_small_faces_tracked_ones_and_crowds_are_asked_less() -> None:
    sizes: list[int] = []

    def score(picture: NDArray[np.uint8], boxes: list[NDArray[np.float64]]) -> list[float]:
        sizes.append(len(boxes))
        return [0.5] * len(boxes)

    scorer, half = FaceScorer(score, RATE), np.array([0.5, 0.5])  # type: ignore[arg-type]
    scorer.score(make_record(0, votes=0), PICTURE, half)
    scorer.score(make_record(3, side=2 * FACE_PROBABILITY.least_size_px - 1), PICTURE, half)
    assert not sizes
    crowd = [make_record(frame, tracklets=20) for frame in (6, 9)]
    for record in crowd:
        scorer.score(record, PICTURE, half)
    assert sizes == [FACE_PROBABILITY.most_per_frame] * 2
    scored = {one.tracklet for record in crowd for one in record.observations if one.face_score == 0.5}
    assert scored == set(range(20)), "those with fewest scores come first"


def test_only_the_preset_that_it_is_calibrated_for_asks() -> None:
    assert [preset.name for preset in PRESETS if preset.second_opinion] == ["balanced"]
    assert get_preset("balanced").second_opinion


def test_a_track_is_as_sharp_as_its_sharpest_moment_and_unknown_if_nobody_looked() -> None:
    for measured, expected in (((0.25, math.nan, 0.75), 0.75), ((math.nan,) * 3, None)):
        table = ObservationTable([Segment(0, 3)])
        for frame, sharpness in enumerate(measured):
            one = Observation(0, BOX, 0.9, 0.0, 2, b"", math.nan, sharpness)
            table.add(0, FrameRecord(frame, False, False, [one]))
        linked = link_tracks(table, 3, SIZE, RATE, 0.5, cover_uncertain=False, has_several_detectors=True)
        assert [track.sharpness for track in linked.tracks] == [expected]


def link_alone(
    side: float = 300.0, last: int = 50, every: int = 1, other: float = 0.0, left: float = 100.0
) -> LinkedTracks:
    """A square that one detector finds weakly and no network takes for a face, and a clear face in a share of the time
    from its first frame on."""
    table = ObservationTable([Segment(0, COUNT)])
    box, clear = np.array([600.0, 200.0, 600.0 + side, 200.0 + side]), np.array([left, 300.0, left + 80.0, 400.0])
    for frame in range(COUNT):
        found = []
        if 10 <= frame <= last and frame % every == 0:
            found.append(Observation(0, box, 0.35, 0.0, 1, b"", 0.05))
        if 10 <= frame < 10 + other * (last - 9):
            found.append(Observation(1, clear, 0.9, 0.0, 2, b"", 0.99))
        table.add(0, FrameRecord(frame, False, False, found))
    return link_tracks(table, COUNT, SIZE, RATE, 0.5, cover_uncertain=False, has_several_detectors=True)


def test_what_is_large_steady_and_alone_is_covered_until_somebody_judges_it() -> None:
    linked = link_alone()
    (track,) = linked.tracks
    assert not linked.uncovered and track.suppression is None
    assert [item.reason for item in linked.review_items].count(ReviewReason.UNLIKELY_FACE) == 1


def test_what_is_small_brief_rarely_found_or_beside_a_face_is_not_covered_for_being_alone() -> None:
    for linked, faces in (
        (link_alone(side=240), 0),
        (link_alone(last=34), 0),
        (link_alone(every=4), 0),
        (link_alone(other=0.9), 1),
    ):
        assert len(linked.tracks) == faces and len(linked.uncovered) == 1


def test_a_face_that_is_covered_for_a_moment_does_not_uncover_what_is_alone_otherwise() -> None:
    linked = link_alone(last=55, other=0.1)
    assert len(linked.tracks) == 2 and not linked.uncovered


def test_what_is_alone_does_not_replace_the_cover_of_a_face_within_it() -> None:
    assert len(link_alone(last=55, other=0.2, left=700.0).tracks) == 2
