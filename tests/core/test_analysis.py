# SPDX-License-Identifier: GPL-3.0-or-later
"""From pictures to a document with an ideal detector: optical flow, fusion and presets."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.detection.fusion import fuse_detections
from blender_faceblur.core.detection.picture_sizes import compute_decode_size, compute_detector_size, fit_size
from blender_faceblur.core.detection.settings import PRESETS, DetectorUse, choose_detectors, get_preset, list_detectors
from blender_faceblur.core.geometry import FACE_SHAPE
from blender_faceblur.core.tracking.analysis import analyse_frames, build_document, compute_stride, split_range
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.tracking.optical_flow import track_boxes
from blender_faceblur.core.types import Detection, Evidence, FaceBlurError, SourceInfo

SIZE = (640, 360)
COUNT = 60


def make_texture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 255, (height // 4 + 1, width // 4 + 1)).astype(np.float32)
    resized: NDArray[np.float32] = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(resized, 0, 255).astype(np.uint8)


GROUND, FACE = make_texture(360, 640, 1), make_texture(64, 48, 2)


def face_box(frame: int) -> tuple[int, int, int, int]:
    x, y = 100 + 5 * frame, 120 + frame
    return x, y, x + 48, y + 64


def make_frame(frame: int) -> NDArray[np.uint8]:
    grey = GROUND.copy()
    x1, y1, x2, y2 = face_box(frame)
    grey[y1:y2, x1:x2] = FACE
    return np.repeat(grey[..., None], 3, axis=2)


def make_frames(count: int = COUNT) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for frame in range(count):
        yield frame, make_frame(frame)


class Oracle:
    """A detector that knows the face's place in consecutive frames, and misses it in a given range."""

    def __init__(self, missed: range) -> None:
        self._frame = -1
        self._missed = missed

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        self._frame += 1
        if self._frame in self._missed:
            return []
        x, y = image_bgr.shape[1] / SIZE[0], image_bgr.shape[0] / SIZE[1]
        x1, y1, x2, y2 = face_box(self._frame)
        return [Detection((x1 * x, y1 * y, x2 * x, y2 * y), 0.9, "oracle")]


def test_a_missed_face_is_tracked_by_optical_flow() -> None:
    use = DetectorUse("oracle", 640, 0.2)
    records = list(analyse_frames(make_frames(), SIZE, 25, [(Oracle(range(20, 40)), use)], 0.5))
    assert [r.source_frame for r in records] == list(range(COUNT))
    table = ObservationTable([Segment(0, COUNT)])
    for record in records:
        table.add(0, record)
    source = SourceInfo("film.mp4", "movie", *SIZE, COUNT, Fraction(25), "0" * 64)
    document = build_document(table, source, get_preset("balanced"), 1.4, [], ["a note"])
    assert document.notes == ["a note"] and [(s.start, s.stop) for s in document.shots] == [(0, COUNT)]
    (track,) = document.tracks
    assert track.list_spans() == [(0, COUNT)]
    for sample in track.samples:
        x1, y1, x2, y2 = face_box(sample.source_frame)
        # The less certain a box is, the less of it is left out.
        lower = sample.ellipse.cy - (y1 + y2) / 2
        assert abs(sample.ellipse.cx - (x1 + x2) / 2) < 3 and -3 < lower < FACE_SHAPE.down * (y2 - y1) + 3
        assert sample.ellipse.rx >= 23 * FACE_SHAPE.width and sample.ellipse.ry >= 31 * FACE_SHAPE.height
    assert track.samples[30].evidence is Evidence.FLOW


def test_boxes_are_in_pixels_of_the_source() -> None:
    import cv2

    frames = ((i, np.asarray(cv2.resize(f, (320, 192), interpolation=cv2.INTER_AREA))) for i, f in make_frames(12))
    use = DetectorUse("oracle", 320, 0.2)
    records = list(analyse_frames(frames, SIZE, 25, [(Oracle(range(0)), use)], 0.5))
    np.testing.assert_allclose(records[5].observations[0].box, face_box(5), atol=1)


def test_repeated_pictures_are_analysed_once() -> None:
    picture = make_frame(0)
    oracle = Oracle(range(0))
    records = list(
        analyse_frames(((i, picture) for i in range(8)), SIZE, 25, [(oracle, DetectorUse("oracle", 640, 0.2))], 0.5)
    )
    assert oracle._frame == 0
    assert all(len(r.observations) == 1 for r in records)


def test_an_analysis_leaves_no_picture_behind() -> None:
    """A cycle of references would keep them until Python next looks for cycles: a process that analyses thousands of
    pictures grew."""
    kept: list[weakref.ref[Any]] = []

    def note_frames() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for number, picture in make_frames(3):
            kept.append(weakref.ref(picture))
            yield number, picture

    gc.disable()
    try:
        use = DetectorUse("oracle", 640, 0.2)
        assert len(list(analyse_frames(note_frames(), SIZE, 25, [(Oracle(range(0)), use)], 0.5))) == 3
        assert [one() is None for one in kept] == [True] * 3
    finally:
        gc.enable()


