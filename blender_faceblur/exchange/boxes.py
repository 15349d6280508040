# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes of other programs as tracks to cover: the MOT challenge's format, and COCO's for videos. Both are data."""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.document.editing import add_track, blend
from ..core.types import Box, Ellipse, Evidence, FaceBlurError, Sample, TrackDocument, TrackKind

ENDINGS = (".txt", ".csv", ".json")
_MOST_BYTES = 1 << 28
_MOST_BOXES = 5_000_000
_FAR_PX = 1_000_000


@dataclass(frozen=True, slots=True)
class ImportSettings:
    """How boxes become tracks."""

    most_gap_s: float = 1.0
    """Seconds without a box of the same number up to which the boxes in between are interpolated. Raising it covers
    more where a number is given to somebody else later, and shows less where boxes are seldom. Origin: our choice,
    since annotations of one box a second are usual."""


IMPORT = ImportSettings()

Boxes = dict[str, dict[int, Box]]
"""Number of the track -> source frame (from 0) -> box in pixels."""


@dataclass(frozen=True, slots=True)
class BoxFile:
    """The boxes of one film as a file has them. `size` is the picture's (width, height) where the file names it."""

    name: str
    boxes: Boxes
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class BoxFiles:
    """A file of boxes for one film, or a folder with one for each: NAME.txt, NAME.csv or NAME.json of NAME.mp4."""

    place: Path
    digest: str = field(default="", compare=False)

    def find(self, source: Path) -> Path:
        """The file for a source. Raises FaceBlurError where there is none: its boxes would not be covered."""
        if not self.place.is_dir():
            return self.place
        for ending in ENDINGS:
            for stem in (source.name, source.stem):
                path = self.place / f"{stem}{ending}"
                if path.is_file():
                    return path
        raise FaceBlurError(f"{self.place} has no file of boxes for {source.name}, such as {source.stem}.txt.")

    @property
    def files(self) -> list[Path]:
        if not self.place.is_dir():
            return [self.place]
        return sorted(path for path in self.place.iterdir() if path.suffix.lower() in ENDINGS)

    def compute_digest(self) -> str:
        """A hash of all boxes. Raises OSError where a file cannot be read."""
        return hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in self.files)).hexdigest()


