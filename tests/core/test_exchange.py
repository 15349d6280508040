# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes, zones and time spans of other programs are covered completely, and what cannot be read is refused."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blender_faceblur.core.document.tracks_file import from_json, to_json
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    Sample,
    SourceInfo,
    Track,
    TrackDocument,
    TrackKind,
    TrackStatus,
)
from blender_faceblur.exchange.boxes import BoxFiles, add_boxes, read_boxes
from blender_faceblur.exchange.regions import read_regions
from blender_faceblur.exchange.tables import compute_bounds, write_csv, write_mot, write_tracks
from blender_faceblur.painting.mattes import list_coverages

WIDTH, HEIGHT, FRAMES, RATE = 320, 180, 50, 25


def make_document(margin: float = 1.4, faces: tuple[Track, ...] = (), kind: str = "movie") -> TrackDocument:
    info = SourceInfo("a.mp4", kind, WIDTH, HEIGHT, 1 if kind == "image" else FRAMES, Fraction(RATE), "ab")
    return TrackDocument(info, "balanced", margin, [], [], list(faces), [])


def make_face(name: str, start: int, stop: int, place: tuple[float, float] = (100, 80)) -> Track:
    samples = [Sample(frame, Ellipse(*place, 12, 16), Evidence.DETECTED, 0.9) for frame in range(start, stop)]
    return Track(name, samples)


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, Any], Path]:
    def write_file(name: str, content: Any) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write_file


Write = Callable[[str, Any], Path]
BOX = (40, 20, 61, 33)
"""left, top, width, height"""


def list_uncovered(document: TrackDocument, box: tuple[float, float, float, float], frames: range) -> list[int]:
    """The frames in which a pixel of the box (left, top, width, height) is not covered completely."""
    x, y, width, height = box
    x2, y2 = math.ceil(x + width), math.ceil(y + height)
    part = np.s_[math.floor(y) : y2, math.floor(x) : x2]
    coverages = list(list_coverages(document))
    return [frame for frame in frames if coverages[frame][part].min() < 255]


def make_mot(frames: range, number: int = 7) -> str:
    return "".join(f"{frame + 1},{number},{','.join(map(str, BOX))},1,-1,-1,-1\n" for frame in frames)


def make_coco(layout: str) -> dict[str, Any]:
    video = {"id": 3, "name": "a", "width": WIDTH, "height": HEIGHT}
    if layout == "youtube-vis":
        boxes = [BOX if frame < 10 else None for frame in range(FRAMES)]
        return {"videos": [video], "annotations": [{"id": 1, "video_id": 3, "bboxes": boxes}]}
    frame, number = ("frame_id", "instance_id") if layout == "coco-vid" else ("frame_index", "track_id")
    return {
        "videos": [video, {"id": 4, "name": "other"}],
        "images": [{"id": 100 + one, "video_id": 3, frame: one} for one in range(FRAMES)],
        "annotations": [{"id": one, "image_id": 100 + one, "video_id": 3, number: 5, "bbox": BOX} for one in range(10)],
    }


@pytest.mark.parametrize("margin", [1.0, 1.4, 3.0])
def test_every_pixel_of_a_box_is_covered_in_its_frames_and_no_other(write: Write, margin: float) -> None:
    document = make_document(margin)
    notes = add_boxes(document, read_boxes(write("a.txt", make_mot(range(10, 20))), "a.mp4"))
    assert notes == ["a.txt: 1 tracks of boxes are covered too."]
    assert list_uncovered(document, BOX, range(FRAMES)) == [*range(10), *range(20, FRAMES)]
    (track,) = document.tracks
    assert track.kind is TrackKind.REGION and track.locked
    assert list_uncovered(from_json(to_json(document)), BOX, range(10, 20)) == [], "the document keeps them"


@pytest.mark.parametrize("layout", ["coco-vid", "tao", "youtube-vis"])
def test_coco_boxes_of_all_layouts_are_covered(write: Write, layout: str) -> None:
    document = make_document()
    add_boxes(document, read_boxes(write("a.json", make_coco(layout)), "a.mp4"))
    assert list_uncovered(document, BOX, range(FRAMES)) == list(range(10, FRAMES))


def test_gaps_up_to_a_second_are_interpolated_and_longer_ones_reported(write: Write) -> None:
    document = make_document()
    lines = "1,1,0,0,20,20\n21,1,40,0,20,20\n50,1,40,0,20,20\n"
    notes = add_boxes(document, read_boxes(write("a.txt", lines), "a.mp4"))
    (track,) = document.tracks
    assert [s.source_frame for s in track.samples] == [*range(21), 49]
    assert track.samples[10].ellipse.cx == pytest.approx(30)
    assert "1 gaps between boxes are longer than 1 s" in notes[1]


def test_boxes_of_one_number_in_one_frame_are_all_covered(write: Write) -> None:
    """Detections without identities all have the number -1."""
    document = make_document()
    add_boxes(document, read_boxes(write("a.txt", "1,-1,0,0,20,20\n1,-1,100,0,20,20\n1,-1,200,0,20,20\n"), "a.mp4"))
    assert len(document.tracks) == 3
    for left in (0, 100, 200):
        assert list_uncovered(document, (left, 0, 20, 20), range(1)) == []


