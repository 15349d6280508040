# SPDX-License-Identifier: GPL-3.0-or-later
"""The detection settings of a scene."""

from __future__ import annotations

import bpy

from ...core.detection.settings import HEAD_MARGIN
from ...core.tracking.objects import OBJECT_CLASSES
from ..preferences.properties import get_preferences
from .detect import DetectionSettings


def read_detection_settings(scene: bpy.types.Scene) -> DetectionSettings:
    settings, preferences = scene.faceblur, get_preferences()
    margin = max(settings.expansion, HEAD_MARGIN) if settings.whole_head else settings.expansion
    return DetectionSettings(
        settings.preset,
        round(margin, 3),
        preferences.provider if preferences is not None else "auto",
        tuple(one.name for one in OBJECT_CLASSES if getattr(settings, f"find_{one.name}")),
    )
