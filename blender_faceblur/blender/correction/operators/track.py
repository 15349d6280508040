# SPDX-License-Identifier: GPL-3.0-or-later
"""Track the active face from its keys, through its shot or by one frame."""

from __future__ import annotations

import bpy
from bpy.props import EnumProperty

from ....core.translation import translate
from ....core.types import Sample
from ...common.context import get_sequencer_scene, refresh_shown_sequencers
from ...common.footage import find_timeline_frame
from ...common.job_operator import JobOperator, JobSteps
from ...common.selection import get_active_footage
from ...cover.active_face import get_target, has_target
from ...cover.strips import get_mask
from ..tracking import TrackingStart, apply_tracked, run_tracking, start_track

DIRECTIONS = [
    ("BOTH", "Both Ways", "From the locked keys through the whole shot"),
    ("FORWARD", "Forwards", "Forwards from the playhead"),
    ("BACKWARD", "Backwards", "Backwards from the playhead"),
]


class _TrackFace(JobOperator):
    cancelled = "Tracking cancelled; nothing was changed"

    direction: EnumProperty(name="Direction", items=DIRECTIONS)

    _place: TrackingStart | None = None
    longest = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return has_target(cls, context)

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        target = get_target(context)
        self._place = start_track(
            target.scene, target.strip, target.mask, target.track, target.source_frame, self.direction, self.longest
        )
        return run_tracking(self._place, wait_s)

    def finish(self, context: bpy.types.Context, result: list[Sample]) -> tuple[str, list[str]]:
        assert self._place is not None
        message = apply_tracked(self._place, result)
        if not bpy.app.background:
            refresh_shown_sequencers()
        return message, []


class FACEBLUR_OT_follow(_TrackFace, bpy.types.Operator):
    """Track the active face from its locked keys in both directions, until it is lost or the shot ends. ESC cancels"""

    bl_idname = "faceblur.follow"
    bl_label = "Track"


class FACEBLUR_OT_follow_step(_TrackFace, bpy.types.Operator):
    """Track the active face to the next or previous frame and go there"""

    bl_idname = "faceblur.follow_step"
    bl_label = "Track One Frame"
    longest = 1

    def begin(self, context: bpy.types.Context, wait_s: float | None) -> JobSteps:
        if self.direction == "BOTH":
            self.direction = "FORWARD"
        return super().begin(context, wait_s)

    def finish(self, context: bpy.types.Context, result: list[Sample]) -> tuple[str, list[str]]:
        assert self._place is not None
        if not result:
            return "", [
                translate(
                    "'{track}' cannot be tracked any farther. Place it by hand in the next frame.",
                    track=self._place.track,
                )
            ]
        outcome = super().finish(context, result)
        strip = get_active_footage(context)
        mask = get_mask(strip)
        frame = result[0].source_frame
        shown = find_timeline_frame(strip, [(frame, frame + 1)], mask.frame_end - mask.frame_start) if mask else None
        if shown is not None:
            get_sequencer_scene(context).frame_set(shown)
        return outcome


CLASSES = (FACEBLUR_OT_follow, FACEBLUR_OT_follow_step)
