# SPDX-License-Identifier: GPL-3.0-or-later
"""The face that an editor works on: the active face of the active strip, at the playhead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from ...core.types import FaceBlurError
from ..common.context import get_sequencer_scene
from ..common.footage import compute_source_frame
from ..common.marks import BAKED
from ..common.selection import get_active_footage, is_busy, refuse
from ..masks.changes import sync_from_blender
from ..masks.faces import is_face, read_face
from ..masks.record import MaskRecord
from .strips import get_mask


@dataclass(frozen=True, slots=True)
class FaceTarget:
    """The face that an editor works on: its mask, its track's name, and the source frame at the playhead."""

    scene: Any
    strip: Any
    mask: Any
    track: str
    source_frame: int

    @property
    def rate(self) -> float:
        return float(self.scene.render.fps / self.scene.render.fps_base)


def get_target(context: bpy.types.Context, with_face: bool = True, settled: bool = True) -> FaceTarget:
    """The active face of the active strip, at the playhead. Raises FaceBlurError that names what is missing.

    Unless `settled` is False, changes by Blender's own tools are read first, including renamed faces.
    """
    strip = get_active_footage(context)
    if strip is not None and BAKED in strip:
        raise FaceBlurError("This strip is baked. Unbake it to change its covers")
    mask = get_mask(strip)
    if mask is None:
        raise FaceBlurError("Select a strip that is covered")
    scene = get_sequencer_scene(context)
    frame = compute_source_frame(strip, scene.frame_current, mask.frame_end - mask.frame_start)
    if frame is None:
        raise FaceBlurError("The playhead is not on the strip")
    if settled:
        sync_from_blender(mask)
    layer = mask.layers.active
    record = MaskRecord.load(mask)
    if layer is None or not is_face(record, layer.name) or layer.name not in record.layers:
        if with_face:
            raise FaceBlurError("Choose a face in the list")
        return FaceTarget(scene, strip, mask, "", frame)
    return FaceTarget(scene, strip, mask, read_face(record, layer.name).track, frame)


def has_target(operator: Any, context: bpy.types.Context, with_face: bool = True) -> bool:
    """For `poll`: whether `get_target` returns a face; otherwise sets the poll message."""
    if is_busy(operator):
        return False
    try:
        get_target(context, with_face, settled=False)
    except FaceBlurError as error:
        return refuse(operator, str(error))
    return True
