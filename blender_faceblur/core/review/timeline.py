# SPDX-License-Identifier: GPL-3.0-or-later
"""One review queue over all films of a timeline: those items first of which a viewer would see most."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .queue import REVIEW_QUEUE, ReviewEntry, is_shown


@dataclass(frozen=True, slots=True)
class FilmInTimeline:
    """What a timeline shows of one film. Ranges are half-open source frames."""

    entries: Sequence[ReviewEntry]
    """The film's review items, as `list_review_groups` returns them."""
    shown: Sequence[tuple[int, int]]
    """Ranges that a viewer sees."""
    hidden: Sequence[tuple[int, int]] = ()
    """Ranges that lie below other strips, so that no viewer sees them as the timeline is now."""
    scale: float = 1.0
    """How large the timeline shows a pixel of the film, as a share of the shorter side of its picture."""


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A review item in the queue of a timeline."""

    film: int
    """The number of its film, as the films were given."""
    entry: ReviewEntry
    is_hidden: bool
    """Other strips hide it in all its frames."""
    is_large: bool
    """One of its faces is so large in the timeline's picture that it can always be recognised."""


def rank_timeline(films: Sequence[FilmInTimeline]) -> list[TimelineEntry]:
    """The review items that a timeline shows, reviewed or open: by uncovered area in the timeline's picture and risk.

    Items that other strips hide come last, and not at all if no strip has their frames. Items of equal rank stay in the
    order of their films.
    """
    found: list[tuple[float, TimelineEntry]] = []
    for number, film in enumerate(films):
        shown, hidden = _join(film.shown), _join(film.hidden)
        for entry in film.entries:
            is_seen = any(is_shown(entry, span) for span in shown)
            if not is_seen and not any(is_shown(entry, span) for span in hidden):
                continue
            parts = (entry, *entry.members)
            size = film.scale * max(one.size_px for one in parts)
            # A verdict makes another item of a group its first one, but the group keeps its place.
            weight = film.scale**2 * max(one.weight for one in parts)
            found.append((weight, TimelineEntry(number, entry, not is_seen, size >= REVIEW_QUEUE.large_share)))
    return [one for _, one in sorted(found, key=lambda pair: (pair[1].is_hidden, -pair[0]))]


def _join(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same frames in as few ranges as possible."""
    joined: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    return joined
