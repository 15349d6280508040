# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames of a source an editor has watched with their covers, and who did.

Watching is recorded with a digest of the covers in the block of frames around it (`Overview.compute_digests`). A frame
counts as watched while its block has the digest that it had then: a correction makes its stretch unwatched again, and
undoing it restores what was watched. So nothing has to be removed, and records can be joined in any order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .overview import DIGESTS, Digests

Frames = NDArray[np.bool_]

SCHEMA, VERSION = "faceblur-watched", 1
# Limits for what a project holds, which may come from a stranger.
_MOST_BYTES = 1 << 26
_MOST_FRAMES = 10_000_000
_MOST_ENTRIES = 1000
_LONGEST_TEXT = 200


@dataclass(frozen=True, slots=True)
class WatchedSettings:
    """What is kept of what was watched."""

    states: int = 4
    """Digests that are kept for a block, the latest ones. Raising it keeps what was watched before more corrections
    that are undone later, and makes projects larger. Origin: a guess."""


WATCHING = WatchedSettings()


@dataclass(slots=True)
class WatchedFrames:
    """What was watched of a source."""

    blocks: dict[int, dict[int, dict[str, int]]] = field(default_factory=dict)
    """By block, by the digest of its covers and by reviewer (empty for an unnamed one): one bit for each frame, the
    lowest for the first one."""

    def add(self, frame: int, digest: int, reviewer: str) -> bool:
        """Record that a frame was watched while its block had this digest; returns whether that is new."""
        return self.add_bits(frame // DIGESTS.block, digest, reviewer, 1 << frame % DIGESTS.block)

    def join(self, other: WatchedFrames) -> None:
        """Add what another record holds."""
        for block, digest, reviewer, bits in other.list_entries():
            self.add_bits(block, digest, reviewer, bits)

    def compute_watched(self, digests: Digests, frame_count: int, reviewer: str | None = None) -> Frames:
        """Whether each frame of a source was watched with the covers that it has now, by anybody or by one reviewer."""
        watched = np.zeros(len(digests) * DIGESTS.block, np.bool_)
        for block, states in self.blocks.items():
            names = states.get(int(digests[block]), {}) if block < len(digests) else {}
            bits = 0
            for name, own in names.items():
                if reviewer is None or name == reviewer:
                    bits |= own
            if bits:
                watched[block * DIGESTS.block : (block + 1) * DIGESTS.block] = [
                    bits >> place & 1 for place in range(DIGESTS.block)
                ]
        return watched[:frame_count]

    def list_reviewers(self) -> list[str]:
        """Everybody who has watched something, sorted by name."""
        return sorted({reviewer for _, _, reviewer, _ in self.list_entries()})

    def add_bits(self, block: int, digest: int, reviewer: str, bits: int) -> bool:
        """Record that the frames of a block that these bits stand for were watched; returns whether one is new."""
        states = self.blocks.setdefault(block, {})
        names = states.setdefault(digest, {})
        before = names.get(reviewer, 0)
        names[reviewer] = before | bits
        while len(states) > WATCHING.states:
            del states[next(iter(states))]
        return names[reviewer] != before

    def list_entries(self) -> Iterator[tuple[int, int, str, int]]:
        """The block, digest, reviewer and bits of everything that was watched."""
        for block, states in self.blocks.items():
            for digest, names in states.items():
                for reviewer, bits in names.items():
                    yield block, digest, reviewer, bits


def to_text(watched: WatchedFrames) -> str:
    """The record as JSON in ASCII."""
    reviewers = watched.list_reviewers()
    numbers = {name: number for number, name in enumerate(reviewers)}
    entries = [
        [block, f"{digest:x}", numbers[reviewer], bits] for block, digest, reviewer, bits in watched.list_entries()
    ]
    content = {"schema": SCHEMA, "version": VERSION, "block": DIGESTS.block, "reviewers": reviewers, "watched": entries}
    return json.dumps(content, separators=(",", ":"))


def from_text(text: object) -> WatchedFrames:
    """The record that a project holds. A damaged one counts as empty: then nothing was watched."""
    watched = WatchedFrames()
    if not isinstance(text, str) or len(text) > _MOST_BYTES:
        return watched
    try:
        content = json.loads(text)
        if (content["schema"], content["version"], content["block"]) != (SCHEMA, VERSION, DIGESTS.block):
            return watched
        reviewers = [_check_name(name) for name in content["reviewers"]]
        if len(reviewers) > _MOST_ENTRIES:
            return watched
        limits = _MOST_FRAMES // DIGESTS.block, len(reviewers), 1 << DIGESTS.block
        for block, digest, number, bits in content["watched"]:
            if not all(_is_whole(value, limit) for value, limit in zip((block, number, bits), limits, strict=True)):
                return WatchedFrames()
            watched.add_bits(block, int(digest, 16) % (1 << 64), reviewers[number], bits)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return WatchedFrames()
    return watched


def _is_whole(value: Any, stop: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < stop


def _check_name(name: Any) -> str:
    if not isinstance(name, str) or len(name) > _LONGEST_TEXT:
        raise ValueError("reviewer")
    return name


def list_spans(frames: Frames) -> list[tuple[int, int]]:
    """The half-open ranges in which the values are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], frames, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
