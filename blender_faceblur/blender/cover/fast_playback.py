# SPDX-License-Identifier: GPL-3.0-or-later
"""Fast playback: while the preview plays, plain shapes drawn over it stand for the covers that Blender would compute.

Blender's compositor takes longer for a frame than the film lasts. While the animation plays, and only then, this
module switches covers off in the preview (not in renders), and `overlay/fast_covers.py` draws a shape over each face.
A standing picture always has the real covers. The setting is that of a session: it is stored in no file, and every
strip whose cover is drawn has a mark, so that undo steps and recovered files get their covers back.

A cover is only drawn where its place is certain; the others are computed as always.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..common.footage import KINDS
from ..common.marks import BAKED, get_modifier
from ..common.speeds import is_speed_unknown
from ..masks.faces import is_face
from ..masks.record import DamagedRecordError, MaskRecord
from .covering import read_effect
from .strips import get_mask

DRAWN = "faceblur_drawn"
"""Custom property of a strip whose cover is drawn, and not computed, while the animation plays."""


@dataclass(slots=True)
class _FastPlayback:
    """The state of fast playback. It lasts as long as the process, and opening a file ends what plays."""

    on: bool = False
    """Whether the editor wants fast playback."""
    playing: bool = False
    """Whether the animation plays with drawn covers."""


_STATE = _FastPlayback()


def is_fast_playback_wanted() -> bool:
    return _STATE.on


def set_fast_playback(on: bool) -> None:
    """Choose fast playback, or the real covers, which then return at once."""
    _STATE.on = on
    if not on:
        end()


def is_playing_fast() -> bool:
    """Whether the animation plays with drawn covers."""
    return _STATE.playing


def is_available() -> bool:
    """Whether this Blender can switch a modifier off in the preview alone (5.2 and later)."""
    return "show_preview" in bpy.types.SequencerCompositorModifierData.bl_rna.properties


def is_drawn(strip: bpy.types.Strip) -> bool:
    """Whether a strip's cover is drawn over the preview at this moment, and not computed."""
    return _STATE.playing and DRAWN in strip


def begin() -> None:
    """Switch the covers off in the preview that are to be drawn over it."""
    _STATE.playing = True
    for scene in _list_scenes():
        moved = MovedStrips.find(scene)
        for strip in scene.sequence_editor.strips_all:
            modifier = get_modifier(strip) if strip.type in KINDS else None
            if modifier is not None and modifier.show_preview and is_drawable(strip, moved):
                strip[DRAWN] = True
                modifier.show_preview = False


def end() -> None:
    """Let Blender compute all covers again."""
    _STATE.playing = False
    for scene in _list_scenes():
        for strip in scene.sequence_editor.strips_all:
            if DRAWN in strip:
                del strip[DRAWN]
                modifier = get_modifier(strip)
                if modifier is not None and hasattr(modifier, "show_preview"):
                    modifier.show_preview = True


@dataclass(frozen=True, slots=True)
class MovedStrips:
    """Which strips of a scene the preview may show elsewhere than they lie, or in another frame."""

    is_every: bool
    inputs: frozenset[str]
    """The names of strips that are inputs of effect strips."""
    adjusted: tuple[tuple[float, float], ...]
    """The frames under adjustment strips, half-open."""

    @classmethod
    def find(cls, scene: bpy.types.Scene) -> MovedStrips:
        others = [strip for strip in scene.sequence_editor.strips_all if strip.type not in KINDS]
        parts = (getattr(other, name, None) for other in others for name in ("input_1", "input_2"))
        return cls(
            scene.sequence_editor.show_overlay_frame
            or any(other is not scene and _shows(other, scene) for other in bpy.data.scenes),
            frozenset(part.name for part in parts if part is not None),
            tuple((other.left_handle, other.right_handle) for other in others if other.type == "ADJUSTMENT"),
        )

    def has(self, strip: bpy.types.Strip) -> bool:
        return (
            self.is_every
            or strip.name in self.inputs
            or strip.parent_meta() is not None
            or any(start < strip.right_handle and strip.left_handle < stop for start, stop in self.adjusted)
        )


def is_drawable(strip: bpy.types.Strip, moved: MovedStrips) -> bool:
    """Whether a drawn shape is sure to lie where the strip's cover is.

    It is not where something else moves the picture, where an editor drew the shape by hand, and where the cover hides
    something other than faces.
    """
    mask, effect = get_mask(strip), read_effect(strip)
    if (
        mask is None
        or effect is None
        or effect.inverse
        or BAKED in strip
        or len(strip.modifiers) != 1
        or is_speed_unknown(strip, mask.frame_end - mask.frame_start)
        or moved.has(strip)
    ):
        return False
    try:
        record = MaskRecord.load(mask)
        written = {name for name, layer in record.layers.items() if not layer.freehand}
    except DamagedRecordError:
        return False
    faces = (layer.name for layer in mask.layers if not layer.hide_render and is_face(record, layer.name))
    return written.issuperset(faces)


def _shows(other: bpy.types.Scene, scene: bpy.types.Scene) -> bool:
    """Whether a scene has a scene strip of another one."""
    strips: Any = other.sequence_editor.strips_all if other.sequence_editor is not None else ()
    return any(strip.type == "SCENE" and strip.scene == scene for strip in strips)


def _list_scenes() -> Iterator[bpy.types.Scene]:
    return (scene for scene in bpy.data.scenes if scene.sequence_editor is not None)


def register_handlers() -> None:
    handlers = bpy.app.handlers
    handlers.animation_playback_pre.append(_begin)
    for ending in _list_ending():
        ending.append(_end)


def unregister_handlers() -> None:
    bpy.app.handlers.animation_playback_pre.remove(_begin)
    for ending in _list_ending():
        ending.remove(_end)
    end()


def _list_ending() -> tuple[list[Any], ...]:
    """The handlers of what ends fast playback: a stop, and whatever writes, renders or changes the project as a whole.

    After undo and opening a file, marks of an earlier playback may be in the project.
    """
    handlers = bpy.app.handlers
    return (
        handlers.animation_playback_post,
        handlers.save_pre,
        handlers.load_post,
        handlers.undo_post,
        handlers.redo_post,
        handlers.render_init,
    )


@persistent
def _begin(*_: object) -> None:
    if _STATE.on and is_available():
        begin()


@persistent
def _end(*_: object) -> None:
    end()