def test_boxes_for_pictures_of_another_size_are_scaled(write: Write) -> None:
    content = make_coco("coco-vid")
    content["videos"][0] |= {"width": WIDTH // 2, "height": HEIGHT // 2}
    document = make_document()
    add_boxes(document, read_boxes(write("a.json", content), "a.mp4"))
    assert list_uncovered(document, (80, 40, 122, 66), range(10)) == []
    content["videos"][0]["height"] = HEIGHT
    with pytest.raises(FaceBlurError, match="for pictures of 160 x 180 pixels, but the film has 320 x 180"):
        add_boxes(make_document(), read_boxes(write("a.json", content), "a.mp4"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "", "holds no boxes"),
        ("a.txt", "1,2,3\n", "fewer than six numbers"),
        ("a.txt", "1,1,0,0,nan,5\n", "not four numbers"),
        ("a.txt", "1,1,0,0,0,5\n", "0 x 5 pixels"),
        ("a.txt", "1.5,1,0,0,5,5\n", "not a whole number"),
        ("a.txt", "frame,id,x,y,w,h\n", "could not convert"),
        ("a.json", "{", "not a file of boxes"),
        ("a.json", [], "not a file of boxes"),
        ("a.json", {"annotations": [{"image_id": 4, "bbox": BOX}]}, "no image 4"),
        ("a.json", {"videos": [{"id": 1}, {"id": 2}], "annotations": []}, "not one of them is named a.mp4"),
        ("a.json", {"annotations": [{"id": 1, "bboxes": [["x", 0, 1, 1]]}]}, "not a file of boxes"),
        ("a.json", "[" * 100_000, "not a file of boxes"),
    ],
)
def test_damaged_files_of_boxes_are_refused(write: Write, name: str, content: Any, words: str) -> None:
    with pytest.raises(FaceBlurError, match=words):
        read_boxes(write(name, content), "a.mp4")


@pytest.mark.parametrize("line", ["0,1,0,0,5,5\n", "51,1,0,0,5,5\n"])
def test_a_box_outside_of_the_film_s_time_is_refused(write: Write, line: str) -> None:
    with pytest.raises(FaceBlurError, match="but the film has 50 frames"):
        add_boxes(make_document(), read_boxes(write("a.txt", line), "a.mp4"))


def test_a_folder_needs_a_file_for_each_film(write: Write, tmp_path: Path) -> None:
    path = write("a.txt", make_mot(range(2)))
    files = BoxFiles(tmp_path)
    assert files.find(Path("films/a.mp4")) == path
    before = files.compute_digest()
    with pytest.raises(FaceBlurError, match=r"no file of boxes for b\.mp4, such as b\.txt"):
        files.find(Path("b.mp4"))
    write("a.txt", make_mot(range(3)))
    assert files.compute_digest() != before, "--resume makes the output again"


def test_zones_are_covered_in_their_time_with_every_frame_they_touch(write: Write) -> None:
    text = '[[cover]]\nbox = [40, 20, 101, 53]\nfrom = 0.41\nto = "0:00.79"\n[[cover]]\nfrom = 1.5\n'
    document = make_document()
    notes = read_regions(write("r.toml", text)).apply(document, Path("a.mp4"))
    assert notes == ["r.toml: 2 zones are covered too."]
    assert list_uncovered(document, BOX, range(FRAMES)) == [*range(10), *range(20, 37)]
    whole = (0.0, 0.0, float(WIDTH), float(HEIGHT))
    assert list_uncovered(document, whole, range(FRAMES)) == list(range(37)), "without a box: the whole picture"


def test_faces_are_left_alone_only_in_the_zone_and_time_that_are_named(write: Write) -> None:
    inside, long, outside = make_face("In", 10, 20), make_face("Long", 0, 50), make_face("Out", 10, 20, (250, 80))
    zone = "[[leave]]\nbox = [70, 50, 130, 110]\n"
    document = make_document(faces=(inside, outside))
    notes = read_regions(write("r.toml", zone)).apply(document, Path("a.mp4"))
    assert [track.name for track in document.tracks] == ["Out"]
    assert inside.status is TrackStatus.EXEMPT and "1 faces are not covered" in notes[0]

    span = 'from = 0.4\nto = "0:00:00.8"\n'
    document = make_document(faces=(make_face("In", 9, 21),))
    read_regions(write("r.toml", zone + span)).apply(document, Path("a.mp4"))
    (track,) = document.tracks
    assert track.list_covered_spans() == [(9, 10), (20, 21)], "before and after the span the face is covered"

    document = make_document(faces=(long,))
    read_regions(write("r.toml", zone + span)).apply(document, Path("a.mp4"))
    assert document.tracks[0].list_covered_spans() == [(0, 50)], "a face that is mostly elsewhere in time stays covered"

    document = make_document(faces=(long, outside))
    notes = read_regions(write("r.toml", "[[leave]]\nfrom = 0.41\nto = 0.79\n")).apply(document, Path("a.mp4"))
    assert long.list_covered_spans() == [(0, 11), (19, 50)] and outside.list_covered_spans() == [(10, 11), (19, 20)]
    assert "2 faces are not covered, or not all the time" in notes[0]


