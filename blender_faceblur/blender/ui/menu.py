# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu Strip > Face Blur, by which the operator search finds what the tab offers, and the keys."""

from __future__ import annotations

import bpy

KEYS = (("faceblur.detect", "D"), ("faceblur.apply", "A"))
"""Each with Shift, Ctrl and Alt together, which Blender's own keymaps leave free in the sequencer."""

_keys: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


class FACEBLUR_MT_strip(bpy.types.Menu):
    bl_label = "Face Blur"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator("faceblur.detect", icon="VIEWZOOM")
        layout.operator("faceblur.apply", text="Apply Face Blur Settings")
        layout.operator("faceblur.remove", text="Remove Face Blur")
        layout.separator()
        layout.operator("faceblur.go_to_face")
        layout.operator_menu_enum("faceblur.switch_faces", "action")


def add_menu() -> None:
    bpy.types.SEQUENCER_MT_strip.append(_draw)


def remove_menu() -> None:
    bpy.types.SEQUENCER_MT_strip.remove(_draw)


def add_keys() -> None:
    keyconfig = bpy.context.window_manager.keyconfigs.addon
    if keyconfig is None:
        # Without a window there are no keys.
        return
    keymap = keyconfig.keymaps.new(name="Sequencer", space_type="SEQUENCE_EDITOR")
    for operator, key in KEYS:
        _keys.append((keymap, keymap.keymap_items.new(operator, key, "PRESS", shift=True, ctrl=True, alt=True)))


def remove_keys() -> None:
    for keymap, item in _keys:
        keymap.keymap_items.remove(item)
    _keys.clear()


def _draw(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu("FACEBLUR_MT_strip")