def test_optical_flow_tracks_motion_and_size_and_rejects_other_pictures() -> None:
    import cv2

    picture = make_texture(240, 320, 3)
    moved = cv2.warpAffine(picture, np.array([[1.03, 0, 4.0], [0, 1.03, -3.0]]), (320, 240))
    box = np.array([100.0, 80, 150, 140])
    (flowed,) = track_boxes(picture, np.asarray(moved), [box])
    assert flowed is not None
    np.testing.assert_allclose(flowed, box * 1.03 + np.array([4, -3, 4, -3]), atol=1)
    assert track_boxes(picture, make_texture(240, 320, 4), [box]) == [None]
    assert track_boxes(picture, picture, [np.array([-200.0, -200, -100, -100])]) == [None]


def test_detections_of_one_face_are_fused() -> None:
    fused = fuse_detections(
        [
            Detection((100, 100, 150, 165), 0.9, "one", ((110, 120), (140, 120), (125, 135), (112, 150), (138, 150))),
            Detection((102, 98, 152, 163), 0.6, "two"),
            Detection((110, 110, 140, 150), 0.3, "two"),
            Detection((400, 100, 450, 165), 0.4, "one"),
        ]
    )
    assert [face.votes for face in fused] == [2, 1]
    assert fused[0].confidence == 0.9 and fused[0].roll == pytest.approx(0)
    assert 100 <= fused[0].box[0] <= 102
    assert fused[1].roll is None


def test_a_part_found_by_one_detector_extends_the_face_of_the_other() -> None:
    (fused,) = fuse_detections([Detection((100, 100, 140, 150), 0.9, "one"), Detection((90, 95, 170, 160), 0.5, "two")])
    assert tuple(fused.box) == (90, 95, 170, 160)
    assert fuse_detections([]) == []


def test_small_faces_in_a_huge_box_stay_separate() -> None:
    fused = fuse_detections(
        [
            Detection((100, 100, 120, 125), 0.8, "one"),
            Detection((150, 100, 170, 125), 0.8, "one"),
            Detection((50, 50, 250, 250), 0.3, "two"),
        ]
    )
    assert len(fused) == 3


def test_pictures_are_never_enlarged() -> None:
    assert fit_size((320, 240), 640) == (320, 240)
    assert fit_size((1080, 1920), 640) == (360, 640)
    assert compute_detector_size((1920, 1080), 960) == (960, 544)
    assert compute_detector_size((320, 240), 960) == (320, 240)
    assert compute_decode_size((1920, 1080), get_preset("balanced").detectors) == (960, 544)


@pytest.mark.parametrize(("count", "processes", "parts"), [(1, 2, 1), (150, 2, 1), (300, 2, 2), (10_000, 3, 3)])
def test_segments_cover_all_frames(count: int, processes: int, parts: int) -> None:
    segments = split_range(count, 25, processes)
    assert len(segments) == parts
    assert [f for s in segments for f in range(s.start, s.stop)] == list(range(count))


def test_a_preset_that_lacks_a_detector_is_refused() -> None:
    for preset in (preset for preset in PRESETS if not preset.on_request):
        for name in list_detectors(preset):
            with pytest.raises(FaceBlurError, match=f"'{preset.name}' needs detectors that are missing: {name}"):
                choose_detectors(preset, {"centerface", "yunet_2023mar"} - {name})
    uses, notes = choose_detectors(get_preset("balanced"), {"centerface", "yunet_2023mar"})
    assert [(u.detector, u.long_side) for u in uses] == [("centerface", 640), ("yunet_2023mar", 960)] and not notes
    with pytest.raises(FaceBlurError, match="fast, balanced, thorough"):
        get_preset("slow")


