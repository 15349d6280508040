# SPDX-License-Identifier: GPL-3.0-or-later
"""The choice of a person in an operator, and whether an operator on people can run."""

from __future__ import annotations

from typing import Any

import bpy

from ....core.translation import translate
from ...common.context import get_sequencer_scene
from ...common.selection import EnumItems, is_busy, refuse
from ...review.queue import list_covered
from ..person_list import add_person, get_person

NEW = "NEW"


def is_ready(operator: Any, context: bpy.types.Context, covered: bool = True) -> bool:
    """Whether an operator on people can run; sets its poll message if not.

    With `covered` the scene needs a covered strip.
    """
    if is_busy(operator):
        return False
    scene = get_sequencer_scene(context)
    if scene is None or (covered and next(list_covered(scene), None) is None):
        return refuse(operator, "No strip is covered: Detect Faces first")
    return True


def list_people(operator: Any, context: bpy.types.Context | None) -> list[tuple[str, str, str]]:
    scene = get_sequencer_scene(context or bpy.context)
    persons = scene.faceblur.people.persons if scene is not None else ()
    return _PERSON_ITEMS.offer(
        [
            (NEW, "New Person", "A person who is not in the list yet"),
            *((str(person.uid), person.name, translate("This is {name}", name=person.name)) for person in persons),
        ]
    )


_PERSON_ITEMS = EnumItems()


def get_or_add(scene: bpy.types.Scene, choice: str, name: str = "") -> Any:
    """The chosen person; a new one if NEW was chosen or the person no longer exists."""
    settings = scene.faceblur.people
    found = get_person(settings, int(choice)) if choice not in (NEW, "") else None
    return found if found is not None else add_person(settings, name)
