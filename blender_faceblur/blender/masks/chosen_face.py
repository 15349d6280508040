# SPDX-License-Identifier: GPL-3.0-or-later
"""The face that an editor has chosen, on which the keys G, S and R act wherever the mouse is.

A mask always has an active layer, so the active face alone does not say that anybody has chosen it.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
from bpy.app.handlers import persistent


@dataclass(slots=True)
class ChosenFace:
    """Names, because an undo may replace Blender's objects; empty if no face is chosen. One per process, not saved."""

    scene: str = ""
    strip: str = ""
    mask: str = ""
    layer: str = ""
    row: tuple[int, int] = (0, 0)
    """The layer's place and the number of layers, by which it is known after an editor has renamed it."""


_CHOSEN = ChosenFace()


def mark_chosen(strip: bpy.types.Strip, mask: bpy.types.Mask) -> None:
    """Keep that an editor has chosen the active layer of a strip's mask."""
    layer = mask.layers.active
    _CHOSEN.scene, _CHOSEN.strip, _CHOSEN.mask = strip.id_data.name, strip.name, mask.name
    _CHOSEN.layer = layer.name if layer is not None else ""
    _CHOSEN.row = _get_row(mask)


def forget_chosen(mask: bpy.types.Mask | None = None) -> None:
    """No face is chosen any more; with a mask, only if the chosen one is in it."""
    if mask is None or mask.name == _CHOSEN.mask:
        _CHOSEN.scene = _CHOSEN.strip = _CHOSEN.mask = _CHOSEN.layer = ""


def get_chosen_layer(strip: bpy.types.Strip | None, mask: bpy.types.Mask | None) -> str:
    """The name of the active layer of a strip's mask, if an editor has chosen it; else empty."""
    if strip is None or mask is None or mask.layers.active is None:
        return ""
    name = str(mask.layers.active.name)
    if mask.name == _CHOSEN.mask and _CHOSEN.layer not in mask.layers and _CHOSEN.row == _get_row(mask):
        _CHOSEN.layer = name
    chosen = _CHOSEN.scene, _CHOSEN.strip, _CHOSEN.mask, _CHOSEN.layer
    return name if chosen == (strip.id_data.name, strip.name, mask.name, name) else ""


def _get_row(mask: bpy.types.Mask) -> tuple[int, int]:
    return int(mask.active_layer_index), len(mask.layers)


def register_handlers() -> None:
    bpy.app.handlers.load_post.append(_forget_project)


def unregister_handlers() -> None:
    bpy.app.handlers.load_post.remove(_forget_project)


@persistent
def _forget_project(*_: object) -> None:
    """Another project may have a strip, a mask and a face of the same names."""
    forget_chosen()
