# SPDX-License-Identifier: GPL-3.0-or-later
"""A separate process verifies a film of the astronaut: it finds every leak in its frames and reports no false ones.

The faces and their positions are known and the covers are drawn here, so no detector influences the expectation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.document.tracks_file import read_document, write_document
from blender_faceblur.core.tracking import analysis
from blender_faceblur.core.types import Ellipse, Evidence, FaceBlurError, Sample, Track, TrackDocument, TrackStatus
from blender_faceblur.core.verification.exposure import Visibility
from blender_faceblur.core.verification.findings import ExpectedFace, FindingReason, Verification, from_json
from blender_faceblur.core.verification.leaks import FilmDetection
from blender_faceblur.sources import open_source
from blender_faceblur.worker.client import VerifyOptions, build_verify_request, run_job
from blender_faceblur.worker.compare import FrameComparison, from_text, to_text
from blender_faceblur.worker.ensemble import Networks
from blender_faceblur.worker.protocol import ErrorMessage, Progress, Running, VerificationDone
from blender_faceblur.worker.verify import verify as verify_film
from tools.film import FaceTruth, draw_frame, write_film

SIZE = (320, 180)
RATE = Fraction(12)
FRAMES = 18
MARGIN = 1.4

Shows = Callable[[int, int], bool]
"""(frame, face) -> whether that face is left uncovered there."""


def make_scene(folder: Path, scene: str) -> tuple[Path, Path, list[list[FaceTruth]]]:
    """A film, and a tracks document with its exact faces."""
    film = folder / f"{scene}.mp4"
    drawn = (draw_frame(frame / FRAMES, *SIZE, scene) for frame in range(FRAMES))
    truth = write_film(film, drawn, width=SIZE[0], height=SIZE[1], frame_rate=RATE, frame_count=FRAMES)
    samples: dict[int, list[Sample]] = {}
    for frame, faces in enumerate(truth):
        for face in faces:
            samples.setdefault(face.face, []).append(Sample(frame, face.ellipse, Evidence.DETECTED, 0.9))
    with open_source(film) as source:
        document = TrackDocument(
            source.info,
            "balanced",
            MARGIN,
            [],
            [],
            [Track(f"Face {n:02}", own) for n, own in sorted(samples.items())],
            [],
        )
    tracks = folder / "tracks.json"
    write_document(document, tracks)
    return film, tracks, truth


def obscure(picture: NDArray[np.uint8], face: Ellipse) -> NDArray[np.uint8]:
    import cv2

    block = 2 * face.rx / 6
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (round(width / block), round(height / block)), interpolation=cv2.INTER_AREA)
    whole = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    inside = np.zeros((height, width), np.uint8)
    cv2.ellipse(
        inside,
        (round(face.cx), round(face.cy)),
        (round(MARGIN * face.rx), round(MARGIN * face.ry)),
        np.degrees(face.angle),
        0,
        360,
        1,
        -1,
    )
    return np.where(inside[..., None] > 0, whole, picture).astype(np.uint8)


def cover(
    film: Path,
    output: Path,
    truth: list[list[FaceTruth]],
    shows: Shows = lambda frame, face: False,
    crf: int = 17,
    late: int = 0,
) -> Path:
    """The covered film; its pictures are delayed by `late` frames."""
    with open_source(film) as source:
        pictures = [np.array(picture) for _, picture in source.read_frames()]

    def draw() -> Iterator[tuple[NDArray[np.uint8], list[FaceTruth]]]:
        for frame in range(len(pictures)):
            shown = max(frame - late, 0)
            picture = pictures[shown]
            for face in truth[shown]:
                if not shows(frame, face.face):
                    picture = obscure(picture, face.ellipse)
            yield picture, []

    write_film(output, draw(), width=SIZE[0], height=SIZE[1], frame_rate=RATE, frame_count=len(pictures), crf=crf)
    return output


def verify(film: Path, output: Path, tracks: Path, every: int = 3, **more: Any) -> Verification:
    reported = tracks.with_name("verification.json")
    messages = list(run_job(build_verify_request(film, output, tracks, reported, VerifyOptions(every=every, **more))))
    assert isinstance(messages[-1], VerificationDone), messages[-1]
    assert any(isinstance(message, Progress) and message.done == message.total for message in messages)
    verification = from_json(reported.read_text(encoding="utf-8"))
    assert messages[-1].leaks == len(verification.leaks)
    return verification


def list_leaks(verification: Verification) -> list[tuple[str, int, int]]:
    return [(leak.track, leak.start, leak.stop) for leak in verification.leaks]


@pytest.mark.parametrize("scene", ["crossing", "crowd"])
def test_a_covered_film_has_no_leak_and_an_uncovered_stretch_is_found(scene: str, tmp_path: Path) -> None:
    film, tracks, truth = make_scene(tmp_path, scene)
    covered = verify(film, cover(film, tmp_path / "covered.mp4", truth), tracks)
    assert covered.passed and covered.uncertain == [] and covered.flat == 0
    assert (covered.frames, covered.searched_frames, covered.sound_streams) == (FRAMES, FRAMES // 3, 0)
    assert covered.compared > 20 and {"Face 00", "Face 01"} <= set(covered.faces)

    leaking = verify(
        film, cover(film, tmp_path / "leaking.mp4", truth, lambda frame, face: face == 0 and frame in (8, 9)), tracks
    )
    assert list_leaks(leaking) == [("Face 00", 8, 10)] and leaking.leaks[0].share > 0.6
    assert leaking.leaks[0].picture.startswith(b"\xff\xd8") and leaking.problems == []


def test_low_quality_hides_no_leak(tmp_path: Path) -> None:
    film, tracks, truth = make_scene(tmp_path, "steady")
    output = cover(film, tmp_path / "out.mp4", truth, lambda frame, face: frame == 5, crf=28)
    assert list_leaks(verify(film, output, tracks, 18)) == [("Face 00", 5, 6)]


def test_an_unexpected_face_is_found(tmp_path: Path) -> None:
    film, tracks, truth = make_scene(tmp_path, "crossing")
    document = read_document(tracks)
    left_out = document.tracks.pop(0)
    write_document(document, tracks)
    output = cover(film, tmp_path / "out.mp4", truth, lambda frame, face: face == 0)
    # Before and after the two faces meet: a hidden face cannot be detected.
    verification = verify(film, output, tracks)
    assert {leak.track for leak in verification.leaks} == {""}
    assert verification.leaks[0].reason is FindingReason.UNEXPECTED
    where = left_out.samples[verification.leaks[0].worst].ellipse
    x1, y1, x2, y2 = verification.leaks[0].box
    assert x1 < where.cx < x2 and y1 < where.cy < y2
    assert min(leak.start for leak in verification.leaks) <= 3

    left_out.status = TrackStatus.DELETED
    write_document(replace(document, uncovered=[left_out]), tracks)
    chosen = verify(film, output, tracks)
    assert chosen.leaks == [] and [one.track for one in chosen.shown_on_purpose] == [left_out.name]


def test_a_disabled_track_may_show_only_in_those_frames(tmp_path: Path) -> None:
    film, tracks, truth = make_scene(tmp_path, "steady")
    document = read_document(tracks)
    document.tracks[0].off = [(4, 8)]
    write_document(document, tracks)
    output = cover(film, tmp_path / "out.mp4", truth, lambda frame, face: 4 <= frame < 10)
    verification = verify(film, output, tracks, 6)
    assert list_leaks(verification) == [("Face 00", 8, 10)]
    assert [(one.start, one.stop) for one in verification.shown_on_purpose] == [(4, 8)]


def test_a_film_out_of_sync_or_truncated_is_a_problem(tmp_path: Path) -> None:
    film, tracks, truth = make_scene(tmp_path, "demo")
    late = verify(film, cover(film, tmp_path / "late.mp4", truth, late=1), tracks, 18)
    assert any("out of sync" in problem for problem in late.problems) and not late.passed
    short = tmp_path / "short.mp4"
    drawn = (draw_frame(frame / FRAMES, *SIZE, "demo") for frame in range(FRAMES - 2))
    write_film(short, drawn, width=SIZE[0], height=SIZE[1], frame_rate=RATE, frame_count=FRAMES - 2, sound=True)
    problems = verify(film, short, tracks, 18).problems
    assert any("16 pictures instead of 18" in problem for problem in problems)


def test_a_timeline_shows_a_part_of_the_source_scaled(tmp_path: Path) -> None:
    import cv2

    film, tracks, truth = make_scene(tmp_path, "steady")
    covered = cover(film, tmp_path / "covered.mp4", truth, lambda frame, face: frame in (10, 11))
    with open_source(covered) as source:
        pictures = [np.asarray(cv2.resize(picture, (480, 270)), np.uint8) for _, picture in source.read_frames(6, 14)]
    nothing = [np.zeros((270, 480, 3), np.uint8)] * 2
    shown = tmp_path / "timeline.mp4"
    write_film(
        shown,
        ((picture, []) for picture in [*nothing, *pictures]),
        width=480,
        height=270,
        frame_rate=RATE,
        frame_count=10,
        crf=17,
    )
    verification = verify(film, shown, tracks, 18, shown=[(2, 6, 8)], place=(1.5, 0.0, 0.0, 0.0, 1.5, 0.0))
    assert list_leaks(verification) == [("Face 00", 6, 8)] and verification.compared == 8
    assert verification.problems == []


@pytest.mark.parametrize("late", [0, 1])
def test_the_number_of_processes_makes_no_difference(
    late: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leak, an unexpected face and late pictures lie across the borders of the parts, on a timeline."""
    monkeypatch.setattr(
        analysis, "FRAME_ANALYSIS", replace(analysis.FRAME_ANALYSIS, least_segment_s=0.1, least_segment_frames=2)
    )
    film, tracks, truth = make_scene(tmp_path, "crossing")
    document = read_document(tracks)
    document.tracks.pop(0)
    write_document(document, tracks)
    output = cover(film, tmp_path / "out.mp4", truth, lambda frame, face: face == 0 or 4 < frame < 9, late=late)
    more: dict[str, Any] = {"shown": [(2, 0, 7), (11, 9, 6)], "place": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)} if late else {}
    found = []
    for processes in (1, 3):
        reported: list[Any] = []
        verify_film(
            build_verify_request(
                film, output, tracks, tmp_path / "v.json", VerifyOptions(every=2, processes=processes, **more)
            ),
            reported.append,
            Networks(),
        )
        found.append(from_json((tmp_path / "v.json").read_text(encoding="utf-8")))
        found[-1].seconds = 0.0
        assert [type(message) for message in reported].count(Running) == 1
    assert found[0] == found[1]
    assert found[0].frames == (13 if late else FRAMES)
    assert {leak.track for leak in found[0].leaks} == (set() if late else {"", "Face 01"})
    assert any("out of sync" in text for text in found[0].problems) == bool(late)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["crossing.mp4", "out.mp4", "tracks.json", "v.json"]