def test_regions_of_one_film_concern_no_other_and_must_fit_it(write: Write) -> None:
    regions = read_regions(write("r.toml", '[[cover]]\nfrom = "1:00"\nfilm = "a.mp4"\n'))
    document = make_document()
    assert regions.apply(document, Path("b.mp4")) == [] and document.tracks == []
    with pytest.raises(FaceBlurError, match=r"time span lies outside of a\.mp4"):
        regions.apply(document, Path("x/a.mp4"))
    general = read_regions(write("r.toml", '[[cover]]\nfrom = "1:00"\n'))
    assert "lies outside of b.mp4" in general.apply(make_document(), Path("b.mp4"))[0]
    with pytest.raises(FaceBlurError, match=r"lies outside of a\.mp4"):
        read_regions(write("r.toml", "[[cover]]\nbox = [400, 0, 500, 50]\n")).apply(make_document(), Path("a.mp4"))


def test_a_picture_has_no_time_so_more_is_covered_there_not_less(write: Write) -> None:
    face = make_face("Face", 0, 1)
    document = make_document(faces=(face,), kind="image")
    text = "[[cover]]\nbox = [40, 20, 101, 53]\nfrom = 5\n[[leave]]\nfrom = 0\nto = 5\n"
    read_regions(write("r.toml", text)).apply(document, Path("a.png"))
    assert list_uncovered(document, BOX, range(1)) == [] and face.list_covered_spans() == [(0, 1)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no regions"),
        ("x = 1", "'x' is unknown"),
        ("[cover]\n", "two brackets"),
        ("[[cover]]\nbox = [1, 2, 3]", r"\[\[cover\]\] number 1: 'box' is not"),
        ("[[cover]]\nbox = [5, 5, 5, 9]", "has no size"),
        ("[[cover]]\nbox = [0, 0, nan, 9]", "'box' is not|has no size"),
        ("[[cover]]\nform = 1", "'form' is unknown"),
        ('[[cover]]\nfrom = "soon"', "not a time"),
        ("[[cover]]\nfrom = 3\nto = 2", "not later"),
        ("[[leave]]\n", "leave all faces uncovered"),
        ('[[leave]]\nfilm = "a.mp4"\n', "leave all faces uncovered"),
        ("[[cover]]\nfilm = 3", "not a file's name"),
        ("=", "not a file of regions"),
    ],
)
def test_damaged_files_of_regions_are_refused(write: Write, text: str, words: str) -> None:
    with pytest.raises(FaceBlurError, match=words):
        read_regions(write("r.toml", text))


def test_the_table_has_a_row_for_each_track_and_frame() -> None:
    face, shown = make_face("Face 01", 2, 4), make_face("Ignored 01", 3, 4, (200, 50))
    face.off, shown.status = [(3, 4)], TrackStatus.SUPPRESSED
    document = make_document(faces=(face,))
    document.uncovered.append(shown)
    stream = io.StringIO()
    write_csv(document, stream)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert [(row["frame"], row["track"], row["covered"]) for row in rows] == [
        ("2", "Face 01", "1"),
        ("3", "Face 01", "0"),
        ("3", "Ignored 01", "0"),
    ]
    assert (rows[0]["left"], rows[0]["width"], rows[0]["seconds"]) == ("88.00", "24.00", "0.0800")


def test_what_is_covered_is_written_as_mot_and_read_back(tmp_path: Path) -> None:
    turned = Ellipse(100, 80, 12, 16, 0.5)
    face = Track("Face 01", [Sample(frame, turned, Evidence.DETECTED, 0.9) for frame in range(5)], off=[(2, 3)])
    stream = io.StringIO()
    write_mot(make_document(faces=(face,)), stream)
    first = stream.getvalue().splitlines()[0].split(",")
    assert first[:2] == ["1", "1"] and len(first) == 10
    path = tmp_path / "a.txt"
    write_tracks(make_document(faces=(face,)), path, ".txt")
    assert path.read_text(encoding="utf-8") == stream.getvalue()
    boxes = read_boxes(path, "a.mp4").boxes["1"]
    assert sorted(boxes) == [0, 1, 3, 4]
    assert boxes[0] == pytest.approx(compute_bounds(turned), abs=0.02)
    # The smallest box: a point of the ellipse lies on each side.
    t = np.linspace(0, 2 * np.pi, 3600)
    x = 100 + 12 * np.cos(t) * np.cos(0.5) - 16 * np.sin(t) * np.sin(0.5)
    y = 80 + 12 * np.cos(t) * np.sin(0.5) + 16 * np.sin(t) * np.cos(0.5)
    assert compute_bounds(turned) == pytest.approx((x.min(), y.min(), x.max(), y.max()), abs=1e-3)