def read_boxes(path: Path, source_name: str) -> BoxFile:
    """Read a file in the MOT format (.txt, .csv) or a COCO file for videos (.json).

    Of a COCO file with several videos, the one named like the source is taken. Raises FaceBlurError where the file is
    not in one of these formats, or holds no box.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FaceBlurError(f"{path.name} is too large for a file of boxes.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise FaceBlurError(f"{path} cannot be read: {reason}.") from error
    try:
        read = _read_coco(text, source_name) if path.suffix.lower() == ".json" else BoxFile("", _read_mot(text))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise FaceBlurError(f"{path.name} is not a file of boxes: {str(error)[:200]}.") from error
    if not read.boxes:
        raise FaceBlurError(f"{path.name} holds no boxes for {source_name}.")
    return BoxFile(path.name, read.boxes, read.size)


def add_boxes(document: TrackDocument, given: BoxFile) -> list[str]:
    """Add the boxes as tracks that are covered, and return sentences for the user.

    The cover contains each box. Gaps of up to a second are interpolated. Raises FaceBlurError where a box lies outside
    of the film's time, or the file was made for pictures of another shape.
    """
    source = document.source
    scale = _compute_scale(given, (source.width, source.height))
    gap = max(1, round(IMPORT.most_gap_s * source.frame_rate))
    open_gaps = 0
    for number, boxes in given.boxes.items():
        frames = sorted(boxes)
        if frames[0] < 0 or frames[-1] >= source.frame_count:
            wrong = frames[0] if frames[0] < 0 else frames[-1]
            raise FaceBlurError(
                f"{given.name}: track {number} has a box in frame {wrong + 1}, but the film has "
                f"{source.frame_count} frames."
            )
        samples = []
        for frame, after in zip(frames, [*frames[1:], frames[-1]], strict=True):
            ellipse, following = (surround(_scale_box(boxes[one], scale), document.margin) for one in (frame, after))
            samples.append(Sample(frame, ellipse, Evidence.LOCKED, 1.0))
            if after - frame > gap:
                open_gaps += 1
                continue
            samples += [
                Sample(one, blend(ellipse, following, (one - frame) / (after - frame)), Evidence.INTERPOLATED, 0.0)
                for one in range(frame + 1, after)
            ]
        add_track(document, samples, TrackKind.REGION).locked = True
    notes = [f"{given.name}: {len(given.boxes)} tracks of boxes are covered too."]
    if open_gaps:
        notes.append(
            f"{given.name}: {open_gaps} gaps between boxes are longer than {IMPORT.most_gap_s:g} s. Nothing is covered "
            "there."
        )
    return notes


def _compute_scale(given: BoxFile, size: tuple[int, int]) -> float:
    if given.size is None or given.size == size:
        return 1.0
    across, down = (ours / theirs for ours, theirs in zip(size, given.size, strict=True))
    if abs(across * given.size[1] - size[1]) > 1:
        raise FaceBlurError(
            f"{given.name} is for pictures of {given.size[0]} x {given.size[1]} pixels, but the film has "
            f"{size[0]} x {size[1]}."
        )
    return max(across, down)


def surround(box: Box, margin: float) -> Ellipse:
    """An ellipse that contains the whole box once it has the margin, and by itself the ellipse inside the box.

    The ellipse through the corners of a box is larger than the one inside by the root of 2.
    """
    # A pixel more, since a cover's outline has rounded coordinates.
    return Ellipse.inscribed(box).scaled(max(1.0, math.sqrt(2) / margin)).grown(1.0)


def _scale_box(box: Box, scale: float) -> Box:
    x1, y1, x2, y2 = box
    return x1 * scale, y1 * scale, x2 * scale, y2 * scale


def _read_mot(text: str) -> Boxes:
    """Lines of frame (from 1), number, left, top, width, height, confidence and more; see motchallenge.net."""
    boxes: Boxes = {}
    count = 0
    for row in csv.reader(text.splitlines()):
        if not row or not "".join(row).strip():
            continue
        if len(row) < 6:
            raise ValueError(f"'{','.join(row)[:60]}' has fewer than six numbers")
        frame, number = (_parse_whole(value) for value in row[:2])
        # The ground truth of the challenge marks boxes that do not count with a confidence of 0; a cover counts them.
        _add(boxes, str(number), frame - 1, _to_box([float(value) for value in row[2:6]]))
        count += 1
        if count > _MOST_BOXES:
            raise ValueError("it has too many lines")
    return boxes


def _read_coco(text: str, source_name: str) -> BoxFile:
    content = json.loads(text)
    videos = content.get("videos") or [{"id": None}]
    named = [video for video in videos if Path(str(video.get("name", ""))).stem == Path(source_name).stem]
    if len(videos) > 1 and len(named) != 1:
        raise ValueError(f"it has {len(videos)} videos, and not one of them is named {source_name}")
    video = (named or videos)[0]
    boxes: Boxes = {}
    for number, frame, box in _list_coco_boxes(content, video.get("id"), len(videos) > 1):
        _add(boxes, str(number), frame, _to_box([float(value) for value in box]))
    sized = (one for one in (video, *content.get("images", [])) if one.get("width") and one.get("height"))
    sizes = ((_parse_whole(one["width"]), _parse_whole(one["height"])) for one in sized)
    return BoxFile("", boxes, next(sizes, None))


def _list_coco_boxes(content: dict[str, Any], video: Any, several: bool) -> Iterator[tuple[Any, int, Iterable[Any]]]:
    """Number, frame from 0 and box of all annotations of a video, in the three usual layouts."""
    frames: dict[Any, int] = {}
    for image in content.get("images", []):
        if several and image.get("video_id") != video:
            continue
        frame = image.get("frame_id", image.get("frame_index"))
        frames[image["id"]] = len(frames) if frame is None else _parse_whole(frame)
    for position, annotation in enumerate(content["annotations"]):
        if several and annotation.get("video_id", video) != video:
            continue
        number = annotation.get("instance_id", annotation.get("track_id", annotation.get("id", position)))
        if "bboxes" in annotation:
            # YouTube-VIS: a list with a box or nothing for each frame.
            yield from ((number, frame, box) for frame, box in enumerate(annotation["bboxes"]) if box)
        elif annotation["image_id"] in frames:
            yield number, frames[annotation["image_id"]], annotation["bbox"]
        elif not several:
            raise ValueError(f"it has no image {str(annotation['image_id'])[:40]}, for which it has a box")


def _add(boxes: Boxes, number: str, frame: int, box: Box) -> None:
    known = boxes.setdefault(number, {})
    if frame in known:
        # Some files give every box of no known identity one number, such as -1.
        spare = 2
        while frame in boxes.get(f"{number} ({spare})", {}):
            spare += 1
        boxes.setdefault(f"{number} ({spare})", {})[frame] = box
        return
    known[frame] = box


def _parse_whole(value: Any) -> int:
    number = float(value)
    if not number.is_integer() or abs(number) > 1e9:
        raise ValueError(f"'{str(value)[:40]}' is not a whole number")
    return int(number)


def _to_box(values: list[float]) -> Box:
    """Corners of a box given as left, top, width and height."""
    if len(values) != 4 or not all(math.isfinite(value) and abs(value) < _FAR_PX for value in values):
        raise ValueError("a box is not four numbers of pixels")
    left, top, width, height = values
    if width <= 0 or height <= 0:
        raise ValueError(f"a box is {width:g} x {height:g} pixels large")
    return left, top, left + width, top + height
