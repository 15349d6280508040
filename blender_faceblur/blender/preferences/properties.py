# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: what a new project begins with, where detectors run, what is stored, whose weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, StringProperty

from ...core.detection.settings import DEFAULT_MARGIN, MARGINS, PRESETS
from ...core.people.embeddings_file import forget_embeddings
from ...core.types import FaceBlurError
from ...files.paths import get_model_path, list_models, stored_analyses, stored_embeddings
from ..common.jobs import JOB

ROOT_PACKAGE = __package__.removesuffix(".blender.preferences")

# What the others need does not come along with the extension.
_PRESETS = [preset for preset in PRESETS if not preset.on_request]
PRESET_ITEMS = [(preset.name, preset.name.capitalize(), preset.meaning) for preset in _PRESETS]
EFFECT_ITEMS = [
    ("solid", "Solid", "One colour; nothing of the face remains"),
    ("mosaic", "Mosaic", "Soft blocks, as few as you say. Who has photographs to compare can recognise some"),
    ("blur", "Blur", "Smooth, drawn from as few samples as the mosaic has"),
    ("erase", "Erase", "Filled from what surrounds it; nothing of the face remains"),
    ("gaussian", "Gaussian (weak)", "A soft blur for its look only: it can be sharpened again. Use Blur to protect"),
    ("image", "Image", "A picture of your own over each face, on one colour; nothing of the face remains"),
]
SAMPLES_TEXT = "How many blocks remain across the widest face of a strip. Fewer hide more"
EXPANSION_TEXT = "How much larger than the face the cover is. More covers hair, ears and quick movements"

_COLORS = {
    "detected": ((0.25, 0.85, 0.35, 1.0), "A face where it was detected"),
    "followed": ((0.95, 0.9, 0.25, 1.0), "A face that was followed from where it was detected"),
    "guessed": ((1.0, 0.6, 0.1, 1.0), "A face between or beyond where it was seen"),
    "doubtful": ((1.0, 0.2, 0.15, 1.0), "A doubtful place that nobody has looked at"),
    "locked": ((0.3, 0.65, 1.0, 1.0), "A face that was placed by hand"),
    "off": ((0.65, 0.65, 0.65, 1.0), "A face that is switched off: it shows"),
    "uncovered": ((1.0, 0.1, 0.8, 1.0), "A strip whose faces show, or that was not analysed"),
}
"""Of the drawings over preview and timeline."""


def _color(name: str) -> Any:
    default, description = _COLORS[name]
    return FloatVectorProperty(
        name=name.capitalize(),
        subtype="COLOR_GAMMA",
        size=4,
        min=0.0,
        max=1.0,
        default=default,
        description=description,
    )


def _on_keeping_changed(self: Any, context: bpy.types.Context | None) -> None:
    if not self.keep_looks:
        try:
            forget_embeddings(stored_embeddings())
        except FaceBlurError as error:
            # What is raised here is only printed.
            JOB.problems = [str(error)]


