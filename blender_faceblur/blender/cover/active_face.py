# SPDX-License-Identifier: GPL-3.0-or-later
"""The face that an editor works on: the active strip's, at the playhead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from ...core.types import FaceBlurError
from ..common.context import find_sequencer_scene
from ..common.footage import find_source_frame
from ..common.selection import find_active_footage, is_busy, refuse
from ..masks.changes import take_in
from ..masks.faces import is_face, read_face
from ..masks.record import MaskRecord
from .covering import find_mask


@dataclass(frozen=True, slots=True)
class Target:
    """The face that an editor works on: its mask, its track's name, and the source frame at the playhead."""

    scene: Any
    strip: Any
    mask: Any
    track: str
    source_frame: int

    @property
    def rate(self) -> float:
        return float(self.scene.render.fps / self.scene.render.fps_base)


def find_target(context: bpy.types.Context, with_face: bool = True, settled: bool = True) -> Target:
    """What the active strip, its active face and the playhead say. Raises FaceBlurError with what is missing.

    What was changed by other tools is taken in first, faces that were renamed too, unless it need not be `settled`.
    """
    strip = find_active_footage(context)
    mask = find_mask(strip)
    if mask is None:
        raise FaceBlurError("Select a strip that is covered")
    scene = find_sequencer_scene(context)
    frame = find_source_frame(strip, scene.frame_current, mask.frame_end - mask.frame_start)
    if frame is None:
        raise FaceBlurError("The playhead is not on the strip")
    if settled:
        take_in(mask)
    layer = mask.layers.active
    record = MaskRecord.load(mask)
    if layer is None or not is_face(record, layer.name) or layer.name not in record.layers:
        if with_face:
            raise FaceBlurError("Choose a face in the list")
        return Target(scene, strip, mask, "", frame)
    return Target(scene, strip, mask, read_face(record, layer.name).track, frame)


def has_target(operator: Any, context: bpy.types.Context, with_face: bool = True) -> bool:
    """For `poll`: whether `find_target` finds something to work on; says what is missing."""
    if is_busy(operator):
        return False
    try:
        find_target(context, with_face, settled=False)
    except FaceBlurError as error:
        return refuse(operator, str(error))
    return True
