# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what makes a cover miss its faces: modifiers that move the picture, and speeds that the mask does not share.

Blender reads footage and Mask strip at the same time only at whole frames. Between frames it rounds up for the film and
down for the mask (5.0.1, 5.2.2). So at half speed, every second picture has the cover of the one before, and the first
picture of a face has none. A pair that is itself retimed is not affected, because its mask moves between frames too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy

from ...core.translation import translate
from ..common.curves import list_curves
from .strips import list_moving_modifiers

_SPEED_PROPERTIES = ("speed_factor", "speed_frame_number", "speed_length")


@dataclass(frozen=True, slots=True)
class SpeedSources:
    """What can change the speed of a scene's strips from outside. It is found once for all strips of a scene, and is
    valid until a strip is added or removed."""

    effects: list[bpy.types.Strip]
    """The strips with inputs, from the lowest channel to the highest."""
    shown: list[tuple[bpy.types.Scene, bpy.types.Strip]]
    """The strips that show the scene with speed keys, each with its own scene."""

    @classmethod
    def find(cls, scene: bpy.types.Scene) -> SpeedSources:
        effects = [strip for strip in scene.sequence_editor.strips_all if any(_list_inputs(strip))]
        shown = [
            (other, strip)
            for other in bpy.data.scenes
            for strip in (other.sequence_editor.strips_all if other.sequence_editor is not None else ())
            if strip.type == "SCENE" and strip.scene == scene and strip.retiming_keys
        ]
        return cls(sorted(effects, key=lambda strip: strip.channel), shown)


def _list_inputs(strip: bpy.types.Strip) -> list[bpy.types.Strip]:
    inputs = (getattr(strip, name, None) for name in ("input_1", "input_2"))
    return [part for part in inputs if part is not None]


def list_cover_issues(
    scene: bpy.types.Scene, strip: bpy.types.Strip, sources: SpeedSources | None = None
) -> list[tuple[str, bool]]:
    """Sentences that say why a strip's cover can miss faces, each with whether `strips.put_cover_first` fixes it.

    `sources` are those of the scene, if they are known.
    """
    found = []
    if list_moving_modifiers(strip):
        found.append(("A modifier before its cover can move the picture. Move it behind the cover.", True))
    if _is_animated(scene, strip, "strobe"):
        found.append(("Its strobe is animated, but its mask's strobe cannot be. Remove the animation.", False))
    found += [
        (translate("Its cover lags behind: {text}. Give the footage itself that speed.", text=text), False)
        for text in _list_odd_speeds(scene, strip, sources or SpeedSources.find(scene))
    ]
    return found


def _is_animated(scene: bpy.types.Scene, strip: bpy.types.Strip, name: str) -> bool:
    path = strip.path_from_id(name)
    drivers = scene.animation_data.drivers if scene.animation_data is not None else ()
    return bool(list_curves(scene, path)) or any(driver.data_path == path for driver in drivers)


def _list_odd_speeds(scene: bpy.types.Scene, strip: bpy.types.Strip, sources: SpeedSources) -> Iterator[str]:
    """What shows a strip between its frames: meta strips around it, strips that show its scene, and Speed effects."""
    around = [strip]
    while (meta := around[-1].parent_meta()) is not None:
        around.append(meta)
    for meta in around[1:]:
        start = min((child.frame_final_start for child in meta.strips), default=0)
        stop = max((child.frame_final_end for child in meta.strips), default=0)
        if meta.frame_duration != stop - start or not float(meta.strobe).is_integer():
            yield translate("the meta strip '{name}' has another speed", name=meta.name)
    reached = {part.name for part in around}
    for effect in sources.effects:
        if not any(part.name in reached for part in _list_inputs(effect)):
            continue
        reached.add(effect.name)
        if effect.type == "SPEED" and not _has_whole_speed(scene, effect):
            yield translate("the effect '{name}' gives it another speed", name=effect.name)
    for other, shown in sources.shown:
        yield translate(
            "the strip '{name}' in the scene '{scene}' has another speed", name=shown.name, scene=other.name
        )


def _has_whole_speed(scene: bpy.types.Scene, effect: bpy.types.Strip) -> bool:
    if effect.use_frame_interpolate or any(_is_animated(scene, effect, name) for name in _SPEED_PROPERTIES):
        return False
    if effect.speed_control == "FRAME_NUMBER":
        return float(effect.speed_frame_number).is_integer()
    return effect.speed_control == "MULTIPLY" and float(effect.speed_factor).is_integer()
