# SPDX-License-Identifier: GPL-3.0-or-later
"""The "Face Blur" tab in the sidebar of sequencer and preview."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import bpy

from ...progress import count, describe_time
from ..compositing import MARK
from ..context import find_sequencer_scene
from ..cover import find_mask, read_effect
from ..faces import describe_origin, is_face, list_faces, read_face
from ..footage import find_rate, find_source_frame
from ..operators.selection import find_active_footage
from ..running import STATE, describe_step
from ..settings import read_effect_settings
from ..strips import find_modifier


class FACEBLUR_UL_faces(bpy.types.UIList):
    """Layers of a mask, without the one that shows the picture."""

    def draw_item(self, context: bpy.types.Context, layout: bpy.types.UILayout, data: bpy.types.Mask,
                  item: bpy.types.MaskLayer, icon: int, active_data: object, active_property: str) -> None:
        face = read_face(data, item.name)
        row = layout.row(align=True)
        # Blender itself goes one icon back, to the empty box, where the property is true.
        row.prop(item, "hide_render", text="", icon="CHECKBOX_HLT", emboss=False)
        row.prop(item, "name", text="", emboss=False)
        scene = find_sequencer_scene(context)
        right = row.row(align=True)
        right.alignment = "RIGHT"
        right.label(text=_describe_duration(face.frames / find_rate(scene)) if face.spans else "by hand")
        right.operator("faceblur.go_to_face", text="", icon="FRAME_NEXT", emboss=False).layer = item.name

    def filter_items(self, context: bpy.types.Context, data: bpy.types.Mask, name: str) -> tuple[list[int], list[int]]:
        shown = self.bitflag_filter_item
        wanted = self.filter_name.lower()
        return [shown if is_face(data, layer.name) and wanted in layer.name.lower() else 0
                for layer in data.layers], []


class _Tab:
    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Face Blur"


class FACEBLUR_PT_main(_Tab, bpy.types.Panel):
    bl_label = "Face Blur"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        scene = find_sequencer_scene(context)
        if scene is None:
            layout.label(text="Add a film to the sequencer", icon="INFO")
            return
        settings = scene.faceblur
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.enabled = not STATE.active
        column.prop(settings, "preset")
        column.prop(settings, "expansion")
        row = layout.row()
        row.scale_y = 1.4
        if STATE.active:
            # In the button's place, so that a double click on it does nothing.
            step = STATE.step
            row.progress(factor=step.share if step is not None else 0.0,
                         text=f"{100 * step.share:.0f} %" if step is not None else "Starting")
            _write(layout, context, describe_step(step))
            layout.operator("faceblur.cancel", icon="X")
            return
        row.operator("faceblur.detect", icon="VIEWZOOM")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "effect")
        if settings.effect == "solid":
            column.prop(settings, "color")
        else:
            column.prop(settings, "samples_across")
        strip = find_active_footage(context)
        covered = strip is not None and find_modifier(strip) is not None
        row = layout.row(align=True)
        row.operator("faceblur.apply", text="Update" if covered else "Apply", icon="FILE_REFRESH" if covered else "ADD")
        row.operator("faceblur.remove", icon="TRASH")


class FACEBLUR_PT_faces(_Tab, bpy.types.Panel):
    bl_label = "Faces"
    bl_parent_id = "FACEBLUR_PT_main"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return find_active_footage(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        scene, strip = find_sequencer_scene(context), find_active_footage(context)
        for text in _find_faults(scene, strip):
            _write(layout, context, text, "ERROR")
        mask = find_mask(strip)
        if mask is None:
            return
        row = layout.row()
        row.template_list("FACEBLUR_UL_faces", "", mask, "layers", mask, "active_layer_index", rows=3)
        side = row.column(align=True)
        for action, icon in (("ON", "CHECKBOX_HLT"), ("OFF", "CHECKBOX_DEHLT"), ("INVERT", "ARROW_LEFTRIGHT")):
            side.operator("faceblur.switch_faces", text="", icon=icon).action = action
        faces = list_faces(mask)
        off = sum(mask.layers[face.name].hide_render for face in faces)
        layout.label(text=count(len(faces), "face") + (f", {off} switched off: they show" if off else ""),
                     icon="ERROR" if off else "NONE")
        if mask[MARK]["doubts"]:
            _write(layout, context, f"{count(mask[MARK]['doubts'], 'doubtful place')} left uncovered. The preset "
                   "Thorough covers them", "QUESTION")
        active = mask.layers.active
        if active is not None and is_face(mask, active.name):
            face = read_face(mask, active.name)
            box = layout.box().column(align=True)
            box.label(text=active.name)
            if face.spans:
                parts = f" in {len(face.spans)} parts" if len(face.spans) > 1 else ""
                box.label(text=f"Source frames {face.spans[0][0]} to {face.spans[-1][1] - 1}{parts}")
            _write(box, context, describe_origin(face))
        frame = find_source_frame(strip, scene.frame_current, mask.frame_end - mask.frame_start)
        if frame is not None and mask.frame_start + frame != scene.frame_current:
            _write(layout, context, f"In the Mask editor this picture is frame {mask.frame_start + frame}", "INFO")
        if STATE.provider:
            layout.label(text=f"Detectors ran on: {STATE.provider}")


class FACEBLUR_PT_messages(_Tab, bpy.types.Panel):
    """What failed and why, and what the editor must know about a source."""

    bl_label = "Messages"
    bl_parent_id = "FACEBLUR_PT_main"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(_list_notes(context)) or bool(STATE.problems)

    def draw(self, context: bpy.types.Context) -> None:
        for problem in STATE.problems:
            _write(self.layout, context, problem, "ERROR")
        for note in _list_notes(context):
            _write(self.layout, context, note, "INFO")


def _find_faults(scene: bpy.types.Scene, strip: bpy.types.Strip) -> list[str]:
    """Why faces of a strip may show, as far as a look at it tells."""
    modifier = find_modifier(strip)
    if modifier is None:
        return ["This strip is not covered: its faces show"]
    faults = []
    if modifier.mute or not modifier.enable:
        faults.append("The modifier is switched off: faces show. Update switches it on")
    if find_mask(strip) is None:
        faults.append("The mask is lost: the whole picture is covered. Update brings it back")
    if read_effect(strip) != read_effect_settings(scene):
        faults.append("These settings are not applied yet")
    return faults


def _list_notes(context: bpy.types.Context) -> list[str]:
    mask = find_mask(find_active_footage(context))
    notes = list(mask[MARK]["notes"]) if mask is not None else []
    return list(dict.fromkeys([*notes, *STATE.notes]))


def _describe_duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else describe_time(seconds)


def _write(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """Text in as many lines as the sidebar's width asks for."""
    width = (context.region.width if context.region is not None else 300) / context.preferences.system.ui_scale
    column = layout.column(align=True)
    for number, line in enumerate(_wrap(text, max(int(width / 7.5) - 4, 16))):
        column.label(text=line, icon=icon if number == 0 else ("BLANK1" if icon != "NONE" else "NONE"))


def _wrap(text: str, width: int) -> Iterable[str]:
    return textwrap.wrap(text, width) or [""]
