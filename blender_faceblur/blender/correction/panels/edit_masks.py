# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons that lead back from a mask and make footage, and the entries for both in menu and header."""

from __future__ import annotations

from typing import ClassVar

import bpy

from ...common.context import get_sequencer_scene
from ...common.footage import KINDS
from ...common.menus import FACEBLUR_MT_strip
from ..edit_masks import get_helper


class FACEBLUR_PT_masks(bpy.types.Panel):
    bl_label = "Masks"
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Face Blur"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_options: ClassVar = {"HIDE_HEADER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return get_helper() is not None or _is_without_footage(context)

    def draw(self, context: bpy.types.Context) -> None:
        if get_helper() is not None:
            self.layout.operator("faceblur.back_from_masks", icon="LOOP_BACK")
        else:
            self.layout.operator("faceblur.render_to_footage", icon="RENDER_ANIMATION")


def _is_without_footage(context: bpy.types.Context) -> bool:
    """Whether the active strip shows a picture that comes from no file."""
    scene = get_sequencer_scene(context)
    active = scene.sequence_editor.active_strip if scene is not None else None
    return active is not None and active.type not in (*KINDS, "SOUND", "MASK")


def add_buttons() -> None:
    bpy.types.IMAGE_HT_header.append(_draw_back)
    FACEBLUR_MT_strip.append(_draw_menu)


def remove_buttons() -> None:
    FACEBLUR_MT_strip.remove(_draw_menu)
    bpy.types.IMAGE_HT_header.remove(_draw_back)


def _draw_back(self: bpy.types.Header, context: bpy.types.Context) -> None:
    if context.scene is not None and context.scene == get_helper():
        self.layout.operator("faceblur.back_from_masks", icon="LOOP_BACK")


def _draw_menu(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.operator("faceblur.edit_masks", icon="MOD_MASK")
    self.layout.operator("faceblur.back_from_masks", icon="LOOP_BACK")
    self.layout.operator("faceblur.render_to_footage", icon="RENDER_ANIMATION")
