# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of a scene, saved with it. A setting that was never changed has its value from the preferences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    PointerProperty,
)

from ..core.detection.settings import DEFAULT_MARGIN, MARGINS
from ..core.translation import CONTEXT
from .correction.properties import EXTENT_ITEMS, get_row, set_row
from .cover.live_effects import apply_chosen_effect
from .detection.new_footage import allow
from .people.properties import FACEBLUR_PG_people
from .preferences.properties import EFFECT_ITEMS, MARGIN_TEXT, PRESET_ITEMS, SAMPLES_TEXT, get_preferences


def _as_preferred(name: str, items: list[tuple[str, str, str]] | None = None) -> Callable[[Any, Any, bool], Any]:
    def read(_: object, value: Any, is_set: bool) -> Any:
        preferences = get_preferences()
        if is_set or preferences is None:
            return value
        preferred = getattr(preferences, name)
        return [item[0] for item in items].index(preferred) if items else preferred

    return read


def _allow_detection(settings: Any, _: object) -> None:
    allow(settings.id_data, settings.must_be_covered)


class FACEBLUR_PG_settings(bpy.types.PropertyGroup):
    find_plates: BoolProperty(
        name="Number Plates",
        description=(
            "Also detect number plates, in a second pass over each film. The detector was trained on Chinese plates: "
            "it finds most large plates from other countries and misses many small ones"
        ),
    )
    find_text: BoolProperty(
        name="Text",
        description="Also detect printed lines of text, in a further pass over each film: signs, name tags, screens",
    )
    people: PointerProperty(type=FACEBLUR_PG_people, name="People", description="Who appears, and whom to cover")
    list_sort: EnumProperty(
        name="Sort By",
        default="TIME",
        description="The order of the faces in the list",
        items=[
            ("TIME", "Time", "Faces that appear first come first", "SORTTIME", 0),
            ("DOUBT", "To Review", "Faces with the most open review items come first", "QUESTION", 1),
            ("SIZE", "Size", "The largest faces come first", "FULLSCREEN_ENTER", 2),
            ("NAME", "Name", "Sort by name", "SORTALPHA", 3),
        ],
    )
    list_filter: EnumProperty(
        name="Show",
        default="ALL",
        description="Which faces the list shows",
        items=[
            ("ALL", "All", "Show all faces", "FILTER", 0),
            ("DOUBTFUL", "To Review", "Show only faces with open review items", "QUESTION", 1),
            ("OFF", "Off", "Show only faces that are switched off", "CHECKBOX_DEHLT", 2),
            ("LOCKED", "Locked", "Show only faces with locked keys", "LOCKED", 3),
        ],
    )
    active_row: IntProperty(
        name="Face", description="The face to correct", get=get_row, set=set_row, options={"SKIP_SAVE"}
    )
    extent: EnumProperty(
        name="Extent",
        description="How long an added face or region is covered",
        items=EXTENT_ITEMS,
    )
    show_handles: BoolProperty(
        name="Handles",
        default=True,
        description=("Show handles in the preview to move, resize and rotate the active face's cover"),
    )
    preset: EnumProperty(
        name="Preset",
        items=PRESET_ITEMS,
        translation_context=CONTEXT,
        default="balanced",
        get_transform=_as_preferred("preset", PRESET_ITEMS),
        description="How carefully to look for faces",
    )
    effect: EnumProperty(
        name="Effect",
        items=EFFECT_ITEMS,
        translation_context=CONTEXT,
        default="solid",
        get_transform=_as_preferred("effect", EFFECT_ITEMS),
        description=(
            "What covers the faces. Covered strips change at once: those that are selected, or all if none is selected"
        ),
        update=apply_chosen_effect,
    )
    samples_across: FloatProperty(
        name="Samples per Face",
        default=6.0,
        min=2.0,
        max=16.0,
        get_transform=_as_preferred("samples_across"),
        description=SAMPLES_TEXT,
        update=apply_chosen_effect,
    )
    color: FloatVectorProperty(
        name="Color",
        subtype="COLOR_GAMMA",
        size=3,
        min=0.0,
        max=1.0,
        description="The colour that covers the faces",
        update=apply_chosen_effect,
    )
    whole_head: BoolProperty(
        name="Whole Head",
        description=("Also cover ears and hair. Takes effect when faces are detected; long hair needs a larger Size"),
    )
    image: PointerProperty(
        name="Image",
        type=bpy.types.Image,
        description="The picture that covers the faces. If it is missing, the colour covers them",
        update=apply_chosen_effect,
    )
    inverse: BoolProperty(name="Inverse", description="Cover everything but the faces", update=apply_chosen_effect)
    expansion: FloatProperty(
        name="Margin",
        default=DEFAULT_MARGIN,
        min=MARGINS[0],
        max=MARGINS[1],
        get_transform=_as_preferred("expansion"),
        description=f"{MARGIN_TEXT}. Takes effect when faces are detected",
    )
    show_overlay: BoolProperty(
        name="Faces", default=True, description="Show the outline of each face's cover in the preview"
    )
    show_coverage: BoolProperty(
        name="Coverage", default=True, description="Show on each strip in the timeline how its faces are covered"
    )
    must_be_covered: BoolProperty(
        name="Cover All Footage",
        options=set(),
        description=(
            "Render movie and image strips black in which faces were never detected, and detect their faces while "
            "Blender is idle. Use Leave Uncovered for strips in which nothing has to be covered"
        ),
        update=_allow_detection,
    )
    black_out_undetected: BoolProperty(
        name="Black Out Undetected",
        description=(
            "Render movie and image strips black in which faces were never detected, except those that are left "
            "uncovered on purpose"
        ),
    )


def register() -> None:
    bpy.utils.register_class(FACEBLUR_PG_settings)
    bpy.types.Scene.faceblur = PointerProperty(type=FACEBLUR_PG_settings, name="Face Blur")


def unregister() -> None:
    del bpy.types.Scene.faceblur
    bpy.utils.unregister_class(FACEBLUR_PG_settings)
