# SPDX-License-Identifier: GPL-3.0-or-later
"""The window's texts exist in every language, and composed sentences take the translated template."""

from __future__ import annotations

import re
from pathlib import Path

import bpy
import pytest

from blender_faceblur.blender.translations.catalogue import (
    LANGUAGES,
    get_catalogue_path,
    load_catalogues,
    read_catalogue,
)
from blender_faceblur.blender.translations.tooltips import list_tooltips
from blender_faceblur.core.translation import CONTEXT, count, in_english, set_translator, translate
from blender_faceblur.core.types import FaceBlurError
from tools.translations import check_catalogue, list_messages

pytestmark = pytest.mark.usefixtures("extension")


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_exactly_the_texts_of_the_extension(language: str) -> None:
    problems = check_catalogue(read_catalogue(get_catalogue_path(language)), list_messages())
    assert not problems, "build.py translations lists them:\n" + "\n".join(problems)


def test_the_check_finds_missing_old_and_wrong_texts() -> None:
    catalogue = {"{name} is covered": "{nom} est couvert", "Old": "Ancien", "Empty": ""}
    problems = check_catalogue(catalogue, {"{name} is covered", "Empty", "New"})
    assert [problem.split(":")[0] for problem in problems] == ["missing"] * 2 + ["no longer used", "other placeholders"]


def test_the_list_has_labels_tooltips_enum_items_reports_and_composed_sentences() -> None:
    messages = list_messages()
    assert {
        "Detect Faces",
        "Detect, track and cover the faces in the selected movie and image strips. ESC cancels",
        "Whole Head",
        "One colour. Nothing of the face remains",
        "Select a strip that is covered",
        "{items} to review",
        "strips",
    } <= messages


def test_words_that_a_new_editor_did_not_understand_have_not_come_back() -> None:
    """They stood in the window until a first session of somebody who had not seen it before."""
    odd = (
        "nobody known",
        "Follow It",
        "Switch Face Off",
        "kept clear",
        "analysis was taken",
        "build.py",
        "Source frames",
        "Forget Everything",
        "1 stranger in",
        "by mistake, at most",
    )
    texts = sorted(list_messages())
    assert [text for text in texts if any(word.lower() in text.lower() for word in odd)] == []
    # In parentheses it stood after the name of a person, for "decided by the editor".
    assert [text for text in texts if re.search(r"\b(said|told)\b", text)] == []


def test_a_sentence_is_filled_in_after_its_template_is_translated() -> None:
    set_translator({"{strips} baked": "{strips} gebacken", "strips": "Streifen", "it": "er"}.get)  # type: ignore[arg-type]
    try:
        assert translate("{strips} baked", strips=count(2, "strip")) == "2 Streifen gebacken"
        with in_english():
            assert count(2, "strip") == "2 strips"
    finally:
        set_translator(None)
    # A strip's name may have braces.
    assert translate("'{name}' is baked", name="{0}{x.y}") == "'{0}{x.y}' is baked"


def test_blender_gives_the_translation_in_german() -> None:
    if not bpy.app.build_options.international:
        pytest.skip("this Blender is built without translations")
    view = bpy.context.preferences.view
    before = view.language
    view.language, view.use_translate_interface = "de_DE", True
    try:
        text = bpy.app.translations.pgettext_iface("Detect Faces", CONTEXT)
        assert text == "Gesichter suchen"
        for line, original in list_tooltips().items():
            assert bpy.app.translations.pgettext_tip(original) == load_catalogues({})["de"]["*", line]
    finally:
        view.language = before


def test_a_damaged_catalogue_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "xx.po"
    path.write_text('# comment\nmsgid ""\n"Two "\n"parts"\nmsgstr "Zwei \\"Teile\\"\\n"\n', "utf-8")
    assert read_catalogue(path) == {"Two parts": 'Zwei "Teile"\n'}
    path.write_text('msgid "a"\nmsgctxt "b"\n', "utf-8")
    with pytest.raises(FaceBlurError, match="line 2"):
        read_catalogue(path)
