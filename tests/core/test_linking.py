# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations become tracks: ends are extrapolated, gaps filled and segments joined, and cuts separate tracks."""

from __future__ import annotations

import numpy as np
import pytest

from blender_faceblur.core.geometry import FACE_SHAPE
from blender_faceblur.core.tracking.appearance import describe_appearance
from blender_faceblur.core.tracking.filling import FILLING
from blender_faceblur.core.tracking.linking import LinkedTracks, link_tracks
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.tracking.smoothing import SMOOTHING
from blender_faceblur.core.tracking.tracker import FrameRecord, Observation
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    ReviewReason,
    Suppression,
    SuppressionReason,
    TrackStatus,
)
from blender_faceblur.reporting.wording import describe_reason, describe_status

SIZE = (1280, 720)
RATE = 25.0


def make_observation(
    tracklet: int, box: tuple[float, float, float, float], confidence: float = 0.9, votes: int = 1
) -> Observation:
    return Observation(tracklet, np.array(box, float), confidence, 0.0, votes)


def link(
    observations: dict[int, list[Observation]],
    count: int,
    cuts: tuple[int, ...] = (),
    cover_doubts: bool = False,
    joins: dict[int, list[tuple[int, int]]] | None = None,
    several: bool = True,
) -> LinkedTracks:
    table = ObservationTable([Segment(0, count)])
    for frame in range(count):
        table.add(
            0, FrameRecord(frame, frame in cuts, False, observations.get(frame, []), (joins or {}).get(frame, []))
        )
    assert table.count_missing() == 0
    return link_tracks(table, count, SIZE, RATE, 0.5, cover_doubts, several)


def test_a_track_is_extrapolated_at_both_ends() -> None:
    linked = link({f: [make_observation(0, (600, 300, 650, 365))] for f in range(40, 60)}, 100)
    assert len(linked.tracks) == 1
    track = linked.tracks[0]
    assert track.name == "Face 01"
    start, stop = track.list_spans()[0]
    assert 33 <= start <= 36 and 64 <= stop <= 67
    extrapolated = [s for s in track.samples if s.evidence is Evidence.EXTRAPOLATED]
    assert len(extrapolated) == (40 - start) + (stop - 60)
    width, height = 25 * FACE_SHAPE.width, 32.5 * FACE_SHAPE.height
    assert all(s.ellipse.rx >= width - 1e-6 and s.ellipse.ry >= height - 1e-6 for s in track.samples)


def test_a_gap_is_interpolated() -> None:
    observations = {f: [make_observation(0, (600 + f, 300, 650 + f, 365))] for f in (*range(20), *range(30, 50))}
    track = link(observations, 60).tracks[0]
    middle = track.samples[25]
    assert middle.source_frame == 25 and middle.evidence is Evidence.INTERPOLATED
    assert middle.ellipse.cx == pytest.approx(650, abs=4)
    half = 25 * FACE_SHAPE.width * (1 - SMOOTHING.noise_share)
    assert middle.ellipse.cx - middle.ellipse.rx <= 650 - half and middle.ellipse.cx + middle.ellipse.rx >= 650 + half


def test_tracklets_of_one_face_become_one_track() -> None:
    observations = {f: [make_observation(0, (600, 300, 650, 365))] for f in range(20)}
    observations |= {f: [make_observation(1, (605, 302, 655, 367))] for f in range(32, 50)}
    linked = link(observations, 60)
    assert len(linked.tracks) == 1 and len(linked.tracks[0].list_spans()) == 1


def test_a_face_that_was_hidden_continues_its_track() -> None:
    def hide(frames: int, shift: float, appearances: tuple[bytes, bytes] = (b"", b"")) -> LinkedTracks:
        observations = {f: [make_observation(0, (300 + 2 * f, 300, 350 + 2 * f, 365))] for f in range(30)}
        at = 30 + frames
        observations |= {
            f: [make_observation(1, (300 + 2 * f + shift, 300, 350 + 2 * f + shift, 365))] for f in range(at, at + 30)
        }
        observations[20][0].appearance, observations[at + 20][0].appearance = appearances
        return link(observations, at + 40)

    # While the face is hidden, it is covered only as long as a face may be tracked without a detection.
    (track,) = hide(50, 0).tracks
    assert len(track.list_spans()) == 2
    assert len(hide(50, 90).tracks) == 2 and len(hide(90, 0).tracks) == 2
    red, blue = (
        describe_appearance(np.full((200, 200, 3), colour, np.uint8), np.array([50, 50, 100, 120.0]))
        for colour in ((30, 30, 200), (200, 60, 30))
    )
    assert len(hide(50, 0, (red, red)).tracks) == 1 and len(hide(50, 0, (red, blue)).tracks) == 2


