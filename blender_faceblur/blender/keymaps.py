# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of the sequencer and its preview."""

from __future__ import annotations

from dataclasses import dataclass, field

import bpy

KEYS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("faceblur.detect", "D", {}),
    ("faceblur.apply", "A", {}),
    ("wm.call_menu_pie", "F", {"name": "FACEBLUR_MT_pie"}),
    ("faceblur.follow", "T", {"direction": "BOTH"}),
    ("faceblur.add", "B", {"kind": "FACE"}),
    ("faceblur.review_next", "N", {}),
    ("faceblur.review_previous", "P", {}),
    ("faceblur.review_fine", "I", {}),
    ("faceblur.review_off", "O", {}),
    ("faceblur.review_cover", "Y", {}),
    ("faceblur.review_fix", "X", {}),
)
"""Each with Shift, Ctrl and Alt together, which Blender's own keymaps leave free in the sequencer."""

_KEYMAPS = ("Sequencer", "Preview")


@dataclass(slots=True)
class _AddedKeys:
    """The shortcuts that are in Blender's keymaps because of us: added and taken out with the extension."""

    items: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = field(default_factory=list)


_KEYS_ADDED = _AddedKeys()


def register() -> None:
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


def unregister() -> None:
    for keymap, item in _KEYS_ADDED.items:
        keymap.keymap_items.remove(item)
    _KEYS_ADDED.items.clear()
