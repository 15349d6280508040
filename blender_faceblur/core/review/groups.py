# SPDX-License-Identifier: GPL-3.0-or-later
"""Group review items, so that a review ends: one item for each face or place, and piles of what could show least.

Nothing is left out: each group holds all of its items, and a verdict on it is one on each of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..types import Box, TrackDocument
from .queue import Pile, ReviewEntry, is_shown, list_review_entries


@dataclass(frozen=True, slots=True)
class ReviewGroupSettings:
    """Which review items are shown as one."""

    same_face_s: float = 10.0
    """Seconds between two items about one track up to which they are one. Raising it shows fewer items, and longer
    ones. Origin: a guess."""
    same_place_s: float = 1.0
    """Seconds between two items at one place up to which they are one, as where a track ends and another begins.
    Raising it shows fewer. Origin: a guess."""
    same_place_share: float = 0.5
    """Share (0..1) of the smaller box inside the larger one from which two items are at one place. Raising it shows
    more. Origin: a guess."""
    items_per_minute: float = 12.0
    """Most items per minute of film; what could show least is one pile per minute. Raising it makes piles smaller and
    reviews longer. Origin: a minute of film must not take longer to review than to watch, at 4 seconds an item."""
    least_items: int = 2
    """Items that a film may have however short it is, so that what shows most is not in its pile. Raising it makes the
    review of short clips longer. Origin: with 4, films of less than 20 seconds had up to 26 items a minute."""
    pile_s: float = 60.0
    """Seconds of film that have a pile of their own. Raising it makes fewer and larger piles. Origin: the minute of
    `items_per_minute`."""


REVIEW_GROUPS = ReviewGroupSettings()


def list_review_groups(
    document: TrackDocument, unreliable: Collection[str] = (), opened: Collection[str] = ()
) -> list[ReviewEntry]:
    """The review items that an editor goes through, those first that probably show most.

    Each is the foremost open item of its group, or the foremost one if all have a verdict; `members` are the others.
    `unreliable`: see `list_review_entries`. Groups that hold an item with a key in `opened` are in no pile.
    """
    groups = _join(list_review_entries(document, unreliable), float(document.source.frame_rate))
    # A picture has no minutes.
    piles = (
        [(group, False) for group in groups] if document.source.kind == "image" else _pile_up(groups, document, opened)
    )
    return [_lead(group, piled, document) for group, piled in piles]


def count_left(document: TrackDocument, shown: tuple[int, int] | None = None, unreliable: Collection[str] = ()) -> int:
    """The number of open items; with `shown`, only of those in this half-open range of source frames.

    `unreliable` are tracks, as in `list_review_entries`.
    """
    return sum(not d.verdict and is_shown(d, shown) for d in list_review_groups(document, unreliable))


def list_open(entry: ReviewEntry) -> list[ReviewEntry]:
    """The items of a group that have no verdict, and its foremost one."""
    return [entry, *(member for member in entry.members if not member.verdict)]


def _join(entries: list[ReviewEntry], rate: float) -> list[list[ReviewEntry]]:
    """Groups of the items about one face, or one place and time, in the order of their foremost items.

    An item joins the first group whose foremost item is near, so that a row of neighbours does not become one group.
    """
    groups: list[list[ReviewEntry]] = []
    of_track: dict[str, list[list[ReviewEntry]]] = {}
    for entry in entries:
        near = [
            group
            for group in of_track.get(entry.track, ())
            if _is_soon(group[0], entry, REVIEW_GROUPS.same_face_s * rate)
        ] or [
            group
            for group in groups
            if _is_soon(group[0], entry, REVIEW_GROUPS.same_place_s * rate)
            and bool(group[0].track) == bool(entry.track)
            and _is_same_place(group[0].box, entry.box)
        ]
        if near:
            near[0].append(entry)
        else:
            groups.append([entry])
            if entry.track:
                of_track.setdefault(entry.track, []).append(groups[-1])
    return groups


def _is_soon(one: ReviewEntry, other: ReviewEntry, frames: float) -> bool:
    return max(one.start, other.start) - min(one.stop, other.stop) <= frames


def _is_same_place(one: Box, other: Box) -> bool:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return across > 0 and down > 0 and across * down >= REVIEW_GROUPS.same_place_share * smaller


def _pile_up(
    groups: list[list[ReviewEntry]], document: TrackDocument, opened: Collection[str]
) -> list[tuple[list[ReviewEntry], bool]]:
    """The groups, and whether each is a pile: of each minute, all that are more than an editor can review.

    Groups come in the order of the review, so that the last of them, which could show least, are piled up.
    """
    rate, count = float(document.source.frame_rate), document.source.frame_count
    window = max(REVIEW_GROUPS.pile_s * rate, 1.0)
    # The rest of a film that is too short for an item of its own belongs to the minute before.
    least = 60 * rate / REVIEW_GROUPS.items_per_minute
    last = max(int((count - least) // window), 0)
    of_window: dict[int, list[list[ReviewEntry]]] = {}
    piles: list[tuple[list[ReviewEntry], bool]] = []
    for group in groups:
        if opened and any(entry.key in opened for entry in group):
            piles.append((group, False))
            continue
        of_window.setdefault(min(int(group[0].frame // window), last), []).append(group)
    for number, members in of_window.items():
        length = (count if number == last else (number + 1) * window) - number * window
        most = max(REVIEW_GROUPS.least_items, int(REVIEW_GROUPS.items_per_minute * length / (60 * rate)))
        if len(members) <= most:
            piles += [(group, False) for group in members]
        else:
            piles += [(group, False) for group in members[: most - 1]]
            piles.append(([entry for group in members[most - 1 :] for entry in group], True))
    place = {id(group[0]): number for number, group in enumerate(groups)}
    return sorted(piles, key=lambda pile: place[id(pile[0][0])])


def _lead(group: list[ReviewEntry], piled: bool, document: TrackDocument) -> ReviewEntry:
    first = next((entry for entry in group if not entry.verdict), group[0])
    members = tuple(entry for entry in group if entry is not first)
    if not members:
        return first
    return replace(first, members=members, pile=_describe_pile(group, document) if piled else None)


def _describe_pile(group: list[ReviewEntry], document: TrackDocument) -> Pile:
    faces = {entry.track: entry.covered for entry in group if entry.track}
    lengths = {
        track.name: len(track.samples) for track in (*document.tracks, *document.uncovered) if track.name in faces
    }
    return Pile(
        len(group),
        sum(faces.values()),
        len(faces) - sum(faces.values()),
        max((entry.size_px for entry in group if entry.track), default=0.0),
        max(lengths.values(), default=0) / float(document.source.frame_rate),
        len({entry.track for entry in group if entry.track and entry.is_blurred}),
    )
