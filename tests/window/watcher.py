# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes Blender's state to a JSON file many times a second, without taking part in a story.

Passed to Blender by --python; the last two arguments are the file, and the output path of a new project. Positions are
pixels of the screen, counted from its top left.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

ADDON = "bl_ext.user_default.faceblur"
EVERY_S = 0.05

_counts = {"told": 0, "loaded": 0}


def set_up(output: str) -> None:
    """Prepare Blender for a story: one window, since there is no window manager, no prompts, and a film as output."""
    preferences = bpy.context.preferences
    preferences.view.show_splash = False
    preferences.view.use_save_prompt = False
    preferences.view.filebrowser_display_type = "SCREEN"
    preferences.view.preferences_display_type = "SCREEN"
    preferences.view.render_display_type = "NONE"
    preferences.filepaths.use_auto_save_temporary_files = False

    @persistent
    def prepare(_: object, __: object = None) -> None:
        _counts["loaded"] += 1
        if not bpy.data.filepath:
            for scene in bpy.data.scenes:
                _render_to(scene, output)

    bpy.app.handlers.load_post.append(prepare)


def _render_to(scene: bpy.types.Scene, output: str) -> None:
    scene.render.filepath = output
    scene.render.use_file_extension = False
    scene.render.image_settings.media_type = "VIDEO"
    scene.render.ffmpeg.format = "MPEG4"
    scene.render.ffmpeg.codec = "H264"
    scene.render.ffmpeg.constant_rate_factor = "HIGH"
    scene.render.ffmpeg.ffmpeg_preset = "REALTIME"


def describe() -> dict[str, Any]:
    _counts["told"] += 1
    window = bpy.context.window_manager.windows[0]
    scene = getattr(window.workspace, "sequencer_scene", None) or window.scene
    return {
        **_counts,
        "file": bpy.data.filepath,
        "workspace": window.workspace.name,
        "areas": [_describe_area(window, area) for area in window.screen.areas],
        "scene": scene.name,
        "frame": scene.frame_current,
        "range": [scene.frame_start, scene.frame_end],
        "playing": window.screen.is_animation_playing,
        "sync": scene.sync_mode,
        "picture": _get_picture(window, scene),
        "strips": list(_list_strips(window, scene)),
        "masks": [_describe_mask(mask) for mask in bpy.data.masks],
        "groups": sorted(group.name for group in bpy.data.node_groups),
        "texts": sorted(text.name for text in bpy.data.texts),
        "rendering": bpy.app.is_job_running("RENDER"),
        "addon": _describe_addon(scene),
        "people": _describe_people(scene),
    }


def _describe_area(window: bpy.types.Window, area: bpy.types.Area) -> dict[str, Any]:
    space = area.spaces.active
    shown = {region.type: region for region in area.regions if min(region.width, region.height) > 1}
    return {
        "type": area.type,
        "view": getattr(space, "view_type", getattr(space, "mode", "")),
        "box": _to_box(window, area),
        "regions": {kind: _to_box(window, region) for kind, region in shown.items()},
        "tab": shown["UI"].active_panel_category if "UI" in shown else "",
        "mask": space.mask.name if area.type == "IMAGE_EDITOR" and space.mask else "",
    }


def _to_box(window: bpy.types.Window, part: Any) -> list[int]:
    """Left, top, width, height."""
    return [part.x, window.height - part.y - part.height, part.width, part.height]


def _get_region(window: bpy.types.Window, view: str, kind: str) -> Any:
    return next(
        (
            region
            for area in window.screen.areas
            if area.type == "SEQUENCE_EDITOR" and area.spaces.active.view_type == view
            for region in area.regions
            if region.type == kind
        ),
        None,
    )


def _to_screen(window: bpy.types.Window, region: Any, x: float, y: float) -> tuple[int, int]:
    x, y = region.view2d.view_to_region(x, y, clip=False)
    return round(region.x + x), round(window.height - region.y - y)


def _get_picture(window: bpy.types.Window, scene: bpy.types.Scene) -> list[int] | None:
    """The box of the canvas in the preview."""
    region = _get_region(window, "PREVIEW", "PREVIEW")
    if region is None:
        return None
    half = [scene.render.resolution_x / 2, scene.render.resolution_y / 2]
    left, top = _to_screen(window, region, -half[0], half[1])
    right, bottom = _to_screen(window, region, half[0], -half[1])
    return [left, top, right - left, bottom - top]


