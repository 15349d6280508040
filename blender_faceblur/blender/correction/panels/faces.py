# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of a strip's faces."""

from __future__ import annotations

import math

import bpy

from ....core.translation import count, translate
from ....reporting.progress import describe_time
from ...common.context import get_sequencer_scene
from ...common.footage import get_frame_rate
from ...common.marks import BAKED, get_modifier
from ...common.panels import Tab, draw_picture, draw_tall_list, write_lines
from ...common.selection import get_active_footage
from ...cover.covering import has_foreign_mask, has_unanalysed, lost_mask_to_speed
from ...cover.strips import get_mask
from ...masks.faces import is_face, list_faces, read_face
from ...masks.overlay_cache import get_cached
from ...masks.record import MaskRecord
from ...thumbnails.store import get_icon


class FACEBLUR_UL_faces(bpy.types.UIList):
    """The layers of a mask, without the one that shows the picture."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: bpy.types.Mask,
        item: bpy.types.MaskLayer,
        icon: int,
        active_data: object,
        active_property: str,
    ) -> None:
        face = read_face(MaskRecord.load(data), item.name)
        row = layout.row(align=True)
        # If the property is true, Blender shows the preceding icon, which is the empty box.
        row.prop(item, "hide_render", text="", icon="CHECKBOX_HLT", emboss=False)
        draw_picture(row, get_icon(data, face.track) if face.track else 0, "USER")
        row.prop(item, "name", text="", emboss=False)
        scene = get_sequencer_scene(context)
        right = row.row(align=True)
        right.alignment = "RIGHT"
        known = get_cached(data)
        if known.overview is not None and face.track:
            if any(item.track == face.track for item in known.overview.review_items):
                right.label(text="", icon="QUESTION")
            track_overview = known.overview.tracks.get(face.track)
            if track_overview is not None and track_overview.locked:
                right.label(text="", icon="LOCKED")
        right.label(
            text=_describe_duration(face.frames / get_frame_rate(scene))
            if face.spans
            else ("off" if face.track else "by hand")
        )
        first = right.operator("faceblur.go_to_face", text="", icon="REW", emboss=False)
        first.layer, first.clearest = item.name, False
        clearest = right.operator("faceblur.go_to_face", text="", icon="VIEWZOOM", emboss=False)
        clearest.layer, clearest.clearest = item.name, True

    def filter_items(self, context: bpy.types.Context, data: bpy.types.Mask, name: str) -> tuple[list[int], list[int]]:
        shown, settings = self.bitflag_filter_item, get_sequencer_scene(context).faceblur
        wanted = self.filter_name.lower()
        layers, record = list(data.layers), MaskRecord.load(data)
        counts = _count_review_items(data)
        flags = [
            shown
            if is_face(record, layer.name)
            and wanted in layer.name.lower()
            and _is_wanted(record, layer, settings.list_filter, counts)
            else 0
            for layer in layers
        ]
        keys = [(index, _compute_rank(record, layer, settings.list_sort, counts)) for index, layer in enumerate(layers)]
        return flags, bpy.types.UI_UL_list.sort_items_helper(keys, lambda pair: pair[1])


def _count_review_items(mask: bpy.types.Mask) -> dict[str, int]:
    """The number of items to review, by track."""
    overview = get_cached(mask).overview
    counts: dict[str, int] = {}
    for item in overview.review_items if overview is not None else ():
        counts[item.track] = counts.get(item.track, 0) + 1
    return counts


def _is_wanted(record: MaskRecord, layer: bpy.types.MaskLayer, wanted: str, counts: dict[str, int]) -> bool:
    face = read_face(record, layer.name)
    if wanted == "OFF":
        return bool(layer.hide_render)
    if wanted == "DOUBTFUL":
        return face.track in counts
    if wanted == "LOCKED":
        known = record.layers.get(layer.name)
        return known is not None and bool(known.locked)
    return True


def _compute_rank(record: MaskRecord, layer: bpy.types.MaskLayer, by: str, counts: dict[str, int]) -> tuple[float, str]:
    face = read_face(record, layer.name)
    if by == "DOUBT":
        return -counts.get(face.track, 0), layer.name
    if by == "SIZE":
        return -face.size, layer.name
    if by == "TIME":
        return (face.spans[0][0] if face.spans else math.inf), layer.name
    return 0.0, layer.name


class FACEBLUR_PT_faces(Tab, bpy.types.Panel):
    bl_label = "Faces"
    bl_parent_id = "FACEBLUR_PT_main"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        strip = get_active_footage(context)
        return strip is not None and (BAKED in strip or get_modifier(strip) is not None or get_mask(strip) is not None)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        scene, strip = get_sequencer_scene(context), get_active_footage(context)
        if BAKED in strip:
            write_lines(
                layout, context, "This strip is baked. Unbake it to change its covers, then bake it again.", "LOCKED"
            )
            layout.operator("faceblur.unbake", icon="LOOP_BACK")
            return
        for text in _list_faults(scene, strip):
            write_lines(layout, context, text, "ERROR")
        mask = get_mask(strip)
        if mask is None:
            return
        row = layout.row()
        draw_tall_list(row, "FACEBLUR_UL_faces", mask, "layers", "active_row", 4, scene.faceblur)
        side = row.column(align=True)
        side.operator("faceblur.make_thumbnails", text="", icon="IMAGE_DATA")
        side.prop(scene.faceblur, "list_sort", text="", icon_only=True)
        side.prop(scene.faceblur, "list_filter", text="", icon_only=True)
        for action, icon in (("ON", "CHECKBOX_HLT"), ("OFF", "CHECKBOX_DEHLT"), ("INVERT", "ARROW_LEFTRIGHT")):
            side.operator("faceblur.switch_faces", text="", icon=icon).action = action
        faces = list_faces(mask)
        off = sum(mask.layers[face.name].hide_render for face in faces)
        row = layout.row()
        row.label(
            text=count(len(faces), "face") + (translate(", {off} off", off=off) if off else ""),
            icon="ERROR" if off else "NONE",
        )
        row.operator("faceblur.decide_on_faces", icon="IMGDISPLAY")


def _list_faults(scene: bpy.types.Scene, strip: bpy.types.Strip) -> list[str]:
    """What to do about a cover that does not work, as far as a quick check can tell; the line above names its state."""
    modifier = get_modifier(strip)
    if modifier is None:
        return []
    faults = []
    if modifier.mute or not modifier.enable:
        faults.append("The modifier is switched off: faces show. Use Update to switch it on")
    if has_foreign_mask(strip):
        faults.append("The mask is gone: faces show. Use Check, then Repair")
    elif get_mask(strip) is None:
        if lost_mask_to_speed(strip):
            faults.append(
                "The mask cannot have this strip's speed: the whole picture is covered. Give all that it shows one "
                "constant speed, then use Update"
            )
        else:
            faults.append("The mask is lost: the whole picture is covered. Use Update to restore it")
    elif has_unanalysed(strip, get_mask(strip)):
        faults.append("Some frames were not analysed and are covered completely. Use Detect Faces again")
    return faults


def _describe_duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else describe_time(seconds)
