# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled tracks: what the tracks of real clips show, faces or other things, read from benchmarks/truth/tracks.

docs/measuring.md describes the format. Tracks of later versions are recognised by where they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np

from blender_faceblur.core.geometry import compute_overlaps
from blender_faceblur.core.types import Box, FaceBlurError, Track, TrackDocument

from .annotations import DENSE, to_box

TRACKS = DENSE / "tracks" / "clips.json"
LEAST_OVERLAP, LEAST_SHARE = 0.3, 0.5


class Shows(StrEnum):
    """What a labelled track shows."""

    FACE = "face"
    HEAD = "head"
    """From behind, or in a helmet."""
    DRAWING = "drawing"
    OTHER = "other"
    UNCLEAR = "unclear"
    """Too dark, blurred or small to tell, or partly a face."""

    @property
    def is_phantom(self) -> bool:
        """Whether it is certainly no person's face or head."""
        return self in (Shows.DRAWING, Shows.OTHER)


@dataclass(frozen=True, slots=True)
class LabelledTrack:
    """`keys`: some of its frames and detected boxes there (pixels)."""

    shows: Shows
    keys: Mapping[int, Box]


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """`proves`: whether the clip is kept from the fit of weights, to prove them."""

    name: str
    proves: bool
    tracks: tuple[LabelledTrack, ...]
    frames: int | None = None
    """How many of the first frames were labelled; None for all."""

    def count_labelled(self, frame_count: int) -> int:
        """How many of a film's frames were labelled."""
        return frame_count if self.frames is None else min(self.frames, frame_count)


def read_labels(path: Path = TRACKS) -> dict[str, LabelledClip]:
    """The labelled clips by the clips' SHA-256. Raises FaceBlurError if the file is invalid."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            clip["sha256"]: LabelledClip(
                clip["clip"],
                {"fit": False, "test": True}[clip["use"]],
                tuple(
                    LabelledTrack(Shows(track["shows"]), {int(key[0]): to_box(key[1:]) for key in track["keys"]})
                    for track in clip["tracks"]
                ),
                int(clip["frames"]) if "frames" in clip else None,
            )
            for clip in content["clips"]
        }
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise FaceBlurError(f"{path} cannot be read as labelled tracks: {error!r}") from error


def find_label(boxes: Mapping[int, Box], tracks: tuple[LabelledTrack, ...]) -> Shows | None:
    """What a track with these boxes by frame shows; None if no labelled track lies at its place.

    A labelled track lies there if its boxes overlap by 0.3 in half of the frames that both have; the one with the most
    such frames decides.
    """
    best, most = None, 0
    for track in tracks:
        common = [frame for frame in track.keys if frame in boxes]
        if not common:
            continue
        one, other = (np.array([where[frame] for frame in common], float) for where in (boxes, track.keys))
        same = int((np.diagonal(compute_overlaps(one, other)) >= LEAST_OVERLAP).sum())
        if same >= LEAST_SHARE * len(common) and same > most:
            best, most = track.shows, same
    return best


def list_boxes(track: Track) -> dict[int, Box]:
    """The boxes around a track's ellipses, as if they were upright, by frame."""
    return {
        s.source_frame: (
            s.ellipse.cx - s.ellipse.rx,
            s.ellipse.cy - s.ellipse.ry,
            s.ellipse.cx + s.ellipse.rx,
            s.ellipse.cy + s.ellipse.ry,
        )
        for s in track.samples
    }


@dataclass(slots=True)
class PhantomCount:
    """Covered tracks of clips that certainly show no face, and how much of the pictures they cover.

    `unlabelled` tracks lie where none was labelled.
    """

    phantoms: int = 0
    unlabelled: int = 0
    minutes: float = 0.0
    covered: float = 0.0
    """Area in pixels, summed over frames; where covers overlap, it counts twice."""
    pictures: float = 0.0
    """Area of all pictures, likewise."""

    def add(self, other: PhantomCount) -> None:
        """Add another clip's counts."""
        self.phantoms += other.phantoms
        self.unlabelled += other.unlabelled
        self.minutes += other.minutes
        self.covered += other.covered
        self.pictures += other.pictures

    def describe(self) -> str:
        """The counts as they are printed."""
        return (
            f"{self.phantoms} tracks show no face, {self.phantoms / max(self.minutes, 1e-9):.2f} a minute, on "
            f"{100 * self.covered / max(self.pictures, 1.0):.3f} % of the pictures; {self.unlabelled} have no label"
        )


def count_phantoms(document: TrackDocument, labels: LabelledClip) -> PhantomCount:
    """Count the covered tracks of a document that show no face according to its clip's labels, in labelled frames."""
    source = document.source
    frames = labels.count_labelled(source.frame_count)
    found = PhantomCount(
        minutes=frames / float(source.frame_rate) / 60,
        pictures=float(source.width * source.height * frames),
    )
    for track in document.tracks:
        samples = [s for s in track.samples if s.source_frame < frames]
        if not samples:
            continue
        shows = find_label(list_boxes(track), labels.tracks)
        found.unlabelled += shows is None
        if shows is not None and shows.is_phantom:
            found.phantoms += 1
            found.covered += sum(np.pi * s.ellipse.rx * s.ellipse.ry for s in samples) * document.margin**2
    return found