def test_nothing_crosses_a_cut() -> None:
    observations = {f: [make_observation(0, (600, 300, 650, 365))] for f in range(20)}
    observations |= {f: [make_observation(1, (600, 300, 650, 365))] for f in range(20, 40)}
    linked = link(observations, 60, cuts=(20,))
    assert [t.list_spans() for t in linked.tracks] == [[(0, 20)], [(20, linked.tracks[1].list_spans()[0][1])]]
    lone = link({f: [make_observation(0, (600, 300, 650, 365))] for f in range(20)}, 60, cuts=(22,))
    assert lone.tracks[0].list_spans() == [(0, 22)]


def test_a_face_that_leaves_the_picture_is_covered_until_it_is_gone() -> None:
    observations = {f: [make_observation(0, (1150 + 4 * f, 300, 1200 + 4 * f, 365))] for f in range(20)}
    last = link(observations, 90).tracks[0].samples[-1]
    # The face itself is 50 px wide; its cover has grown.
    assert last.ellipse.cx - 25 > SIZE[0]


def test_low_confidence_detections_are_listed_and_thorough_covers_them() -> None:
    observations = {f: [make_observation(0, (600, 300, 650, 365), 0.3)] for f in (10, 11)}
    careful = link(observations, 40)
    assert not careful.tracks
    assert [(d.start, d.stop) for d in careful.review_items] == [(10, 12)]
    assert (
        careful.review_items[0].reason is ReviewReason.LOW_CONFIDENCE and careful.review_items[0].detected_frames == 2
    )
    assert (
        "low confidence" in describe_reason(careful.review_items[0]) and careful.review_items[0].track == "Ignored 01"
    )
    # Nothing is lost: an editor can restore the track.
    (aside,) = careful.uncovered
    assert aside.name == "Ignored 01" and "low confidence" in describe_status(aside)
    assert (aside.status, aside.suppression) == (
        TrackStatus.SUPPRESSED,
        Suppression(SuppressionReason.LOW_CONFIDENCE, 2),
    )
    assert {10, 11} <= {sample.source_frame for sample in aside.samples}
    thorough = link(observations, 40, cover_doubts=True)
    assert len(thorough.tracks) == 1 and thorough.review_items[0].track == "Face 01" and not thorough.uncovered


def test_thorough_suppresses_large_tracks_with_low_confidence() -> None:
    def link_large(confidence: float, votes: int) -> LinkedTracks:
        observations = {f: [make_observation(0, (600, 300, 720, 460), confidence, votes)] for f in (10, 11)}
        return link(observations, 40, cover_doubts=True)

    assert link_large(0.3, 1).uncovered and not link_large(0.3, 1).tracks
    assert link_large(0.3, 2).tracks and link_large(0.6, 1).tracks


def test_a_low_confidence_tracklet_does_not_suppress_a_confident_one() -> None:
    observations = {f: [make_observation(0, (500, 200, 800, 600), 0.26)] for f in range(5)}
    observations |= {f: [*observations.get(f, []), make_observation(1, (600, 300, 650, 365))] for f in range(1, 4)}
    linked = link(observations, 40)
    assert [track.name for track in linked.tracks] == ["Face 01"] and len(linked.uncovered) == 1


def test_a_low_confidence_track_is_not_extended_out_of_the_picture() -> None:
    last = {}
    for confidence in (0.9, 0.3):
        observations = {
            f: [make_observation(0, (1190 + 4 * f, 300, 1240 + 4 * f, 360), confidence)] for f in range(5, 10)
        }
        last[confidence] = link(observations, 60, cover_doubts=True).tracks[0].samples[-1].source_frame
    assert last[0.9] > 20 and 13 <= last[0.3] <= 17


def test_many_low_confidence_detections_are_a_face() -> None:
    assert link({f: [make_observation(0, (600, 300, 650, 365), 0.32)] for f in range(10, 22)}, 40).tracks


def test_two_detectors_that_agree_are_a_face() -> None:
    assert link({f: [make_observation(0, (600, 300, 650, 365), 0.35, votes=2)] for f in (10, 11)}, 40).tracks


def test_a_single_picture_needs_no_second_detection() -> None:
    assert link({0: [make_observation(0, (600, 300, 650, 365), 0.4)]}, 1).tracks
    assert not link({0: [make_observation(0, (600, 300, 650, 365), 0.26)]}, 1).tracks


def test_a_fast_face_is_covered_along_its_motion() -> None:
    def middle(step: int) -> Ellipse:
        observations = {f: [make_observation(0, (100 + step * f, 300, 150 + step * f, 365))] for f in range(30)}
        return link(observations, 30).tracks[0].samples[15].ellipse

    slow, fast = middle(2), middle(30)
    assert slow.rx < 26.5
    # While the shutter is open, the face moves by half a frame's motion before and after.
    assert fast.rx >= 25 * FACE_SHAPE.width + 0.4 * 30 and fast.ry < 1.1 * slow.ry


