# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether an editor is reviewing at the moment, and the loop that shows an item in motion. Never saved."""

from __future__ import annotations

import time
from dataclasses import dataclass

import bpy
from bpy.app.handlers import persistent

from ...core.review.queue import ReviewEntry
from ..common.footage import find_timeline_frame

_AROUND_S = 1.0
"""In seconds of the film: how much a loop shows before and after an item, and at most of the item on each side."""

_SPEED = 0.5
"""Speed of a loop in relation to the film's."""


@dataclass(frozen=True, slots=True)
class Loop:
    """The timeline frames `first` to `last` that are played in turn, `rate` of them a second."""

    first: int
    last: int
    rate: float

    def get_frame(self, seconds: float) -> tuple[int, bool]:
        """The frame after so many seconds, and whether covers are see-through then: in every second round, from the
        second one on."""
        played, count = int(seconds * self.rate), self.last - self.first + 1
        return self.first + played % count, played // count % 2 == 1


@dataclass(slots=True)
class ReviewSession:
    """One per process. `forget` resets it, which also happens before another project is opened."""

    on: bool = False
    """The editor is reviewing: the preview shows the question, and covers are see-through unless a loop shows them."""
    loop: Loop | None = None
    began: float = 0.0
    home: int = 0
    """The frame to which the playhead returns when the loop ends."""
    bare: bool = False
    """A loop is in a round that shows what is behind the covers."""
    ended: bool = False
    """The editor ended the review; the operator that reads its keys notices at its next event."""

    @property
    def is_see_through(self) -> bool:
        return self.on and (self.bare if self.loop is not None else True)


SESSION = ReviewSession()


def compute_loop(
    strip: bpy.types.Strip, entry: ReviewEntry, frame_count: int, frame_rate: float, speed: float = _SPEED
) -> Loop | None:
    """The loop of a review item: a second before and after it, in the timeline. None if the strip does not show it.

    Of a longer item it has a second on each side of the frame that the review goes to.
    """
    around = max(round(_AROUND_S * frame_rate), 1)
    low = max(entry.start, entry.frame - around) - around
    high = min(max(entry.stop, entry.frame + 1), entry.frame + around) + around
    spans = [(frame, frame + 1) for frame in range(max(low, 0), min(high, frame_count))]
    shown = [found for span in spans if (found := find_timeline_frame(strip, [span], frame_count)) is not None]
    return Loop(min(shown), max(shown), frame_rate * speed) if shown else None


def begin_session() -> None:
    SESSION.on, SESSION.ended = True, False


def start_loop(loop: Loop, home: int) -> None:
    SESSION.loop, SESSION.began, SESSION.home, SESSION.bare = loop, time.monotonic(), home, False


def advance_loop(scene: bpy.types.Scene) -> None:
    """Move the playhead to where the loop is now."""
    if SESSION.loop is None:
        return
    frame, SESSION.bare = SESSION.loop.get_frame(time.monotonic() - SESSION.began)
    if scene.frame_current != frame:
        scene.frame_set(frame)


def stop_loop(scene: bpy.types.Scene | None = None) -> None:
    """End the loop; with a scene, move its playhead back to the item."""
    if SESSION.loop is not None and scene is not None:
        scene.frame_set(SESSION.home)
    SESSION.loop, SESSION.bare = None, False


def forget(*_: object) -> None:
    SESSION.on, SESSION.ended = False, True
    stop_loop()


@persistent
def _forget_before(*_: object) -> None:
    forget()


def register_handlers() -> None:
    bpy.app.handlers.load_pre.append(_forget_before)


def unregister_handlers() -> None:
    bpy.app.handlers.load_pre.remove(_forget_before)
    forget()