def _list_strips(window: bpy.types.Window, scene: bpy.types.Scene) -> Iterator[dict[str, Any]]:
    editor = scene.sequence_editor
    timeline = _get_region(window, "SEQUENCER", "WINDOW")
    if editor is None or timeline is None:
        return
    for strip in editor.strips_all:
        first, last = strip.left_handle, strip.right_handle
        left, top = _to_screen(window, timeline, first, strip.channel + 0.9)
        right, bottom = _to_screen(window, timeline, last, strip.channel + 0.1)
        yield {
            "name": strip.name,
            "type": strip.type,
            "file": bpy.path.abspath(getattr(strip, "filepath", "")),
            "frames": [first, last],
            "box": [left, top, right - left, bottom - top],
            "selected": strip.select,
            "active": strip == editor.active_strip,
            "connections": [other.name for other in strip.connections],
            "offset": strip.transform.offset_x if strip.type == "MOVIE" else 0.0,
            "modifiers": [modifier.name for modifier in getattr(strip, "modifiers", ())],
        }


def _describe_mask(mask: bpy.types.Mask) -> dict[str, Any]:
    faces = mask["faceblur"]["faces"] if "faceblur" in mask else {}
    reported = {
        layer: {"spans": list(face["spans"]), "locked": list(face["locked"]), "evidence": list(face["evidence"])}
        for layer, face in faces.items()
    }
    active = mask.layers.active
    left = mask["faceblur"].get("doubts", 0) if "faceblur" in mask else 0
    name = active.name if active is not None else ""
    watched = sys.modules.get(f"{ADDON}.blender.review.watched")
    frames = watched.get_watched(mask) if watched is not None and "faceblur" in mask else None
    return {
        "name": mask.name,
        "faces": reported,
        "left": left,
        "watched": frames.tolist() if frames is not None else [],
        "active": name,
        "layers": [
            {
                "name": layer.name,
                "off": layer.hide_render,
                "invert": layer.invert,
                "blend": layer.blend,
                "alpha": layer.alpha,
                "points": [list(point.co) for spline in layer.splines for point in spline.points],
            }
            for layer in mask.layers
        ],
    }


def _describe_addon(scene: bpy.types.Scene) -> dict[str, Any] | None:
    jobs = sys.modules.get(f"{ADDON}.blender.common.jobs")
    if jobs is None:
        return None
    state = jobs.JOB
    verified = state.verified
    return {
        "active": state.active,
        "in background": state.in_background,
        "all": scene.faceblur.must_be_covered,
        "share": state.step.share if state.step is not None else None,
        "problems": [*state.problems, *map(jobs.describe_blackened, state.blackened)],
        "done": state.done,
        "provider": state.provider,
        "preset": scene.faceblur.preset,
        "effect": scene.faceblur.effect,
        "leaks": verified.leaks if verified is not None else None,
    }


def _describe_people(scene: bpy.types.Scene) -> dict[str, Any] | None:
    if not hasattr(scene, "faceblur"):
        return None
    people = scene.faceblur.people
    return {
        "mode": people.mode,
        "active": people.active_person,
        "sheet": people.show_sheet,
        "persons": [
            {
                "name": person.name,
                "chosen": person.chosen,
                "references": len(person.references.split(",")) if person.references else 0,
                "faces": [[face.track, face.by] for face in people.faces if face.person == person.uid],
            }
            for person in people.persons
        ],
    }


def _hide_paths() -> None:
    """Show no path of the test machine on strips: the photographs are pictures of the guide."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "SEQUENCE_EDITOR" and area.spaces.active.timeline_overlay.show_strip_source:
                area.spaces.active.timeline_overlay.show_strip_source = False


def _write_state(path: Path) -> float:
    _hide_paths()
    part = path.with_suffix(".part")
    part.write_text(json.dumps(describe()), encoding="utf-8")
    part.replace(path)
    return EVERY_S


if __name__ == "__main__":
    set_up(sys.argv[-1])
    report = Path(sys.argv[-2])
    bpy.app.timers.register(lambda: _write_state(report), first_interval=EVERY_S, persistent=True)
