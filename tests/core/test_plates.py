# SPDX-License-Identifier: GPL-3.0-or-later
"""An analysis for number plates gives regions, which are added to the faces."""

from __future__ import annotations

from blender_faceblur.core.detection.settings import get_preset
from blender_faceblur.core.tracking.plates import NOTE, PLATE_PRESET, list_weights, mark_as_plates, merge_plates
from blender_faceblur.core.types import ReviewItem, ReviewReason, TrackKind

from .test_people import make_document, make_track


def test_the_preset_for_plates_exists() -> None:
    assert {use.detector for use in get_preset(PLATE_PRESET).detectors} == set(list_weights()) == {"lpd_yunet"}


def test_plate_tracks_become_regions_that_hold_the_corners() -> None:
    document = make_document(make_track("Face 01", 0, 5))
    document.uncovered = [make_track("Perhaps 01", 0, 5)]
    document.review_items = [ReviewItem(0, 5, (0, 0, 1, 1), 0.5, ReviewReason.LOW_CONFIDENCE, "Perhaps 01")]
    mark_as_plates(document)
    (plate,), (perhaps,) = document.tracks, document.uncovered
    assert (plate.name, plate.kind, perhaps.name, perhaps.kind) == (
        "Plate 01",
        TrackKind.PLATE,
        "Perhaps plate 01",
        TrackKind.PLATE,
    )
    ellipse = plate.samples[0].ellipse
    # The box is 80 to 120 by 75 to 125, and its corner lies on the ellipse.
    assert abs((20 / ellipse.rx) ** 2 + (25 / ellipse.ry) ** 2 - 1) < 1e-9
    assert document.review_items[0].track == "Perhaps plate 01" and document.notes == [NOTE]


def test_plates_are_added_to_the_faces() -> None:
    faces, plates = make_document(make_track("Face 01", 0, 5)), make_document(make_track("Face 01", 2, 5))
    mark_as_plates(plates)
    merge_plates(faces, plates)
    assert [track.name for track in faces.tracks] == ["Face 01", "Plate 01"] and NOTE in faces.notes
