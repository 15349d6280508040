# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of a scene's people, which are saved with it."""

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
    (ALL, "Blur All", "Blur everyone"),
    (ONLY, "Blur Only These", "Blur the ticked people, and everyone who might be one of them"),
    (
        KEEP,
        "Keep These Visible",
        "Leave the ticked people visible where they are surely recognised, blur everyone else",
    ),
]

RATE_ITEMS = [
    (
        f"{round(1 / rate)}",
        f"At Most 1 in {round(1 / rate):,}".replace(",", " "),
        "How often a stranger who is seen equally well would stay visible by mistake, as measured on strangers",
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
        # Setting the name calls this function again.
        item.name = free
        return
    first = get_first_face(item)
    if first is not None and first.by == MACHINE:
        # A name does not confirm the face, but the next recognition must not give the name to another person.
        first.by = SPLIT


def _on_sheet_changed(people: Any, context: bpy.types.Context | None) -> None:
    if people.show_sheet and not bpy.app.background:
        make_thumbnails(people.id_data)


def _on_person_changed(people: Any, context: bpy.types.Context | None) -> None:
    """Make a face of the newly active person active too, so that the buttons have something to work on."""
    if 0 <= people.active_person < len(people.persons):
        uid = people.persons[people.active_person].uid
        own = [number for number, face in enumerate(people.faces) if face.person == uid]
        if own and people.active_face not in own:
            people.active_face = own[0]
        people.show_unlisted = False
    _on_sheet_changed(people, context)


class FACEBLUR_PG_person(bpy.types.PropertyGroup):
    """A person. `uid` is never reused; `references` lists the numbers under which memory has reference vectors."""

    uid: IntProperty(options={"HIDDEN"})
    name: StringProperty(name="Name", description="Who this is", maxlen=200, update=_on_name_changed)
    chosen: BoolProperty(
        name="Chosen",
        update=_on_tick_changed,
        description=("Apply the mode to this person. A tick confirms that the face shown here is this person's"),
    )
    color: FloatVectorProperty(
        name="Color",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        default=(1.0, 0.35, 0.35),
        description="Colour of this person's outlines over the preview, with Color by Person",
    )
    references: StringProperty(options={"HIDDEN"})


class FACEBLUR_PG_person_face(bpy.types.PropertyGroup):
    """The person of the track at a place in a source. `track` is the name that the track last had, for display."""

    fingerprint: StringProperty(options={"HIDDEN"})
    track: StringProperty(options={"HIDDEN"})
    frame: IntProperty(options={"HIDDEN"})
    x: FloatProperty(options={"HIDDEN"})
    y: FloatProperty(options={"HIDDEN"})
    person: IntProperty(options={"HIDDEN"}, description="The person's `uid`; 0 for none")
    by: StringProperty(default=MACHINE, options={"HIDDEN"})
    picked: BoolProperty(name="Picked", description="The buttons below work on picked faces; drag to pick several")


class FACEBLUR_PG_people(bpy.types.PropertyGroup):
    persons: CollectionProperty(type=FACEBLUR_PG_person)
    faces: CollectionProperty(type=FACEBLUR_PG_person_face)
    active_person: IntProperty(name="Person", update=_on_person_changed)
    active_face: IntProperty(name="Face")
    mode: EnumProperty(name="Mode", items=MODES, description="Whom to blur")
    color_by_person: BoolProperty(
        name="Color by Person",
        description=("Draw each outline over the preview in its person's colour, if the face has a person"),
    )
    show_unlisted: BoolProperty(
        name="Show These Faces",
        update=_on_sheet_changed,
        description=("List the faces that are never seen well enough, so that you can assign them to people"),
    )
    show_sheet: BoolProperty(
        name="Show Pictures",
        update=_on_sheet_changed,
        description=(
            "Show this person's clearest faces from all strips. The pictures stay in memory and are never saved"
        ),
    )
    stranger_rate: EnumProperty(
        name="Mistakes",
        items=RATE_ITEMS,
        default=f"{round(1 / USUAL_RATE)}",
        description="How often a stranger may be mistaken for a person who stays visible",
    )


GROUPS = (FACEBLUR_PG_person, FACEBLUR_PG_person_face, FACEBLUR_PG_people)