def test_what_is_only_tracked_grows_no_larger_than_the_face_was() -> None:
    observations = {f: [make_observation(0, (600, 300, 650, 365))] for f in range(20)}
    # Optical flow carries the box off the face, onto something that comes closer.
    for f in range(20, 40):
        grown = 1 + 0.1 * (f - 19)
        box = 625 - 25 * grown, 332.5 - 32.5 * grown, 625 + 25 * grown, 332.5 + 32.5 * grown
        observations[f] = [make_observation(0, box, votes=0)]
    samples = [s for s in link(observations, 60).tracks[0].samples if s.evidence is not Evidence.EXTRAPOLATED]
    most = 1 + FILLING.most_growth_share
    assert len(samples) >= 30
    # Smoothing lets the last frames grow towards what is extrapolated.
    samples = samples[:-4]
    assert max(s.ellipse.rx for s in samples) <= 25 * most + 4
    assert max(s.ellipse.ry for s in samples) <= 32.5 * most + 4


def test_faces_that_cross_remain_two_tracks() -> None:
    observations = {
        f: [
            make_observation(0, (200 + 10 * f, 300, 250 + 10 * f, 365)),
            make_observation(1, (700 - 10 * f, 300, 750 - 10 * f, 365)),
        ]
        for f in range(50)
    }
    linked = link(observations, 50, joins={25: [(0, 1)]})
    assert len(linked.tracks) == 2
    assert all(len(t.samples) == 50 for t in linked.tracks)


def test_observations_without_a_detection_are_no_track() -> None:
    """The frame with the detection never arrived, because its process was stopped."""
    observations = {f: [make_observation(0, (600, 300, 650, 365), 0.9, votes=0)] for f in range(20, 30)}
    observations |= {f: [*observations.get(f, []), make_observation(1, (200, 300, 250, 365))] for f in range(30)}
    linked = link(observations, 30)
    assert [round(track.samples[0].ellipse.cx) for track in linked.tracks] == [225]


def test_tracklets_of_neighbouring_segments_are_joined() -> None:
    table = ObservationTable([Segment(0, 50), Segment(50, 100)])
    for frame in range(70):
        table.add(0, FrameRecord(frame, False, False, [make_observation(3, (600 + frame, 300, 650 + frame, 365))]))
    for frame in range(30, 100):
        table.add(1, FrameRecord(frame, False, False, [make_observation(0, (601 + frame, 300, 651 + frame, 365))]))
    assert table.count_missing() == 0
    linked = link_tracks(table, 100, SIZE, RATE, 0.5, False, True)
    assert len(linked.tracks) == 1
    assert linked.tracks[0].list_spans() == [(0, 100)]


def test_a_segment_counts_only_in_its_own_frames() -> None:
    table = ObservationTable([Segment(0, 50), Segment(50, 100)])
    for frame in range(70):
        observations = [make_observation(0, (600, 300, 650, 365))] if frame >= 55 else []
        table.add(0, FrameRecord(frame, False, False, observations))
    for frame in range(30, 100):
        table.add(1, FrameRecord(frame, False, False, []))
    assert not link_tracks(table, 100, SIZE, RATE, 0.5, False, True).tracks


def test_frames_must_be_complete_and_in_order() -> None:
    table = ObservationTable([Segment(0, 10)])
    table.add(0, FrameRecord(0, False, False))
    with pytest.raises(ValueError, match="was due"):
        table.add(0, FrameRecord(2, False, False))
    assert table.count_missing() == 9


def test_tracking_without_detection_is_listed_for_review() -> None:
    observations = {f: [make_observation(0, (600, 300, 650, 365), votes=int(f < 20 or f >= 60))] for f in range(80)}
    items = link(observations, 80).review_items
    assert [(d.start, d.stop, d.track) for d in items] == [(20, 60, "Face 01")]


def list_reasons(linked: LinkedTracks) -> list[tuple[str, str]]:
    return [(item.track, item.reason) for item in linked.review_items]


def test_a_track_that_begins_or_ends_in_the_middle_is_listed_for_review() -> None:
    observations = {f: [make_observation(0, (600, 300, 650, 365))] for f in range(30, 60)}
    assert list_reasons(link(observations, 100)) == [("Face 01", ReviewReason.BEGINS), ("Face 01", ReviewReason.ENDS)]
    assert list_reasons(link(observations, 100, cuts=(26, 63))) == []
    leaving = {f: [make_observation(0, (1150 + 4 * f, 300, 1200 + 4 * f, 365))] for f in range(20)}
    assert list_reasons(link(leaving, 90)) == []


