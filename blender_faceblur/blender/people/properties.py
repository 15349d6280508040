# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scene saves of its people."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    StringProperty,
)

from ...core.people.decisions import RATES, USUAL_RATE
from .contact_sheet import make_thumbnails
from .person_list import ALL, EDITOR, KEEP, MACHINE, ONLY, SPLIT, TICKED, choose_free_name, get_first_face

MODES = [
    (ALL, "Blur All", "Everybody is blurred"),
    (ONLY, "Blur Only These", "Those with a tick are blurred, and all of whom it is not sure that they are others"),
    (KEEP, "Keep These Clear", "Those with a tick stay clear where that is sure; all others are blurred"),
]

RATE_ITEMS = [
    (
        f"{round(1 / rate)}",
        f"1 stranger in {round(1 / rate):,}".replace(",", " "),
        "How often somebody else who is seen as well would be kept clear by mistake, as measured on strangers",
    )
    for rate in RATES
]


def _on_tick_changed(item: Any, context: bpy.types.Context | None) -> None:
    first = get_first_face(item)
    if first is not None and first.by != EDITOR:
        first.by = TICKED if item.chosen else SPLIT


def _on_name_changed(item: Any, context: bpy.types.Context | None) -> None:
    people = item.id_data.faceblur.people
    free = choose_free_name({person.name for person in people.persons if person.uid != item.uid}, item.name.strip())
    if item.name != free:
        # Which calls this again.
        item.name = free
        return
    first = get_first_face(item)
    if first is not None and first.by == MACHINE:
        # A name is no word about likeness; but the next look must not give it to somebody else.
        first.by = SPLIT


def _on_sheet_changed(people: Any, context: bpy.types.Context | None) -> None:
    if people.show_sheet and not bpy.app.background:
        make_thumbnails(people.id_data)


def _on_person_changed(people: Any, context: bpy.types.Context | None) -> None:
    """Of the person who is active now a face is the active one too, so that the buttons have something to work on."""
    if 0 <= people.active_person < len(people.persons):
        uid = people.persons[people.active_person].uid
        own = [number for number, face in enumerate(people.faces) if face.person == uid]
        if own and people.active_face not in own:
            people.active_face = own[0]
        people.show_unlisted = False
    _on_sheet_changed(people, context)


class FACEBLUR_PG_person(bpy.types.PropertyGroup):
    """`uid` is never used again; `references` are the numbers, by which memory has them, of vectors from pictures."""

    uid: IntProperty(options={"HIDDEN"})
    name: StringProperty(name="Name", description="Who this is", maxlen=200, update=_on_name_changed)
    chosen: BoolProperty(
        name="Chosen",
        update=_on_tick_changed,
        description=("One of those whom the mode speaks of. A tick says that the face shown here is this person's"),
    )
    color: FloatVectorProperty(
        name="Color",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=(1.0, 0.35, 0.35),
        description="Of this person's outlines over the preview, with Color by Person",
    )
    references: StringProperty(options={"HIDDEN"})


class FACEBLUR_PG_person_face(bpy.types.PropertyGroup):
    """Whose the track is that has its face at a place of a source; `track` was its name, only to be shown."""

    fingerprint: StringProperty(options={"HIDDEN"})
    track: StringProperty(options={"HIDDEN"})
    frame: IntProperty(options={"HIDDEN"})
    x: FloatProperty(options={"HIDDEN"})
    y: FloatProperty(options={"HIDDEN"})
    person: IntProperty(options={"HIDDEN"}, description="Its `uid`; 0: nobody known")
    by: StringProperty(default=MACHINE, options={"HIDDEN"})
    picked: BoolProperty(name="Picked", description="What the buttons below work on; drag over several to pick them")


class FACEBLUR_PG_people(bpy.types.PropertyGroup):
    persons: CollectionProperty(type=FACEBLUR_PG_person)
    faces: CollectionProperty(type=FACEBLUR_PG_person_face)
    active_person: IntProperty(name="Person", update=_on_person_changed)
    active_face: IntProperty(name="Face")
    mode: EnumProperty(name="Mode", items=MODES, description="Whom to blur")
    color_by_person: BoolProperty(
        name="Color by Person",
        description=("Outlines over the preview have the colour of whose face it is, where that is known"),
    )
    show_unlisted: BoolProperty(
        name="Show Them",
        update=_on_sheet_changed,
        description=("List the faces that were never seen well enough, to say whose they are"),
    )
    show_sheet: BoolProperty(
        name="Show Pictures",
        update=_on_sheet_changed,
        description=(
            "Show this person's clearest faces, over all strips. The pictures are in memory only, and never saved"
        ),
    )
    stranger_rate: EnumProperty(
        name="Mistakes",
        items=RATE_ITEMS,
        default=f"{round(1 / USUAL_RATE)}",
        description="How often a stranger may be taken for somebody who stays clear",
    )


GROUPS = (FACEBLUR_PG_person, FACEBLUR_PG_person_face, FACEBLUR_PG_people)
