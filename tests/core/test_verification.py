# SPDX-License-Identifier: GPL-3.0-or-later
"""Uncovered faces are leaks, even in noise and darkness, but covered faces and faces shown on purpose are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.types import (
    Box,
    Ellipse,
    Evidence,
    FaceBlurError,
    ModelUse,
    Sample,
    SourceInfo,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackKind,
    TrackStatus,
)
from blender_faceblur.core.verification import findings
from blender_faceblur.core.verification.exposure import Visibility, measure_shown
from blender_faceblur.core.verification.findings import ExpectedFace, Finding, FindingKind, FindingReason, Verification
from blender_faceblur.core.verification.leaks import FilmDetection, LeakClassifier
from blender_faceblur.core.verification.sync import SyncChecker
from blender_faceblur.reporting.wording import describe_finding_reason

FACE = Ellipse(80.0, 60.0, 24.0, 30.0, 0.2)
BLOCK = 8.0
Grey = NDArray[np.uint8]


def draw_scene(strength: float = 25.0, seed: int = 3) -> Grey:
    """Soft noise with detail of many sizes, like that of skin, eyes and cloth; 160 x 120."""
    random = np.random.default_rng(seed)
    picture = np.full((120, 160), 110.0)
    for cells, part in ((10, 1.0), (24, 0.7), (60, 0.4)):
        picture += (
            strength
            * part
            * cv2.resize(random.uniform(-1, 1, (cells, cells)), (160, 120), interpolation=cv2.INTER_CUBIC)
        )
    levels: Grey = np.clip(picture, 0, 255).astype(np.uint8)
    return levels


def add_noise(picture: Grey, level: float) -> Grey:
    noise = np.random.default_rng(9).normal(0, level, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def cover(picture: Grey, kind: str, factor: float = 1.3, shift: float = 0.0, face: Ellipse = FACE) -> Grey:
    """The picture with a cover over the face, `factor` times as large and moved to the right by `shift`."""
    height, width = picture.shape
    blocks = round(width / BLOCK), round(height / BLOCK)
    small = cv2.resize(picture, blocks, interpolation=cv2.INTER_AREA)
    ways: dict[str, Callable[[], Grey]] = {
        "mosaic": lambda: cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST),
        "blur": lambda: cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC),
        "solid": lambda: np.full_like(picture, 0),
    }
    whole = ways[kind]()
    y, x = np.mgrid[0:height, 0:width] + 0.5
    inside = ((x - face.cx - shift) / (factor * face.rx)) ** 2 + ((y - face.cy) / (factor * face.ry)) ** 2 <= 1
    return np.where(inside, whole, picture).astype(np.uint8)


def measure(source: Grey, film: Grey, face: Ellipse = FACE, block: float = BLOCK) -> Visibility:
    shown = measure_shown(source, film, face, block)
    assert shown is not None
    return shown


@pytest.mark.parametrize(("strength", "noise"), [(4.0, 0.0), (8.0, 0.7), (25.0, 1.5), (25.0, 2.0), (60.0, 3.0)])
def test_an_uncovered_face_shows_through_coding_noise(strength: float, noise: float) -> None:
    source = draw_scene(strength)
    shown = measure(source, add_noise(source, noise))
    assert shown.leaks and shown.share > 0.8 * shown.decided > 0.2


@pytest.mark.parametrize("noise", [0.0, 1.5, 3.0])
@pytest.mark.parametrize("kind", ["mosaic", "blur", "solid"])
@pytest.mark.parametrize("strength", [3.0, 8.0, 25.0, 60.0])
def test_a_covered_face_does_not_show(kind: str, strength: float, noise: float) -> None:
    source = draw_scene(strength)
    shown = measure(source, add_noise(cover(source, kind), noise))
    assert not shown.leaks and shown.share < 0.12


def test_a_face_almost_hidden_by_noise_is_listed_for_review() -> None:
    """Coding noise may be as strong as the detail of a faint face."""
    source = draw_scene(12.0)
    shown = measure(source, add_noise(source, 2.0))
    assert shown.uncertain and not shown.leaks and not shown.flat
    classifier = LeakClassifier()
    classifier.add_face(0, ExpectedFace("Face 01", FACE), shown, lambda: b"")
    leaks, to_review, _ = classifier.finish()
    assert leaks == [] and to_review[0].reason is FindingReason.TOO_FAINT
    assert not measure(source, add_noise(cover(source, "mosaic"), 2.0)).uncertain


def test_changed_brightness_has_no_effect() -> None:
    source = draw_scene()
    assert measure(source, (source.astype(int) * 0.9 + 12).astype(np.uint8)).share > 0.9
    assert measure(source, (cover(source, "mosaic").astype(int) * 0.9 + 12).astype(np.uint8)).share < 0.12


def test_a_cover_beside_the_face_is_a_leak() -> None:
    source = draw_scene()
    shares = [measure(source, cover(source, "mosaic", shift=shift)).share for shift in (0, 20, 40, 80)]
    assert shares[0] < 0.05 and 0.25 < shares[2] < 0.9 and shares[3] > 0.9 and sorted(shares) == shares


@pytest.mark.parametrize("edge", range(72, 89, 2))
def test_an_edge_along_the_blocks_is_not_a_face(edge: int) -> None:
    """An object in front of a face may end at the edge of a block. The edge survives, but nothing of the face."""
    source = draw_scene()
    source[:, :edge] = 30
    assert measure(source, cover(source, "mosaic")).share < 0.1
    assert measure(source, add_noise(source, 1.0)).leaks


def test_a_flat_sign_is_recognised_by_its_edge() -> None:
    sign = np.full((120, 160), 60, np.uint8)
    cv2.ellipse(sign, (80, 60), (22, 28), 0, 0, 360, 190, -1)
    assert measure(sign, add_noise(sign, 1.0)).leaks
    for kind in ("mosaic", "blur", "solid"):
        assert not measure(sign, add_noise(cover(sign, kind), 1.0)).leaks


def test_flat_dark_faces_are_not_false_alarms() -> None:
    dark = np.full((120, 160), 17, np.uint8)
    for film in (dark, add_noise(dark, 0.5), cover(dark, "mosaic")):
        shown = measure(dark, film)
        assert shown.flat and not shown.leaks


@pytest.mark.parametrize("size", [4.0, 6.0, 10.0])
def test_small_faces_are_compared(size: float) -> None:
    source = draw_scene(40)
    face = Ellipse(70, 50, size, 1.3 * size)
    assert measure(source, add_noise(source, 1.0), face, BLOCK).leaks
    assert not measure(source, add_noise(cover(source, "mosaic", 1.4, face=face), 1.0), face, BLOCK).leaks


def test_faces_outside_the_picture_are_not_compared() -> None:
    source = draw_scene()
    assert measure_shown(source, source, Ellipse(-60, 50, 20, 20), BLOCK) is None
    assert measure_shown(source, source, Ellipse(-17, 50, 20, 20), BLOCK) is not None


def make_document(tracks: list[Track], aside: list[Track] | None = None) -> TrackDocument:
    source = SourceInfo("film.mp4", "movie", 160, 120, 50, Fraction(25), "0" * 64)
    return TrackDocument(source, "balanced", 1.4, [], [], tracks, [], [], aside or [])


def make_track(name: str, start: int, stop: int, **more: object) -> Track:
    return Track(name, [Sample(f, FACE, Evidence.DETECTED, 0.9) for f in range(start, stop)], **more)  # type: ignore[arg-type]


def test_tracks_that_an_editor_shows_are_kept_and_suppressed_ones_are_not() -> None:
    document = make_document(
        [make_track("Face 01", 0, 10, off=[(4, 6)])],
        [
            make_track(
                "Ignored 01",
                0,
                3,
                status=TrackStatus.SUPPRESSED,
                suppression=Suppression(SuppressionReason.LOW_CONFIDENCE, 3),
            ),
            make_track("Face 02", 2, 5, status=TrackStatus.DELETED),
            make_track("Face 03", 7, 9, status=TrackStatus.ALLOWED, allowed_person="Ann"),
            make_track("Poster", 0, 2, kind=TrackKind.NEVER, status=TrackStatus.EXEMPT),
        ],
    )
    places = findings.list_places(document)
    assert [place.kept for place in places[3]] == [None, FindingReason.DELETED]
    assert [place.kept for place in places[4]] == [FindingReason.SWITCHED_OFF, FindingReason.DELETED]
    assert {place.track for place in places[0]} == {"Face 01", "Poster"}
    assert {place.track for place in findings.list_places(document, {"Ignored 01"}.__contains__)[0]} == {
        "Face 01",
        "Poster",
        "Ignored 01",
    }
    assert [(one.track, one.start, one.stop) for one in findings.list_shown_on_purpose(document)] == [
        ("Poster", 0, 2),
        ("Face 02", 2, 5),
        ("Face 01", 4, 6),
        ("Face 03", 7, 9),
    ]
    box = findings.compute_bounding_box(FACE)
    assert findings.get_kept_reason(places[4], box) is FindingReason.SWITCHED_OFF
    assert findings.get_kept_reason(places[9], box) is None
    assert [describe_finding_reason(one) for one in findings.list_shown_on_purpose(document)] == [
        "never blurred",
        "deleted by the editor",
        "switched off by the editor",
        "kept visible: Ann",
    ]


def classify_faces(shares: dict[int, float]) -> tuple[list[Finding], list[Finding]]:
    classifier = LeakClassifier()
    for frame, share in shares.items():
        classifier.add_face(frame, ExpectedFace("Face 01", FACE), Visibility(share, 1.0), lambda: b"picture")
    leaks, to_review, weak = classifier.finish()
    assert weak == 0
    return leaks, to_review


def test_leaking_frames_are_grouped_into_runs() -> None:
    shares = dict.fromkeys(range(40), 0.02) | dict.fromkeys(range(10, 14), 0.9) | {12: 1.0, 30: 0.3}
    leaks, to_review = classify_faces(shares)
    assert [(leak.start, leak.stop, leak.frames, leak.worst, leak.share) for leak in leaks] == [
        (10, 14, 4, 12, 1.0),
        (30, 31, 1, 30, 0.3),
    ]
    assert leaks[0].reason is FindingReason.NOT_COVERED and leaks[0].picture == b"picture"
    assert leaks[1].reason is FindingReason.PARTLY_COVERED and to_review == []
    leaks, to_review = classify_faces({0: 0.16, 1: 0.01})
    assert leaks == [] and [item.stop for item in to_review] == [1]


BOX: Box = (10.0, 10.0, 30.0, 36.0)


def classify_passes(
    passes: list[tuple[float, float]], single: bool = False, kept: FindingReason | None = None
) -> tuple[int, int, int]:
    """How many leaks, findings to review and weak detections result from passes with two detectors' confidences."""
    classifier = LeakClassifier(single)
    for number, confidences in enumerate(passes):
        named = tuple((name, value) for name, value in zip(("one", "two"), confidences, strict=True) if value)
        found = [(FilmDetection(BOX, named), Visibility(1.0, 1.0), kept)] if named else []
        classifier.add_detections(3 * number, found, lambda box: b"picture")
    leaks, to_review, weak = classifier.finish()
    return len(leaks), len(to_review), weak


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        ([(0.6, 0.5), (0.5, 0.7)], (1, 0, 0)),
        ([(0.9, 0.0), (0.85, 0.2)], (1, 0, 0)),
        ([(0.6, 0.5)], (0, 1, 0)),
        ([(0.6, 0.5), (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), (0.6, 0.5)], (0, 2, 0)),
        ([(0.7, 0.1), (0.65, 0.0)], (0, 1, 0)),
        ([(0.7, 0.1), (0.3, 0.2), (0.5, 0.0)], (0, 0, 1)),
        ([(0.4, 0.25)] * 9, (0, 0, 1)),
    ],
)
def test_an_unexpected_face_needs_two_neighbouring_passes(
    passes: list[tuple[float, float]], expected: tuple[int, int, int]
) -> None:
    assert classify_passes(passes) == expected
    assert classify_passes(passes, kept=FindingReason.DELETED) == (0, 0, 0)


