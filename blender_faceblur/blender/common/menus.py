# SPDX-License-Identifier: GPL-3.0-or-later
"""The menu Strip > Face Blur, by which the operator search finds what the tab offers, and the keys."""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy

KEYS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("faceblur.detect", "D", {}), ("faceblur.apply", "A", {}), ("wm.call_menu_pie", "F", {"name": "FACEBLUR_MT_pie"}),
    ("faceblur.follow", "T", {"direction": "BOTH"}), ("faceblur.add", "B", {"kind": "FACE"}),
    ("faceblur.review_next", "N", {}), ("faceblur.review_previous", "P", {}), ("faceblur.review_fine", "I", {}),
    ("faceblur.review_off", "O", {}), ("faceblur.review_cover", "Y", {}), ("faceblur.review_fix", "X", {}),
)
"""Each with Shift, Ctrl and Alt together, which Blender's own keymaps leave free in the sequencer."""

_KEYMAPS = ("Sequencer", "Preview")


@dataclass(slots=True)
class _AddedKeys:
    """The shortcuts that are in Blender's keymaps because of us: added and taken out with the extension."""

    items: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = field(default_factory=list)


_KEYS_ADDED = _AddedKeys()


class FACEBLUR_MT_strip(bpy.types.Menu):
    bl_label = "Face Blur"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator("faceblur.detect", icon="VIEWZOOM")
        layout.operator("faceblur.apply", text="Apply Face Blur Settings")
        layout.operator("faceblur.remove", text="Remove Face Blur")
        layout.separator()
        layout.menu("FACEBLUR_MT_correct")
        layout.menu("FACEBLUR_MT_review")
        layout.operator("faceblur.check", text="Check Before Rendering")
        layout.operator("faceblur.render")
        layout.operator("faceblur.must_be_covered")
        layout.operator("faceblur.export_covered")
        layout.operator("faceblur.verify")
        layout.operator("faceblur.report")
        layout.separator()
        layout.operator("faceblur.go_to_face")
        layout.operator_menu_enum("faceblur.switch_faces", "action")
        layout.separator()
        layout.operator("faceblur.guide", icon="HELP")


class FACEBLUR_MT_review(bpy.types.Menu):
    bl_label = "Review"

    def draw(self, context: bpy.types.Context) -> None:
        for name in ("next", "previous", "fine", "fix", "off", "cover"):
            self.layout.operator(f"faceblur.review_{name}")


class FACEBLUR_MT_correct(bpy.types.Menu):
    bl_label = "Correct Face"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        for name in ("follow", "begin_here", "end_here", "split_face", "merge_faces", "clear_key", "lock_face",
                     "delete_face"):
            layout.operator(f"faceblur.{name}")
        layout.menu("FACEBLUR_MT_switch_off")
        layout.menu("FACEBLUR_MT_switch_on")
        layout.operator_menu_enum("faceblur.add", "kind", text="Add")


def add_menu() -> None:
    bpy.types.SEQUENCER_MT_strip.append(_draw)


def remove_menu() -> None:
    bpy.types.SEQUENCER_MT_strip.remove(_draw)


def add_keys() -> None:
    keyconfig = bpy.context.window_manager.keyconfigs.addon
    if keyconfig is None:
        # Without a window there are no keys.
        return
    for name in _KEYMAPS:
        keymap = keyconfig.keymaps.new(name=name, space_type="SEQUENCE_EDITOR")
        for operator, key, options in KEYS:
            item = keymap.keymap_items.new(operator, key, "PRESS", shift=True, ctrl=True, alt=True)
            for option, value in options.items():
                setattr(item.properties, option, value)
            _KEYS_ADDED.items.append((keymap, item))


def remove_keys() -> None:
    for keymap, item in _KEYS_ADDED.items:
        keymap.keymap_items.remove(item)
    _KEYS_ADDED.items.clear()


def _draw(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.separator()
    self.layout.menu("FACEBLUR_MT_strip")
