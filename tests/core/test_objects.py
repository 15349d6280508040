# SPDX-License-Identifier: GPL-3.0-or-later
"""An analysis for number plates or text gives tracks of that kind, which are added to the faces."""

from __future__ import annotations

from blender_faceblur.core.detection.settings import get_preset
from blender_faceblur.core.tracking.objects import (
    OBJECT_CLASSES,
    PLATE_CLASS,
    TEXT_CLASS,
    choose_classes,
    mark_objects,
    merge_objects,
)
from blender_faceblur.core.types import ReviewItem, ReviewReason, TrackKind

from .test_people import make_document, make_track


def test_each_class_has_a_preset_with_one_detector() -> None:
    for one, weights in ((PLATE_CLASS, "lpd_yunet"), (TEXT_CLASS, "ppocr_text")):
        assert get_preset(one.preset.name) is one.preset and one.list_weights() == [weights]
        assert {use.detector for use in one.preset.detectors} == {weights}


def test_classes_are_chosen_by_name_in_a_fixed_order() -> None:
    assert choose_classes(["text", "plates", "wings"]) == [*OBJECT_CLASSES] and choose_classes([]) == []


def test_plate_tracks_become_regions_that_hold_the_corners() -> None:
    document = make_document(make_track("Face 01", 0, 5))
    document.uncovered = [make_track("Ignored 01", 0, 5)]
    document.review_items = [ReviewItem(0, 5, (0, 0, 1, 1), 0.5, ReviewReason.LOW_CONFIDENCE, "Ignored 01")]
    mark_objects(document, TrackKind.PLATE)
    (plate,), (perhaps,) = document.tracks, document.uncovered
    assert (plate.name, plate.kind, perhaps.name, perhaps.kind) == (
        "Plate 01",
        TrackKind.PLATE,
        "Ignored plate 01",
        TrackKind.PLATE,
    )
    ellipse = plate.samples[0].ellipse
    # The box is 80 to 120 by 75 to 125, and its corner lies on the ellipse.
    assert abs((20 / ellipse.rx) ** 2 + (25 / ellipse.ry) ** 2 - 1) < 1e-9
    assert document.review_items[0].track == "Ignored plate 01" and document.notes == [PLATE_CLASS.note]


def test_plates_are_added_to_the_faces() -> None:
    faces, plates = make_document(make_track("Face 01", 0, 5)), make_document(make_track("Face 01", 2, 5))
    mark_objects(plates, TrackKind.PLATE)
    merge_objects(faces, plates)
    assert [track.name for track in faces.tracks] == ["Face 01", "Plate 01"] and PLATE_CLASS.note in faces.notes


def test_lines_of_text_are_named_beside_plates_and_faces() -> None:
    faces, plates, text = (make_document(make_track("Face 01", 0, 5)) for _ in range(3))
    mark_objects(plates, TrackKind.PLATE)
    mark_objects(text, TrackKind.TEXT)
    merge_objects(faces, plates)
    merge_objects(faces, text)
    assert [(track.name, track.kind.value) for track in faces.tracks] == [
        ("Face 01", "face"),
        ("Plate 01", "plate"),
        ("Text 01", "text"),
    ]
    assert {PLATE_CLASS.note, TEXT_CLASS.note} <= set(faces.notes)