def test_fast_motion_is_listed_for_review() -> None:
    observations = {
        f: [make_observation(0, (100 + 30 * max(0, min(f - 10, 10)), 300, 150 + 30 * max(0, min(f - 10, 10)), 365))]
        for f in range(30)
    }
    linked = link(observations, 30)
    assert list_reasons(linked) == [("Face 01", ReviewReason.FAST_MOTION)]
    assert 8 <= linked.review_items[0].start <= 12 and 18 <= linked.review_items[0].stop <= 24


def test_a_large_face_of_a_single_detector_is_listed_for_review() -> None:
    observations = {f: [make_observation(0, (100, 100, 350, 400))] for f in range(30)}
    assert list_reasons(link(observations, 30, several=False)) == []
    assert list_reasons(link(observations, 30)) == [("Face 01", ReviewReason.SINGLE_DETECTOR)]


@pytest.mark.parametrize("other", [(620, 300, 670, 365), (585, 280, 665, 385)])
def test_a_face_that_jumps_for_a_frame_is_listed_for_review(other: tuple[float, float, float, float]) -> None:
    observations = {f: [make_observation(0, (600, 300, 650, 365))] for f in range(30)}
    observations[15] = [make_observation(0, other)]
    linked = link(observations, 30)
    assert list_reasons(linked) == [("Face 01", ReviewReason.JUMP)]
    assert (linked.review_items[0].start, linked.review_items[0].stop) == (14, 17)
    assert list_reasons(link(observations, 30, cuts=(16,))) == []


def test_frames_with_a_single_detector_are_listed_for_review() -> None:
    observations = {f: [make_observation(0, (600, 300, 650, 365), votes=1 if 30 <= f < 45 else 2)] for f in range(80)}
    linked = link(observations, 80)
    assert [(d.track, d.reason, d.start, d.stop) for d in linked.review_items] == [
        ("Face 01", ReviewReason.DETECTORS_DISAGREE, 30, 45)
    ]
    for alone in (range(30, 40), range(20, 70)):
        observations = {f: [make_observation(0, (600, 300, 650, 365), votes=1 if f in alone else 2)] for f in range(80)}
        assert list_reasons(link(observations, 80)) == []


def test_tiny_faces_get_a_margin_where_low_confidence_is_covered() -> None:
    observations = {f: [make_observation(0, (600, 300, 612, 314))] for f in range(20)}
    (plain,), (wider,) = (link(observations, 20, cover_doubts=cover).tracks for cover in (False, True))
    growth = [b.ellipse.rx - a.ellipse.rx for a, b in zip(plain.samples, wider.samples, strict=True)]
    assert all(1 <= w < 2.5 for w in growth)


@pytest.mark.parametrize(
    ("every", "height", "confidence", "votes", "several", "covered"),
    [
        (3, 100, 0.7, 1, True, False),
        (3, 100, 0.7, 1, False, True),
        (2, 100, 0.7, 1, True, True),
        (3, 30, 0.7, 1, True, True),
        (3, 100, 0.7, 2, True, True),
        (3, 100, 0.9, 1, True, True),
    ],
)
def test_a_large_track_that_one_detector_rarely_finds_is_suppressed(
    every: int, height: int, confidence: float, votes: int, several: bool, covered: bool
) -> None:
    observations = {
        f: [
            make_observation(
                0,
                (600, 300, 600 + 0.8 * height, 300 + height),
                confidence,
                (votes if f == 30 else 1) if f % every == 0 else 0,
            )
        ]
        for f in range(61)
    }
    linked = link(observations, 61, several=several)
    assert [len(linked.tracks), len(linked.uncovered)] == [covered, not covered]
    if not covered:
        assert linked.uncovered[0].suppression == Suppression(SuppressionReason.RARELY_DETECTED, 21, 61)
        assert describe_status(linked.uncovered[0]) == (
            "detected by only one detector, in 21 of the 61 frames that all detectors searched"
        )
        assert linked.review_items[0].track == "Ignored 01"


@pytest.mark.parametrize(
    ("height", "votes", "several", "spans"),
    [
        (100, 1, True, (40 - 10 - 6, 51 + 10 + 6)),
        (100, 2, True, (20 - 6, 71 + 6)),
        (30, 1, True, (20 - 6, 71 + 6)),
        (100, 1, False, (20 - 6, 71 + 6)),
    ],
)
def test_a_large_track_of_a_single_detector_is_not_extended_far(
    height: int, votes: int, several: bool, spans: tuple[int, int]
) -> None:
    box = (600, 300, 600 + 0.8 * height, 300 + height)
    linked = link(
        {f: [make_observation(0, box, 0.8, votes if 40 <= f <= 50 else 0)] for f in range(20, 71)}, 100, several=several
    )
    assert linked.tracks[0].list_spans() == [spans]
