# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drawing needs of a tracks document, read without making its samples: eight times as fast.

What is wrong in the document is told by `tracks_file.from_json`; here it is no document at all.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..document.migration import migrate
from ..document.tracks_file import VERSION
from ..types import (
    ReviewItem,
    ReviewReason,
    SourceInfo,
    Suppression,
    SuppressionReason,
    TrackDocument,
    TrackKind,
    TrackStatus,
)
from .queue import list_review_entries

Codes = NDArray[np.uint8]


class Code(IntEnum):
    """How a face, or all faces of a frame, is covered: the worst is the highest."""

    NOTHING = 0
    OFF = 1
    LOCKED = 2
    DETECTED = 3
    FOLLOWED = 4
    GUESSED = 5
    DOUBTFUL = 6
    UNSEEN = 7
    """Nobody has looked for faces."""


_LETTERS = {"l": Code.LOCKED, "d": Code.DETECTED, "f": Code.FOLLOWED, "i": Code.GUESSED, "h": Code.GUESSED}
_TABLE = np.zeros(256, np.uint8)
for _letter, _code in _LETTERS.items():
    _TABLE[ord(_letter)] = _code


@dataclass(frozen=True, slots=True)
class TrackOverview:
    """A track. `spans` and `off` are flat: start, stop, start, stop; half-open."""

    name: str
    kind: TrackKind
    locked: bool
    spans: list[int]
    off: list[int]
    codes: Codes
    """One for each frame of the spans."""
    status: TrackStatus = TrackStatus.COVERED
    suppression: Suppression | None = None
    allowed_person: str = ""
    never_region: str = ""
    """These four as in `Track`."""
    ellipses: NDArray[np.float64] | None = None
    """Of a track that is not covered: N x 5 (cx, cy, rx, ry, angle), one for each frame of the spans."""

    def get_index(self, source_frame: int) -> int | None:
        """Where a frame stands in `codes`; None where the track has no sample."""
        at = 0
        for start, stop in zip(self.spans[::2], self.spans[1::2], strict=True):
            if start <= source_frame < stop:
                return at + source_frame - start
            at += stop - start
        return None

    def is_off(self, source_frame: int) -> bool:
        return bisect_right(self.off, source_frame) % 2 == 1


@dataclass(frozen=True, slots=True)
class Overview:
    """All that is drawn of a document."""

    frame_count: int
    margin: float
    tracks: dict[str, TrackOverview]
    aside: list[TrackOverview]
    review_items: list[ReviewItem]
    """Those that nobody has judged."""
    analysed: list[int]
    """Flat as `TrackOverview.spans`: outside of it nobody has looked for faces; empty: looked everywhere."""

    def compute_codes(self, off: Collection[str] = (), only: str = "") -> Codes:
        """The worst code of each source frame, over all tracks or `only` one; `off` are names of those switched off.

        Doubts are left out: see `compute_review_codes`.
        """
        codes = np.zeros(self.frame_count, np.uint8)
        for track in self.tracks.values():
            if only and track.name != only:
                continue
            own = np.zeros(self.frame_count, np.uint8)
            at = 0
            for start, stop in zip(track.spans[::2], track.spans[1::2], strict=True):
                own[start:stop] = Code.OFF if track.name in off else track.codes[at : at + stop - start]
                at += stop - start
            for start, stop in zip(track.off[::2], track.off[1::2], strict=True):
                own[start:stop][own[start:stop] > 0] = Code.OFF
            np.maximum(codes, own, out=codes)
        if self.analysed and not only:
            edges = [0, *self.analysed, self.frame_count]
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                codes[start:stop] = Code.UNSEEN
        return codes

    def compute_review_codes(self, off: Collection[str] = (), only: str = "") -> Codes:
        """`Code.DOUBTFUL` where something is doubtful, of all tracks or `only` one, else nothing; by source frame."""
        codes = np.zeros(self.frame_count, np.uint8)
        for item in self.review_items:
            if item.track not in off and (not only or item.track == only):
                codes[item.start : item.stop] = Code.DOUBTFUL
        return codes

    def list_in_review(self, source_frame: int) -> set[str]:
        """The names of the tracks of which something is doubtful at a frame."""
        return {item.track for item in self.review_items if item.start <= source_frame < item.stop}


