# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracks document of a mask: a text data-block with JSON, to which a custom property of the mask points."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ...core.document.editing import copy_document
from ...core.document.tracks_file import from_json, to_json
from ...core.review.groups import count_left
from ...core.translation import translate
from ...core.types import FaceBlurError, TrackDocument
from ..common.marks import MARK
from .record import MaskRecord, list_unreliable_tracks


@dataclass(slots=True)
class _LastRead:
    """The document that was parsed last, with its mask and text. Only `load_document` uses it; the next one replaces
    it."""

    mask: str = ""
    content: str = ""
    document: TrackDocument | None = None


_LAST_READ = _LastRead()


def get_document_text(mask: bpy.types.Mask) -> bpy.types.Text | None:
    """The text data-block with the tracks document (JSON) of a mask of ours; None if it is gone."""
    text = mask.get(MARK + "_tracks")
    # A file may come from a stranger.
    return text if isinstance(text, bpy.types.Text) else None


def load_document(mask: bpy.types.Mask) -> TrackDocument:
    """A copy of the tracks document of a mask of ours. Raises FaceBlurError if it is gone or damaged."""
    text = get_document_text(mask)
    if text is None:
        raise FaceBlurError(
            translate("The mask '{name}' has lost its tracks document. Detect the faces again.", name=mask.name)
        )
    content = text.as_string()
    document = _LAST_READ.document
    if document is None or _LAST_READ.mask != mask.name or _LAST_READ.content != content:
        # Parsing the document of a long film takes a second.
        _LAST_READ.document = None
        document = from_json(content)
        _LAST_READ.mask, _LAST_READ.content, _LAST_READ.document = mask.name, content, document
    return copy_document(document)


def compute_widest_px(document: TrackDocument) -> float:
    """The width of the document's widest face, without the margin, in pixels of the source; 0 if there is none."""
    return max((2 * s.ellipse.rx for track in document.tracks for s in track.samples), default=0.0)


def store_document(mask: bpy.types.Mask, record: MaskRecord, document: TrackDocument) -> None:
    """Store the document in the mask's text data-block, and the record with the number of open review items."""
    text = get_document_text(mask)
    if text is None:
        text = bpy.data.texts.new(f"{mask.name} tracks.json")
        mask[MARK + "_tracks"] = text
    text.from_string(to_json(document))
    record.to_review = count_left(document, unreliable=list_unreliable_tracks(mask))
    record.widest_px = compute_widest_px(document)
    record.save(mask)
