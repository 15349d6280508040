# SPDX-License-Identifier: GPL-3.0-or-later
"""The effect settings of a scene."""

from __future__ import annotations

import bpy

from ...core.cover.effects import EffectSettings


def read_effect_settings(scene: bpy.types.Scene) -> EffectSettings:
    settings = scene.faceblur
    color = "".join(f"{round(channel * 255):02X}" for channel in settings.color)
    image = settings.image.name if settings.image is not None else ""
    return EffectSettings(settings.effect, color, round(settings.samples_across, 3), image, settings.inverse)