class FACEBLUR_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = ROOT_PACKAGE

    preset: EnumProperty(
        name="Preset", items=PRESET_ITEMS, default="balanced", description="How carefully new projects look for faces"
    )
    effect: EnumProperty(
        name="Effect", items=EFFECT_ITEMS, default="solid", description="What covers the faces of new projects"
    )
    samples_across: FloatProperty(name="Samples per Face", default=6.0, min=2.0, max=16.0, description=SAMPLES_TEXT)
    expansion: FloatProperty(
        name="Size", default=DEFAULT_MARGIN, min=MARGINS[0], max=MARGINS[1], description=EXPANSION_TEXT
    )
    provider: EnumProperty(
        name="Run Detectors on",
        items=[
            ("auto", "Fastest", "The graphics card where an ONNX Runtime for it is installed, else the processor"),
            ("cpu", "Processor", "Always the processor"),
        ],
        default="auto",
        description="Where the detectors run",
    )

    unreviewed: EnumProperty(
        name="Doubtful Places",
        items=[
            ("accept", "May Be Rendered", "Films with doubtful places that nobody has looked at are rendered"),
            ("refuse", "Must Be Reviewed", "Strips with doubtful places that nobody has looked at are kept back"),
        ],
        default="accept",
        description="What is done about doubtful places when a film is rendered",
    )
    keep_looks: BoolProperty(
        name="Remember Faces",
        update=_on_keeping_changed,
        description=(
            "Keep the numbers by which people are recognised in your user folder, so that a project that is opened "
            "again need not measure its faces anew. They identify people. Switching this off deletes them"
        ),
    )
    reviewer: StringProperty(
        name="Reviewer",
        maxlen=60,
        description=(
            "Who looks at doubtful places in this Blender. The name is kept in the project with each judgement, and "
            "stands in reports"
        ),
    )
    color_detected: _color("detected")
    color_followed: _color("followed")
    color_guessed: _color("guessed")
    color_doubtful: _color("doubtful")
    color_locked: _color("locked")
    color_off: _color("off")
    color_uncovered: _color("uncovered")

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        row = layout.row()
        row.label(text="New projects begin with")
        row.operator("faceblur.guide", icon="HELP")
        defaults = layout.column()
        for name in ("preset", "effect", "samples_across", "expansion"):
            defaults.prop(self, name)
        layout.separator()
        layout.prop(self, "unreviewed")
        layout.prop(self, "reviewer")
        layout.prop(self, "provider")
        row = layout.row()
        row.label(text=f"They run on: {JOB.provider}" if JOB.provider else "")
        row.operator("faceblur.find_provider")
        layout.separator()
        layout.label(text="Colors over Preview and Timeline")
        colors = layout.column()
        for name in _COLORS:
            colors.prop(self, f"color_{name}")
        layout.separator()
        self._draw_folder(layout)
        layout.separator()
        self._draw_models(layout)

    def _draw_folder(self, layout: bpy.types.UILayout) -> None:
        folder = stored_analyses()
        row = layout.row()
        row.label(
            text=f"Stored: {measure_folder(folder) / 1e3:.0f} kB in {folder}"
            if folder
            else "Stored: nothing (not installed as an extension)"
        )
        row.operator("faceblur.forget_analyses")
        row.operator("faceblur.forget_thumbnails")
        layout.prop(self, "keep_looks")
        if self.keep_looks:
            folder = stored_embeddings()
            layout.label(
                text=f"How people look: {measure_folder(folder) / 1e3:.0f} kB in {folder}"
                if folder
                else "How people look: not kept (not installed as an extension)"
            )

    def _draw_models(self, layout: bpy.types.UILayout) -> None:
        box = layout.box()
        box.label(text="Weights of the Detectors")
        for model in list_models().values():
            if not {preset.name for preset in _PRESETS} & set(model.presets):
                continue
            try:
                get_model_path(model.name)
                state, icon = f"{model.used.bytes / 1e6:.1f} MB", "CHECKMARK"
            except FaceBlurError:
                state, icon = "missing: the presets find less", "ERROR"
            row = box.row()
            row.label(text=f"{model.name}: {model.licence}, {state}", icon=icon)
            row.operator("wm.url_open", text="Source", icon="URL").url = model.origin


def get_preferences() -> FACEBLUR_AP_preferences | None:
    """The preferences; None where the package runs without being an add-on."""
    addon = bpy.context.preferences.addons.get(ROOT_PACKAGE)
    return addon.preferences if addon is not None else None


def get_reviewer() -> str:
    """Who looks at doubtful places in this Blender; empty where nobody is named."""
    preferences = get_preferences()
    return str(preferences.reviewer) if preferences is not None else ""


def get_colors() -> dict[str, tuple[float, float, float, float]]:
    """The colours of the drawings over preview and timeline, by name."""
    preferences = get_preferences()
    if preferences is None:
        return {name: color for name, (color, _) in _COLORS.items()}
    return {name: tuple(getattr(preferences, f"color_{name}")) for name in _COLORS}


def measure_folder(folder: Path | None) -> int:
    """Bytes of all files in a folder, which need not be there."""
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) if folder is not None else 0