class Seer:
    """A detector that finds the face by template matching, or never finds it if `blind`.

    `passes` lists the frames of whole pictures. `near` counts the parts of pictures.
    """

    def __init__(self, blind: bool = False) -> None:
        self.passes: list[int] = []
        self.near = 0
        self._blind = blind

    def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
        import cv2

        template = np.repeat(FACE[..., None], 3, axis=2)
        _, similarity, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(image_bgr, template, cv2.TM_CCOEFF_NORMED))
        if image_bgr.shape[1] == SIZE[0]:
            self.passes.append((x - face_box(0)[0]) // 5)
        else:
            self.near += 1
        return [] if self._blind or similarity < 0.9 else [Detection((x, y, x + 48, y + 64), 0.9, "seer")]


def test_a_face_is_tracked_between_detection_passes() -> None:
    frequent, rare = Seer(), Seer()
    uses = [(frequent, DetectorUse("frequent", 640, 0.2)), (rare, DetectorUse("rare", 640, 0.2, each_look=2))]
    records = list(analyse_frames(make_frames(), SIZE, 25, uses, 0.5, stride=3))
    assert set(range(0, COUNT, 3)) <= set(frequent.passes) and len(frequent.passes) < 0.8 * COUNT
    assert set(range(0, COUNT, 6)) <= set(rare.passes) and len(rare.passes) < len(frequent.passes)
    assert [r.source_frame for r in records if r.is_detected_frame] == sorted(set(rare.passes) & set(frequent.passes))
    for record in records:
        np.testing.assert_allclose(record.observations[0].box, face_box(record.source_frame), atol=2)


def test_a_face_that_moves_far_is_detected_again_at_once() -> None:
    """At 5 pixels per frame, this face moves by a quarter of its size in three frames."""
    still, moving = Seer(), Seer()
    use = DetectorUse("seer", 640, 0.2)
    list(analyse_frames(((i, make_frame(0)) for i in range(40)), SIZE, 25, [(still, use)], 0.5, stride=20))
    records = list(analyse_frames(make_frames(40), SIZE, 25, [(moving, use)], 0.5, stride=20))
    assert len(still.passes) == 2 and still.near == 0
    assert moving.passes == [0, 20] and moving.near >= 10
    assert [r.source_frame for r in records if r.is_detected_frame] == [0, 20]
    for record in records:
        np.testing.assert_allclose(record.observations[0].box, face_box(record.source_frame), atol=2)


def test_other_detectors_do_not_run_where_one_finds_the_face_again() -> None:
    rare, blind = Seer(), Seer(blind=True)
    uses = [(Seer(), DetectorUse("often", 640, 0.2)), (rare, DetectorUse("rare", 640, 0.2, each_look=2))]
    list(analyse_frames(make_frames(40), SIZE, 25, uses, 0.5, stride=20))
    assert rare.passes == [0] and rare.near == 0
    uses = [(blind, DetectorUse("often", 640, 0.2)), (rare, DetectorUse("rare", 640, 0.2, each_look=2))]
    list(analyse_frames(make_frames(40), SIZE, 25, uses, 0.5, stride=20))
    assert rare.near >= 10


@pytest.mark.parametrize(("left", "again"), [(-20, True), (300, False)])
def test_a_weak_detection_at_the_edge_is_looked_at_again_in_the_next_frame(left: int, again: bool) -> None:
    class Unsure:
        """Sees a face weakly, and knows it only in the frame after that."""

        calls = 0

        def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
            self.calls += 1
            if image_bgr.shape[1] != SIZE[0] or self.calls == 1:
                return []
            return [Detection((left, 100, left + 120, 260), 0.3 if self.calls == 2 else 0.8, "unsure")]

    # The face is too large for a window, so the whole picture is searched again.
    frames = ((i, make_frame(0)) for i in range(20))
    use = DetectorUse("unsure", 640, 0.2)
    records = list(analyse_frames(frames, SIZE, 25, [(Unsure(), use)], 0.5, stride=6))
    confident = [r.source_frame for r in records if any(o.votes and o.confidence == 0.8 for o in r.observations)]
    assert confident[0] == (7 if again else 12)


def test_all_detectors_run_after_a_cut() -> None:
    def frames() -> Iterator[tuple[int, NDArray[np.uint8]]]:
        for frame in range(40):
            yield frame, make_frame(frame) if frame < 19 else np.uint8(255) - make_frame(frame)[:, ::-1]

    rare = Seer()
    use = DetectorUse("rare", 640, 0.2, each_look=2)
    records = list(analyse_frames(frames(), SIZE, 25, [(rare, use)], 0.5, stride=9))
    assert [r.source_frame for r in records if r.cut] == [19]
    assert next(r for r in records if r.source_frame == 19).is_detected_frame


def test_detection_passes_are_spaced_in_time_and_not_in_frames() -> None:
    assert [compute_stride(0.125, rate) for rate in (10, 15, 23.976, 25, 30, 60)] == [1, 1, 3, 3, 3, 7]
    assert compute_stride(0.0, 60) == 1


def test_dark_pictures_are_brightened_and_denoised_for_the_detectors() -> None:
    light = make_frame(0)
    noise = np.random.default_rng(1).normal(0, 6, light.shape)
    dark = np.clip(light * 0.2 + noise, 0, 255).astype(np.uint8)

    class Watcher:
        def __init__(self) -> None:
            self.pictures: list[NDArray[np.uint8]] = []

        def detect(self, image_bgr: NDArray[np.uint8]) -> list[Detection]:
            self.pictures.append(image_bgr.copy())
            return []

    watcher, use = Watcher(), DetectorUse("oracle", 640, 0.2)
    list(analyse_frames(enumerate([light, dark]), SIZE, 25, [(watcher, use)], 0.5))
    unchanged, brightened = watcher.pictures
    np.testing.assert_array_equal(unchanged, light)
    contrast, before = brightened.astype(float).std(), dark.astype(float).std()
    assert contrast > 2 * before
    grain = float(np.abs(np.diff(brightened.astype(float), axis=1)).mean()) / contrast
    assert grain < 0.7 * float(np.abs(np.diff(dark.astype(float), axis=1)).mean()) / before
