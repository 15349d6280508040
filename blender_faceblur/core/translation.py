# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts for people in the language of Blender's interface; in English without Blender.

Labels, tooltips, literal texts of layouts and literal reports are translated by Blender itself. `translate` is for
sentences that are put together: the template is translated, then filled in. Nothing sets a translator in the command
line, in worker processes or in a Blender without a window: they use English.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

CONTEXT = "Face Blur"
"""Blender's name for the extension's own texts, where it would translate a word as another thing's: a mesh's faces."""

_state: dict[str, Callable[[str], str]] = {}


def set_translator(translator: Callable[[str], str] | None) -> None:
    """Have `translate` and `count` use this function, which returns a message it does not know unchanged."""
    _state.clear()
    if translator is not None:
        _state["translator"] = translator


def translate(template: str, /, **values: object) -> str:
    """The translated template with its named placeholders filled in. Without values, braces are left alone."""
    translator = _state.get("translator")
    translated = translator(template) if translator is not None else template
    return translated.format(**values) if values else translated


@contextmanager
def in_english() -> Iterator[None]:
    """Within the block, nothing is translated: for files that go to others, such as reports."""
    translator = _state.get("translator")
    set_translator(None)
    try:
        yield
    finally:
        set_translator(translator)


def mark(texts: T) -> T:
    """Mark the strings of a table for translation: `translate` gets them later, one by one. Returns the table."""
    return texts


def count(number: int, word: str) -> str:
    """ "1 face", "2 faces". The catalogues have the English plural, which ends in s, as a message of its own."""
    return f"{number} {translate(word + 's' * (number != 1))}"
