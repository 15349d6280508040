# SPDX-License-Identifier: GPL-3.0-or-later
"""Labels and tooltips keep to Blender's human interface guidelines (Writing Style)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import bpy
import pytest

from blender_faceblur.blender.translations.tooltips import get_operator_type, list_subclasses

pytestmark = pytest.mark.usefixtures("extension")

SMALL = {"a", "an", "and", "as", "at", "by", "for", "from", "if", "in", "of", "on", "or", "per", "the", "to", "with"}
"""Words that may begin with a small letter in a label, unless they come first."""

LONGEST_LABEL = 30
"""Letters. "Load Factory Preferences", which is long among Blender's own, has 24."""

MOST_SENTENCES = 3

VERBS = [
    "Add",
    "Allow",
    "Announce",
    "Apply",
    "Bake",
    "Begin",
    "Box",
    "Bring",
    "Cancel",
    "Change",
    "Check",
    "Choose",
    "Clear",
    "Confirm",
    "Copy",
    "Cover",
    "Decide",
    "Delete",
    "Detect",
    "Edit",
    "End",
    "Export",
    "Finish",
    "Fix",
    "Forget",
    "Go",
    "Import",
    "Keep",
    "Leave",
    "List",
    "Load",
    "Lock",
    "Make",
    "Merge",
    "Move",
    "Name",
    "Next",
    "Open",
    "Pick",
    "Play",
    "Previous",
    "Recognise",
    "Remove",
    "Rename",
    "Render",
    "Repair",
    "Review",
    "Save",
    "See",
    "Select",
    "Set",
    "Show",
    "Sort",
    "Split",
    "Start",
    "Stop",
    "Switch",
    "Track",
    "Transform",
    "Unbake",
    "Undo",
    "Unlock",
    "Update",
    "Use",
    "Verify",
    "Write",
]

OTHER_LABELS = {
    "Active Face Is",
    "This Is",
    "Not This Person",
    "Is Fine",
    "One by One",
    "Back to the Film",
    "Fast Playback",
    "Must Be Covered",
}
"""Operators that are named otherwise: before a name or as the answer to a question, or like the setting they switch."""


def list_kinds(*names: str) -> list[Any]:
    return [
        kind
        for name in names
        for kind in list_subclasses(getattr(bpy.types, name))
        if getattr(kind, "is_registered", True)
    ]


def list_labels() -> Iterator[tuple[str, str]]:
    """Where each label is, and the label."""
    for kind in list_kinds("Operator"):
        yield kind.bl_idname, get_operator_type(kind).name
    for kind in list_kinds("Panel", "Menu"):
        yield kind.__name__, kind.bl_label
    for owner, one in list_properties():
        yield f"{owner}.{one.identifier}", one.name
        if one.type == "ENUM":
            for item in one.enum_items_static:
                yield f"{owner}.{one.identifier}.{item.identifier}", item.name


def list_tooltips() -> Iterator[tuple[str, str]]:
    for kind in list_kinds("Operator"):
        yield kind.bl_idname, " ".join(get_operator_type(kind).description.split())
    for owner, one in list_properties():
        yield f"{owner}.{one.identifier}", one.description
        if one.type == "ENUM":
            for item in one.enum_items_static:
                yield f"{owner}.{one.identifier}.{item.identifier}", item.description


def list_properties() -> Iterator[tuple[str, Any]]:
    """The properties that a window shows, with the class that has them."""
    for kind in list_kinds("Operator", "PropertyGroup", "AddonPreferences"):
        rna = get_operator_type(kind) if issubclass(kind, bpy.types.Operator) else kind.bl_rna
        annotated = {name for base in kind.__mro__ for name in vars(base).get("__annotations__", {})}
        for one in rna.properties:
            if one.identifier in annotated and not one.is_hidden and one.name != one.identifier:
                yield kind.__name__, one


def test_labels_are_in_title_case_and_no_sentences() -> None:
    wrong = []
    for where, label in list_labels():
        words = re.findall(r"[A-Za-z][\w']*", label)
        small = [word for number, word in enumerate(words) if word[0].islower() and (number == 0 or word not in SMALL)]
        if small or re.search(r"[.,;:!?]$|\. ", label) or len(label) > LONGEST_LABEL:
            wrong.append(f"{where}: {label}")
    assert wrong == []


def test_operators_are_named_by_verbs() -> None:
    labels = {get_operator_type(kind).name for kind in list_kinds("Operator")}
    assert len(labels) > 50
    assert {label for label in labels if label.split()[0] not in VERBS} == OTHER_LABELS


def test_tooltips_are_short_and_end_without_a_full_stop() -> None:
    wrong = []
    for where, text in list_tooltips():
        if text.endswith((".", ";", ",")) or (text and not text[0].isupper() and not text[0].isdigit()):
            wrong.append(f"{where}: {text}")
        elif text.count(". ") >= MOST_SENTENCES:
            wrong.append(f"{where}, {text.count('. ') + 1} sentences: {text}")
    assert wrong == []


def test_every_operator_and_setting_has_a_tooltip() -> None:
    shown = ("faceblur.", "FACEBLUR_PG_settings.", "FACEBLUR_AP_preferences.")
    missing = [where for where, text in list_tooltips() if not text and where.startswith(shown)]
    assert missing == []
