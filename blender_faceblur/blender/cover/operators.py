# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply changed settings to covered strips, and remove covers."""

from __future__ import annotations

import bpy

from ...core.translation import count, translate
from ...core.types import FaceBlurError
from ..common.context import get_sequencer_scene, refresh_shown_sequencers
from ..common.footage import get_footage
from ..common.jobs import JOB
from ..common.selection import is_busy, list_selected, list_selected_covered, refuse
from ..masks.document import load_document
from ..masks.record import DamagedRecordError
from .covering import find_lost_mask, find_mask_of_footage, put_cover, uncover
from .properties import read_effect_settings
from .strips import cover_together, get_mask, sync_mask_strips


class FACEBLUR_OT_apply(bpy.types.Operator):
    """Cover the selected strips with these settings and repair their covers. Their faces must have been detected"""

    bl_idname = "faceblur.apply"
    bl_label = "Update"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        return bool(list_selected(context)) or refuse(cls, "Select a movie or image strip")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        effect = read_effect_settings(scene)
        problems, done = [], []
        selected = list_selected(context)
        with cover_together(scene) as batch:
            for strip in selected:
                try:
                    mask = get_mask(strip) or find_lost_mask(strip) or find_mask_of_footage(get_footage(strip))
                    if mask is None:
                        raise FaceBlurError(
                            translate(
                                "'{name}': its faces have not been detected yet. Use Detect Faces.", name=strip.name
                            )
                        )
                    put_cover(scene, strip, mask, effect, load_document(mask), batch)
                    done.append(strip.name)
                except FaceBlurError as error:
                    problems.append(str(error))
                except DamagedRecordError as error:
                    problems.append(
                        translate("'{name}': {error}. Detect its faces again.", name=strip.name, error=error)
                    )
        problems += sync_mask_strips(scene)
        # Strips whose mask cannot have their speed are among the problems.
        done = [name for name in done if get_mask(scene.sequence_editor.strips_all[name]) is not None]
        JOB.problems = problems
        for problem in problems:
            self.report({"ERROR"}, problem)
        if not bpy.app.background:
            refresh_shown_sequencers()
        if not done:
            return {"CANCELLED"}
        self.report({"INFO"}, translate("{strips} covered with these settings", strips=count(len(done), "strip")))
        return {"FINISHED"}


class FACEBLUR_OT_remove(bpy.types.Operator):
    """Remove the cover from the selected strips, so that their faces show. Deletes masks that no other strip uses"""

    bl_idname = "faceblur.remove"
    bl_label = "Remove"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if is_busy(cls):
            return False
        return bool(list_selected_covered(context)) or refuse(cls, "Select a strip that is covered")

    def execute(self, context: bpy.types.Context) -> set[str]:
        scene = get_sequencer_scene(context)
        covered = list_selected_covered(context)
        uncover(scene, *covered)
        if not bpy.app.background:
            refresh_shown_sequencers()
        self.report(
            {"WARNING"}, translate("{strips} no longer covered: faces show", strips=count(len(covered), "strip"))
        )
        return {"FINISHED"}
