# SPDX-License-Identifier: GPL-3.0-or-later
"""A contact sheet of one person's clearest faces over all strips, and the timer that has their thumbnails made."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import bpy

from ...core.review.queue import choose_clearest
from ...core.translation import translate
from ...core.types import Ellipse, FaceBlurError
from ..common.jobs import JOB, redraw
from ..cover.strips import get_mask
from ..review.queue import read_queue
from ..thumbnails import store as thumbnails
from .cache import ListedFace, list_shown_faces
from .memory import list_masks
from .person_list import get_listed

_TICK_S = 0.5

_MOST_PICTURES = 12
"""The most pictures in one person's sheet."""

_APART_S = 0.5
"""The least time between two pictures of one track."""


@dataclass(frozen=True, slots=True)
class SheetPicture:
    """A place in a source that shows a person clearly. `face` is the index in the scene's list of faces."""

    face: int
    mask: str
    fingerprint: str
    frame: int
    ellipse: Ellipse


@dataclass(frozen=True, slots=True)
class _Sheet:
    """The pictures of a sheet, and the state they were chosen for."""

    shown: list[ListedFace]
    persons: list[int]
    pictures: list[SheetPicture]


@dataclass(slots=True)
class SheetState:
    """The sheets, by the scene's session_uid, and the strips whose thumbnails are still to be made. Only this module
    uses it. Cleared before another project is opened."""

    sheets: dict[int, _Sheet] = field(default_factory=dict)
    scene: str = ""
    strips: list[str] = field(default_factory=list)
    """The strips of `scene` that still need thumbnails, the next one first."""

    def forget(self) -> None:
        self.sheets.clear()
        self.strips.clear()


SHEETS = SheetState()


def get_sheet(scene: bpy.types.Scene, uid: int) -> list[SheetPicture]:
    """The clearest faces of a person over all strips, in the list's order; chosen again only after a change."""
    shown, persons = list_shown_faces(scene), [uid, *(face.person for face in scene.faceblur.people.faces)]
    known = SHEETS.sheets.get(scene.session_uid)
    # `list_shown_faces` returns a new list object after every change.
    if known is None or known.shown is not shown or known.persons != persons:
        own = [number for number, item in enumerate(shown) if persons[number + 1] == uid and item.track]
        own = own[:_MOST_PICTURES]
        each = _MOST_PICTURES // max(len(own), 1)
        known = SHEETS.sheets[scene.session_uid] = _Sheet(
            shown, persons, [pictured for number in own for pictured in _choose_pictured(number, shown[number], each)]
        )
    return known.pictures


def _choose_pictured(number: int, shown: ListedFace, most: int) -> Iterator[SheetPicture]:
    """Divide a track into at most `most` parts, and give the clearest sample of each."""
    mask = bpy.data.masks.get(shown.mask)
    document = read_queue(mask).document if mask is not None else None
    if document is None:
        return
    source = document.source
    samples = next(t.samples for t in (*document.uncovered, *document.tracks) if t.name == shown.track)
    step = max(1, math.ceil(len(samples) / most), round(_APART_S * float(source.frame_rate)))
    for start in range(0, len(samples), step):
        sample = choose_clearest(samples[start : start + step], (source.width, source.height))
        yield SheetPicture(number, shown.mask, source.fingerprint, sample.source_frame, sample.ellipse)


def make_thumbnails(scene: bpy.types.Scene) -> None:
    """Start making thumbnails of the faces of all covered strips, one strip after the other."""
    sheet = _list_sheet(scene)
    SHEETS.scene = scene.name
    SHEETS.strips = [
        strip.name
        for strip, mask in list_masks(scene)
        if thumbnails.list_missing(mask) or any(p.mask == mask.name for p in sheet)
    ]
    if not bpy.app.timers.is_registered(make_next):
        bpy.app.timers.register(make_next)


def is_making_thumbnails() -> bool:
    """Whether thumbnails of any strip are still to be made."""
    return bool(SHEETS.strips) or thumbnails.is_running()


def _list_sheet(scene: bpy.types.Scene) -> list[SheetPicture]:
    """The places of the visible sheet that have no thumbnail yet."""
    people = scene.faceblur.people
    if not people.show_sheet:
        return []
    return [
        p
        for p in get_sheet(scene, get_listed(people))
        if thumbnails.get_picture(p.fingerprint, p.frame, p.ellipse) is None
    ]


def make_next() -> float | None:
    """Timer: start the next strip once the previous one is finished."""
    scene = bpy.data.scenes.get(SHEETS.scene) if SHEETS.strips else None
    if scene is None or scene.sequence_editor is None:
        SHEETS.strips.clear()
        return None
    if not thumbnails.is_running():
        strip = scene.sequence_editor.strips_all.get(SHEETS.strips.pop(0))
        mask = get_mask(strip)
        if mask is not None:
            try:
                thumbnails.start(
                    scene, strip, [(p.frame, p.ellipse) for p in _list_sheet(scene) if p.mask == mask.name]
                )
            except FaceBlurError as error:
                JOB.problems = [
                    translate("The thumbnails of '{name}' could not be made: {error}", name=strip.name, error=error)
                ]
        redraw()
    return _TICK_S