def test_a_single_picture_needs_one_pass() -> None:
    assert classify_passes([(0.6, 0.5)], single=True) == (1, 0, 0)


def test_a_confident_detection_asks_for_the_next_frame() -> None:
    def needs_next(one: float, two: float, kept: FindingReason | None = None) -> bool:
        return LeakClassifier().add_detections(
            0, [(FilmDetection(BOX, (("one", one), ("two", two))), Visibility(1, 1), kept)], lambda box: b""
        )

    assert needs_next(0.6, 0.5) and not needs_next(0.6, 0.2) and not needs_next(0.6, 0.5, FindingReason.DELETED)


def test_pictures_of_another_frame_are_reported() -> None:
    frames = [np.roll(draw_scene(), 5 * i, axis=1) for i in range(6)]

    def check_sync(film: list[Grey]) -> list[str]:
        checker = SyncChecker(1.4)
        for frame, (source, picture) in enumerate(zip(frames, film, strict=True)):
            checker.compare(frame, source, picture, [ExpectedFace("Face 01", FACE)])
        return checker.describe()

    assert check_sync([add_noise(cover(frame, "solid"), 2) for frame in frames]) == []
    assert "out of sync" in check_sync([frames[0], *frames[:5]])[0]
    assert "out of sync" in check_sync([*frames[1:], frames[5]])[-1]
    assert "different pictures" in check_sync([draw_scene(seed=50 + i) for i in range(6)])[0]


def make_verification() -> Verification:
    leak = Finding(
        FindingKind.LEAK, "Face 01", 3, 9, 6, 4, (1.0, 2.0, 3.5, 4.0), 0.8, 1.0, FindingReason.NOT_COVERED, b"\xff\xd8"
    )
    return Verification(
        "out.mp4",
        "in.mp4",
        50,
        2.0,
        1,
        40,
        2,
        17,
        3,
        5,
        [ModelUse("centerface", "ab", 960, 0.2)],
        [leak],
        [],
        [],
        [],
        ["a note"],
        {"Face 01": b"\xff"},
        1.5,
    )


def test_a_verification_reads_back_the_same() -> None:
    verification = make_verification()
    assert not verification.passed
    assert findings.from_json(findings.to_json(verification)) == verification
    saved = json.loads(findings.to_json(verification))
    assert (saved["looked"], saved["weak"], saved["doubts"], saved["kept"]) == (17, 5, [], []), "as in earlier versions"
    for broken in (
        "",
        "[]",
        "{}",
        '{"schema":"faceblur-verification","version":2}',
        "[" * 9999,
        findings.to_json(verification).replace('"leaks": [', '"leaks": [3, '),
    ):
        with pytest.raises(FaceBlurError):
            findings.from_json(broken)