def test_comparisons_survive_writing_and_reading() -> None:
    face = ExpectedFace("Face 01", Ellipse(1 / 3, 2.0, 3.0, 4.0, 0.1))
    find = FilmDetection((1.5, 2.0, 1 / 7, 4.0), (("yunet_2023mar", 0.3),))
    seen = FrameComparison(
        7,
        True,
        False,
        3,
        1,
        [(face, Visibility(0.5, 1.0, 0.1), b"picture")],
        [(find, Visibility(1, 1), FindingReason.DELETED, b""), (find, Visibility(1, 1), None, b"")],
        {"Face 01": b"face"},
    )
    assert from_text(to_text(seen)) == seen and from_text(to_text(FrameComparison(8))) == FrameComparison(8)
    for line in ("", "[]", "{}", "[1,2,3,4,5,6,7,8]"):
        with pytest.raises(FaceBlurError):
            from_text(line)


def test_another_source_is_rejected(tmp_path: Path) -> None:
    film, tracks, truth = make_scene(tmp_path, "steady")
    other = cover(film, tmp_path / "other.mp4", truth)
    *_, last = run_job(build_verify_request(other, film, tracks, tmp_path / "v.json"))
    assert isinstance(last, ErrorMessage) and "has changed" in last.text


@pytest.mark.skipif("FACEBLUR_MEDIA" not in os.environ, reason="FACEBLUR_MEDIA does not name the annotated clips")
def test_an_uncovered_real_clip_is_all_leaks(tmp_path: Path) -> None:
    """The clip verified against itself, with one known face expected."""
    clip = Path(os.environ["FACEBLUR_MEDIA"]) / "head-pose-face-detection-female.mp4"
    with open_source(clip) as source:
        info = source.info
    face = Track("Face 01", [Sample(0, Ellipse(info.width / 2, info.height / 2, 40, 50), Evidence.DETECTED, 1.0)])
    tracks = tmp_path / "tracks.json"
    write_document(TrackDocument(info, "balanced", MARGIN, [], [], [face], []), tracks)
    assert ("Face 01", 0, 1) in list_leaks(verify(clip, clip, tracks, 1000))
