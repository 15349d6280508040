# SPDX-License-Identifier: GPL-3.0-or-later
"""Keyboard shortcuts in the sequencer and its preview."""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy

KEYS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("faceblur.detect", "D", {}),
    ("faceblur.apply", "A", {}),
    ("faceblur.face_menu", "F", {"menu": "PIE"}),
    ("faceblur.follow", "T", {"direction": "BOTH"}),
    ("faceblur.add", "B", {"kind": "FACE"}),
    ("faceblur.decide_on_faces", "E", {}),
    ("faceblur.review", "R", {}),
    ("faceblur.review_next", "N", {}),
    ("faceblur.review_previous", "P", {}),
    ("faceblur.review_fine", "I", {}),
    ("faceblur.review_off", "O", {}),
    ("faceblur.review_cover", "Y", {}),
    ("faceblur.review_fix", "X", {}),
    ("faceblur.watch_next", "W", {}),
)
"""Operator, key and options. Each needs Shift, Ctrl and Alt together, which Blender leaves free in the sequencer."""

MOUSE_KEYS: tuple[tuple[str, str, bool, dict[str, object]], ...] = (
    ("faceblur.transform_cover", "G", False, {"mode": "MOVE"}),
    ("faceblur.transform_cover", "S", False, {"mode": "RESIZE"}),
    ("faceblur.transform_cover", "R", False, {"mode": "ROTATE"}),
    ("faceblur.face_menu", "X", False, {"menu": "OFF"}),
    ("faceblur.box_faces", "B", False, {}),
    ("faceblur.face_menu", "RIGHTMOUSE", False, {"menu": "FACE"}),
    ("faceblur.add", "LEFTMOUSE", True, {"kind": "FACE", "at_mouse": True}),
    ("faceblur.release_face", "LEFTMOUSE", False, {}),
)
"""Operator, key or button, whether with Ctrl, and options, for the face under the mouse in the preview; transforms also
act on the face that was chosen. Else the operators leave the event to Blender, which uses the same keys for strips."""

_KEYMAPS = ("Sequencer", "Preview")

_SELECT_TOOLS = ("Preview Tool: Tweak", "Preview Tool: Tweak (fallback)")
"""Keymaps of tools that select with a press, which the keymap of the preview then does not get."""


@dataclass(slots=True)
class _AddedKeys:
    """The shortcuts that we added to Blender's keymaps; removed when the extension is disabled."""

    items: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = field(default_factory=list)


_KEYS_ADDED = _AddedKeys()


def register() -> None:
    keyconfig = bpy.context.window_manager.keyconfigs.addon
    if keyconfig is None:
        # Blender has no keymaps in background mode.
        return
    for name in _KEYMAPS:
        keymap = keyconfig.keymaps.new(name=name, space_type="SEQUENCE_EDITOR")
        for operator, key, options in KEYS:
            item = keymap.keymap_items.new(operator, key, "PRESS", shift=True, ctrl=True, alt=True)
            for option, value in options.items():
                setattr(item.properties, option, value)
            _KEYS_ADDED.items.append((keymap, item))
    preview = keyconfig.keymaps.new(name="Preview", space_type="SEQUENCE_EDITOR")
    for operator, key, ctrl, choices in MOUSE_KEYS:
        item = preview.keymap_items.new(operator, key, "PRESS", ctrl=ctrl)
        for option, choice in choices.items():
            setattr(item.properties, option, choice)
        _KEYS_ADDED.items.append((preview, item))
    for name in _SELECT_TOOLS:
        keymap = keyconfig.keymaps.new(name=name, space_type="SEQUENCE_EDITOR")
        _KEYS_ADDED.items.append((keymap, keymap.keymap_items.new("faceblur.release_face", "LEFTMOUSE", "PRESS")))


def unregister() -> None:
    for keymap, item in _KEYS_ADDED.items:
        keymap.keymap_items.remove(item)
    _KEYS_ADDED.items.clear()
