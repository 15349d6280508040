# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a scene, saved with it; what was never set is as the preferences say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, PointerProperty

from ..core.detection.settings import DEFAULT_MARGIN, MARGINS
from .people.properties import FACEBLUR_PG_people
from .preferences.properties import EFFECT_ITEMS, EXPANSION_TEXT, PRESET_ITEMS, SAMPLES_TEXT, get_preferences


def _as_preferred(name: str, items: list[tuple[str, str, str]] | None = None) -> Callable[[Any, Any, bool], Any]:
    def read(_: object, value: Any, is_set: bool) -> Any:
        preferences = get_preferences()
        if is_set or preferences is None:
            return value
        preferred = getattr(preferences, name)
        return [item[0] for item in items].index(preferred) if items else preferred

    return read


class FACEBLUR_PG_settings(bpy.types.PropertyGroup):
    find_plates: BoolProperty(
        name="Number Plates",
        description=(
            "Look for number plates too, in a second pass over each film. It was trained with Chinese plates; "
            "it finds most large plates of other countries and misses many small ones"
        ),
    )
    people: PointerProperty(type=FACEBLUR_PG_people, name="People", description="Who is seen, and whom to blur")
    list_sort: EnumProperty(
        name="Sort By",
        default="TIME",
        description="In which order the faces are listed",
        items=[
            ("TIME", "Time", "The first seen first", "SORTTIME", 0),
            ("DOUBT", "Doubt", "The most doubtful first", "QUESTION", 1),
            ("SIZE", "Size", "The largest first", "FULLSCREEN_ENTER", 2),
            ("NAME", "Name", "By name", "SORTALPHA", 3),
        ],
    )
    list_filter: EnumProperty(
        name="Show",
        default="ALL",
        description="Which faces are listed",
        items=[
            ("ALL", "All", "All faces", "FILTER", 0),
            ("DOUBTFUL", "Doubtful", "Those with doubtful places", "QUESTION", 1),
            ("OFF", "Off", "Those that are switched off", "CHECKBOX_DEHLT", 2),
            ("LOCKED", "Locked", "Those with locked keys", "LOCKED", 3),
        ],
    )
    extent: EnumProperty(
        name="Extent",
        description="For how long what is added is covered",
        items=[
            ("FOLLOW", "Follow It", "It is followed forwards and backwards until it leaves or the shot ends"),
            ("FRAME", "Here Only", "In this frame only"),
            ("HOLD", "Until I Say Stop", "It stays where it is to the end of the film, or until End Here"),
        ],
    )
    show_handles: BoolProperty(
        name="Handles",
        default=True,
        description=("Show the active face's cover in the preview with handles, to drag, resize and turn it"),
    )
    preset: EnumProperty(
        name="Preset",
        items=PRESET_ITEMS,
        default="balanced",
        get_transform=_as_preferred("preset", PRESET_ITEMS),
        description="How carefully to look for faces",
    )
    effect: EnumProperty(
        name="Effect",
        items=EFFECT_ITEMS,
        default="solid",
        get_transform=_as_preferred("effect", EFFECT_ITEMS),
        description="What covers the faces",
    )
    samples_across: FloatProperty(
        name="Samples per Face",
        default=6.0,
        min=2.0,
        max=16.0,
        get_transform=_as_preferred("samples_across"),
        description=SAMPLES_TEXT,
    )
    color: FloatVectorProperty(
        name="Color", subtype="COLOR_GAMMA", size=3, min=0.0, max=1.0, description="The colour that covers the faces"
    )
    whole_head: BoolProperty(
        name="Whole Head",
        description=("Cover ears and hair as well. Used when faces are detected; long hair needs a larger Size"),
    )
    image: PointerProperty(
        name="Image",
        type=bpy.types.Image,
        description="The picture that covers the faces; where it is lost, the colour does",
    )
    inverse: BoolProperty(name="Inverse", description="Cover everything but the faces")
    expansion: FloatProperty(
        name="Size",
        default=DEFAULT_MARGIN,
        min=MARGINS[0],
        max=MARGINS[1],
        get_transform=_as_preferred("expansion"),
        description=f"{EXPANSION_TEXT}. Used when faces are detected",
    )
    show_overlay: BoolProperty(
        name="Faces", default=True, description="Show the outline of each face's cover in the preview"
    )
    show_coverage: BoolProperty(
        name="Coverage", default=True, description="Show along each strip in the timeline how its faces are covered"
    )


def register() -> None:
    bpy.utils.register_class(FACEBLUR_PG_settings)
    bpy.types.Scene.faceblur = PointerProperty(type=FACEBLUR_PG_settings, name="Face Blur")


def unregister() -> None:
    del bpy.types.Scene.faceblur
    bpy.utils.unregister_class(FACEBLUR_PG_settings)
