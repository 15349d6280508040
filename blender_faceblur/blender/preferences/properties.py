# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: defaults for new projects, the detectors' hardware, stored files, colours and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, FloatVectorProperty, StringProperty

from ...core.detection.settings import DEFAULT_MARGIN, MARGINS, PRESETS
from ...core.people.embeddings_file import forget_embeddings
from ...core.translation import CONTEXT, translate
from ...core.types import FaceBlurError
from ...files.paths import get_model_path, get_stored_analyses_folder, get_stored_embeddings_folder, list_models
from ..common.jobs import JOB

ROOT_PACKAGE = __package__.removesuffix(".blender.preferences")

# The extension does not include the weights of the other presets.
_PRESETS = [preset for preset in PRESETS if not preset.on_request]
PRESET_ITEMS = [(preset.name, preset.name.capitalize(), preset.meaning) for preset in _PRESETS]
EFFECT_ITEMS = [
    ("solid", "Solid", "One colour. Nothing of the face remains"),
    ("mosaic", "Mosaic", "Soft blocks. A person with photographs to compare can recognise some faces"),
    ("blur", "Blur", "A smooth blur, made from as few samples as the mosaic"),
    ("erase", "Erase", "Filled from the surroundings. Nothing of the face remains"),
    ("gaussian", "Gaussian (Weak)", "A soft blur for its look only: it can be sharpened again. Use Blur to protect"),
    ("image", "Image", "Your own picture over each face, on a background colour. Nothing of the face remains"),
]
SAMPLES_TEXT = "How many blocks remain across the widest face of a strip. Fewer blocks hide more"
MARGIN_TEXT = "Size of the cover relative to the face. A larger cover includes hair, ears and quick movements"

_COLORS = {
    "detected": ((0.25, 0.85, 0.35, 1.0), "Detected", "A face where it was detected"),
    "tracked": ((0.95, 0.9, 0.25, 1.0), "Tracked", "A face that was tracked from a frame where it was detected"),
    "interpolated": ((1.0, 0.6, 0.1, 1.0), "Estimated", "A face whose position was interpolated or extrapolated"),
    "to_review": ((1.0, 0.2, 0.15, 1.0), "To Review", "A review item that has not been judged"),
    "locked": ((0.3, 0.65, 1.0, 1.0), "Locked", "A face that was placed by hand"),
    "off": ((0.65, 0.65, 0.65, 1.0), "Off", "A face that is switched off, so it shows"),
    "uncovered": ((1.0, 0.1, 0.8, 1.0), "Uncovered", "A strip whose faces show, or that was not analysed"),
}
"""Default, label and description of the colours of the drawings over preview and timeline. The names of the codes in
`core.review.overview.Code` are among the names."""

_SAVED_NAMES = {"tracked": "followed", "interpolated": "guessed", "to_review": "doubtful"}
"""Colours that users' preferences hold under another name, since version 0.1.0."""


