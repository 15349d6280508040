# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading of PO files, as far as the extension's own use them: a msgid and a msgstr for each message, in UTF-8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ...core.translation import CONTEXT
from ...core.types import FaceBlurError

DOMAIN = __package__
"""The name under which Blender keeps the messages."""

CONTEXTS = ("*", "Operator", CONTEXT)
"""The contexts in which Blender looks up messages of an extension. Each message stands in all of them."""

LANGUAGES = ("de", "fr")
"""One file each. Blender looks here for a locale (de_DE) and then for its language."""

_FOLDER = Path(__file__).parent


def get_catalogue_path(language: str) -> Path:
    return _FOLDER / f"{language}.po"


def load_catalogues(originals: Mapping[str, str]) -> dict[str, dict[tuple[str, str], str]]:
    """Language -> (context, message) -> translation, as Blender's `translations.register` takes it.

    `originals` are messages that Blender has in another form than the catalogues.
    """
    catalogues: dict[str, dict[tuple[str, str], str]] = {}
    for language in LANGUAGES:
        messages = read_catalogue(get_catalogue_path(language))
        catalogues[language] = {
            (context, originals.get(message, message)): text
            for message, text in messages.items()
            if text
            for context in CONTEXTS
        }
    return catalogues


def read_catalogue(path: Path) -> dict[str, str]:
    """Message -> translation, which is empty where it is missing. Raises FaceBlurError for a damaged file."""
    messages: dict[str, str] = {}
    parts: dict[str, str] = {}
    keyword = ""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        quoted = line.strip()
        if not quoted or quoted.startswith("#"):
            continue
        if not quoted.startswith('"'):
            keyword, _, quoted = quoted.partition(" ")
            if keyword == "msgid":
                _store(messages, parts)
                parts = {}
            if keyword in parts or keyword not in ("msgid", "msgstr"):
                raise FaceBlurError(f"{path.name}, line {number}: '{keyword}' is not expected.")
        try:
            # The escapes of PO files are among those of JSON.
            text = json.loads(quoted)
        except ValueError:
            raise FaceBlurError(f"{path.name}, line {number}: the text is not in quotation marks.") from None
        parts[keyword] = parts.get(keyword, "") + text
    _store(messages, parts)
    return messages


def _store(messages: dict[str, str], parts: dict[str, str]) -> None:
    if parts.get("msgid"):
        if parts["msgid"] in messages:
            raise FaceBlurError(f"The message '{parts['msgid']}' is in a catalogue twice.")
        messages[parts["msgid"]] = parts.get("msgstr", "")