def read_overview(text: str) -> Overview | None:
    """What is drawn of the tracks document (JSON) `text`; None where it is damaged."""
    try:
        content = json.loads(text)
        if content["version"] < VERSION:
            migrate(content)
        count, margin = int(content["source"]["frame_count"]), float(content["expansion"])
        if not 0 < count <= 10_000_000:
            return None
        tracks = [_read_track(track, count) for track in content["tracks"]]
        aside = [_read_track(track, count, margin) for track in content["uncovered"]]
        doubts = _list_open(
            content["source"],
            [_read_review_item(item) for item in content["doubts"]],
            [str(line) for line in content.get("reviewed", ())],
        )
        analysed = _read_ranges(content.get("analysed", ()), count)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
        return None
    return Overview(count, margin, {track.name: track for track in tracks}, aside, doubts, analysed)


def compute_worst(codes: Codes, starts: NDArray[np.intp], stops: NDArray[np.intp]) -> Codes:
    """The worst code in each of the half-open frame ranges, which lie in `codes`; of an empty one that of its start."""
    edges = np.stack([starts, np.maximum(stops, starts + 1)], axis=1).ravel()
    # The last range may end with the codes, where no range may begin.
    worst: Codes = np.maximum.reduceat(np.append(codes, np.uint8(0)), edges)[::2]
    return worst


def list_runs(codes: Codes) -> list[tuple[int, int, int]]:
    """Start, stop and code of each run of one code."""
    if not len(codes):
        return []
    starts = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1]]))
    return list(zip(starts.tolist(), [*starts[1:].tolist(), len(codes)], codes[starts].tolist(), strict=True))


def _read_track(content: dict[str, Any], count: int, margin: float | None = None) -> TrackOverview:
    spans, off = _read_ranges(content["spans"], count), _read_ranges(content.get("off", ()), count)
    codes = _TABLE[np.frombuffer(content["evidence"].encode("latin-1"), np.uint8)]
    if len(codes) != sum(spans[1::2]) - sum(spans[::2]):
        raise ValueError("evidence")
    ellipses = None
    if margin is not None:
        columns = [np.array(content[name], np.float64) for name in ("cx", "cy", "rx", "ry", "angle")]
        # What is never blurred is drawn as it is.
        grown = 0.01 * (margin if content.get("kind") != TrackKind.NEVER else 1.0)
        ellipses = np.stack(columns, axis=1) * [0.01, 0.01, grown, grown, 1e-4]
        if ellipses.shape != (len(codes), 5):
            raise ValueError("columns")
    status = TrackStatus.COVERED
    if margin is not None:
        status = TrackStatus(content.get("status", TrackStatus.SUPPRESSED))
    why = content.get("suppression")
    return TrackOverview(
        str(content["name"]),
        TrackKind(content.get("kind", TrackKind.FACE)),
        bool(content.get("locked", False)),
        spans,
        off,
        codes,
        status,
        Suppression(SuppressionReason(why["reason"]), *_read_detail(why)) if why is not None else None,
        str(content.get("allowed_person", "")),
        str(content.get("never_region", "")),
        ellipses,
    )


def _read_detail(content: dict[str, Any]) -> tuple[int, int, str]:
    return (
        int(content.get("detected_frames", 0)),
        int(content.get("searched_frames", 0)),
        str(content.get("text", "")),
    )


def _read_ranges(pairs: list[list[int]], count: int) -> list[int]:
    edges = [int(edge) for start, stop in pairs for edge in (start, stop)]
    if any(one > other for one, other in pairwise([0, *edges, count])):
        raise ValueError("ranges")
    return edges


def _read_review_item(content: dict[str, Any]) -> ReviewItem:
    left, top, right, bottom = (float(number) for number in content["box"])
    return ReviewItem(
        max(int(content["start"]), 0),
        int(content["stop"]),
        (left, top, right, bottom),
        float(content["confidence"]),
        ReviewReason(content["reason"]),
        str(content.get("track", "")),
        *_read_detail(content),
    )


def _list_open(source: dict[str, Any], doubts: list[ReviewItem], reviewed: list[str]) -> list[ReviewItem]:
    """The doubts that nobody has judged."""
    info = SourceInfo(
        "",
        "movie",
        int(source["width"]),
        int(source["height"]),
        int(source["frame_count"]),
        Fraction(*source["frame_rate"]),
        "",
    )
    judged = list_review_entries(TrackDocument(info, "", 1.0, [], [], [], doubts, reviewed=reviewed))
    places = {(doubtful.start, doubtful.stop, doubtful.box) for doubtful in judged if not doubtful.verdict}
    return [item for item in doubts if (item.start, item.stop, item.box) in places]