def _color(name: str) -> Any:
    default, label, description = _COLORS[name]
    return FloatVectorProperty(
        name=label,
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
            forget_embeddings(get_stored_embeddings_folder())
        except FaceBlurError as error:
            # Blender would only print an exception that is raised here.
            JOB.problems = [str(error)]


class FACEBLUR_AP_preferences(bpy.types.AddonPreferences):
    bl_idname = ROOT_PACKAGE

    preset: EnumProperty(
        name="Preset",
        items=PRESET_ITEMS,
        translation_context=CONTEXT,
        default="balanced",
        description="How carefully new projects look for faces",
    )
    effect: EnumProperty(
        name="Effect",
        items=EFFECT_ITEMS,
        translation_context=CONTEXT,
        default="solid",
        description="What covers the faces of new projects",
    )
    samples_across: FloatProperty(name="Samples per Face", default=6.0, min=2.0, max=16.0, description=SAMPLES_TEXT)
    expansion: FloatProperty(
        name="Margin", default=DEFAULT_MARGIN, min=MARGINS[0], max=MARGINS[1], description=MARGIN_TEXT
    )
    provider: EnumProperty(
        name="Run Detectors on",
        items=[
            ("auto", "Fastest", "The graphics card if an ONNX Runtime for it is installed, otherwise the processor"),
            ("cpu", "Processor", "Always the processor"),
        ],
        default="auto",
        description="The hardware that the detectors use",
    )

    unreviewed: EnumProperty(
        name="Open Review Items",
        items=[
            ("accept", "May Be Rendered", "Render strips that still have open review items"),
            ("refuse", "Must Be Reviewed", "Render a strip black while it has open review items"),
        ],
        default="accept",
        description="How a film with open review items is rendered",
    )
    keep_looks: BoolProperty(
        name="Remember Faces",
        update=_on_keeping_changed,
        description=(
            "Store face embeddings in your user folder, so that a project recognises people at once when you open it "
            "again. Embeddings identify people. Switching this off deletes them"
        ),
    )
    reviewer: StringProperty(
        name="Reviewer",
        maxlen=60,
        description=(
            "Who reviews in this Blender. The name is saved in the project with each judgement, and reports show it"
        ),
    )
    color_detected: _color("detected")
    color_followed: _color("tracked")
    color_guessed: _color("interpolated")
    color_doubtful: _color("to_review")
    color_locked: _color("locked")
    color_off: _color("off")
    color_uncovered: _color("uncovered")

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        row = layout.row()
        row.label(text="Defaults for New Projects")
        row.operator("faceblur.guide", icon="HELP")
        defaults = layout.column()
        for name in ("preset", "effect", "samples_across", "expansion"):
            defaults.prop(self, name)
        layout.separator()
        layout.prop(self, "unreviewed")
        layout.prop(self, "reviewer")
        layout.prop(self, "provider")
        row = layout.row()
        row.label(text=translate("Detectors run on: {provider}", provider=JOB.provider) if JOB.provider else "")
        row.operator("faceblur.find_provider")
        layout.separator()
        layout.label(text="Colors in Preview and Timeline")
        colors = layout.column()
        for name in _COLORS:
            colors.prop(self, _get_color_property(name))
        layout.separator()
        self._draw_folder(layout)
        layout.separator()
        self._draw_models(layout)

    def _draw_folder(self, layout: bpy.types.UILayout) -> None:
        folder = get_stored_analyses_folder()
        row = layout.row()
        row.label(
            text=translate(
                "Stored analyses: {size:.0f} kB in {folder}",
                size=measure_folder(folder) / 1000.0,
                folder=folder,
            )
            if folder
            else "Stored analyses: none (not installed as an extension)"
        )
        row.operator("faceblur.forget_analyses")
        row.operator("faceblur.forget_thumbnails")
        layout.prop(self, "keep_looks")
        if self.keep_looks:
            folder = get_stored_embeddings_folder()
            layout.label(
                text=translate(
                    "Face embeddings: {size:.0f} kB in {folder}",
                    size=measure_folder(folder) / 1000.0,
                    folder=folder,
                )
                if folder
                else "Face embeddings: not stored (not installed as an extension)"
            )

    def _draw_models(self, layout: bpy.types.UILayout) -> None:
        box = layout.box()
        box.label(text="Detector Weights")
        for model in list_models().values():
            if not {preset.name for preset in _PRESETS} & set(model.presets):
                continue
            try:
                get_model_path(model.name)
                state, icon = translate("{bytes:.1f} MB", bytes=model.used.bytes / 1000000.0), "CHECKMARK"
            except FaceBlurError:
                state, icon = "missing, so fewer faces are found", "ERROR"
            row = box.row()
            row.label(text=f"{model.name}: {model.licence}, {state}", icon=icon)
            row.operator("wm.url_open", text="Source", icon="URL").url = model.origin


def get_preferences() -> FACEBLUR_AP_preferences | None:
    """The preferences; None if the package is not running as an add-on."""
    addon = bpy.context.preferences.addons.get(ROOT_PACKAGE)
    return addon.preferences if addon is not None else None


def get_reviewer() -> str:
    """The name of the reviewer; empty if none is set."""
    preferences = get_preferences()
    return str(preferences.reviewer) if preferences is not None else ""


def get_colors() -> dict[str, tuple[float, float, float, float]]:
    """The colours of the drawings over preview and timeline, by name."""
    preferences = get_preferences()
    if preferences is None:
        return {name: color for name, (color, _, _) in _COLORS.items()}
    return {name: tuple(getattr(preferences, _get_color_property(name))) for name in _COLORS}


def _get_color_property(name: str) -> str:
    return f"color_{_SAVED_NAMES.get(name, name)}"


def measure_folder(folder: Path | None) -> int:
    """The size of all files in a folder, in bytes; 0 if it does not exist."""
    return sum(path.stat().st_size for path in folder.glob("*") if path.is_file()) if folder is not None else 0
