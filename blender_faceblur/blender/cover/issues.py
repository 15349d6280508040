# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what makes a cover miss its faces: modifiers that move the picture, and speeds that the mask does not share.

Blender reads footage and Mask strip at the same time only at whole frames. Between frames it rounds up for the film and
down for the mask (5.0.1, 5.2.2). So at half speed, every second picture has the cover of the one before, and the first
picture of a face has none. A pair that is itself retimed is not affected, because its mask moves between frames too.
"""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from ..common.curves import list_curves
from .strips import list_moving_modifiers

_SPEED_PROPERTIES = ("speed_factor", "speed_frame_number", "speed_length")


def list_cover_issues(scene: bpy.types.Scene, strip: bpy.types.Strip) -> list[tuple[str, bool]]:
    """Sentences that say why a strip's cover can miss faces, each with whether `strips.put_cover_first` fixes it."""
    found = []
    if list_moving_modifiers(strip):
        found.append(("A modifier before its cover can move the picture. Move it behind the cover.", True))
    if _is_animated(scene, strip, "strobe"):
        found.append(("Its strobe is animated, but its mask's strobe cannot be. Remove the animation.", False))
    found += [
        (f"Its cover lags behind: {text}. Give the footage itself that speed.", False)
        for text in _list_odd_speeds(scene, strip)
    ]
    return found


def _is_animated(scene: bpy.types.Scene, strip: bpy.types.Strip, name: str) -> bool:
    path = strip.path_from_id(name)
    drivers = scene.animation_data.drivers if scene.animation_data is not None else ()
    return bool(list_curves(scene, path)) or any(driver.data_path == path for driver in drivers)


def _list_odd_speeds(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Iterator[str]:
    """What shows a strip between its frames: meta strips around it, strips that show its scene, and Speed effects."""
    around = [strip]
    while (meta := around[-1].parent_meta()) is not None:
        around.append(meta)
    for meta in around[1:]:
        start = min((child.frame_final_start for child in meta.strips), default=0)
        stop = max((child.frame_final_end for child in meta.strips), default=0)
        if meta.frame_duration != stop - start or not float(meta.strobe).is_integer():
            yield f"the meta strip '{meta.name}' has another speed"
    reached = {part.name for part in around}
    for effect in sorted(scene.sequence_editor.strips_all, key=lambda other: other.channel):
        inputs = [getattr(effect, name, None) for name in ("input_1", "input_2")]
        if not any(part is not None and part.name in reached for part in inputs):
            continue
        reached.add(effect.name)
        if effect.type == "SPEED" and not _has_whole_speed(scene, effect):
            yield f"the effect '{effect.name}' gives it another speed"
    for other in bpy.data.scenes:
        for shown in other.sequence_editor.strips_all if other.sequence_editor is not None else ():
            if shown.type == "SCENE" and shown.scene == scene and shown.retiming_keys:
                yield f"the strip '{shown.name}' in the scene '{other.name}' has another speed"


def _has_whole_speed(scene: bpy.types.Scene, effect: bpy.types.Strip) -> bool:
    if effect.use_frame_interpolate or any(_is_animated(scene, effect, name) for name in _SPEED_PROPERTIES):
        return False
    if effect.speed_control == "FRAME_NUMBER":
        return float(effect.speed_frame_number).is_integer()
    return effect.speed_control == "MULTIPLY" and float(effect.speed_factor).is_integer()
