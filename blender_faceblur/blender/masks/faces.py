# SPDX-License-Identifier: GPL-3.0-or-later
"""The faces of a mask, as the list of faces shows them."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ...core.translation import mark, translate
from ...core.types import Evidence
from .mask import PICTURE_LAYER
from .record import MaskRecord

_NOT_DETECTED = (Evidence.INTERPOLATED, Evidence.EXTRAPOLATED)


@dataclass(frozen=True, slots=True)
class MaskFace:
    """A layer that covers something. `spans` are half-open source frame ranges, empty for a layer drawn by hand.

    `track` is the name of its track in the document, empty if it has none. `freehand` means that an editor redrew it.
    """

    name: str
    spans: list[tuple[int, int]]
    evidence: dict[Evidence, int]
    track: str = ""
    freehand: bool = False
    clearest: int = 0
    """The source frame in which the face is seen best."""
    size: float = 0.0
    """The size of its cover in that frame, as the side of a square in pixels."""

    @property
    def frames(self) -> int:
        return sum(stop - start for start, stop in self.spans)


def list_faces(mask: bpy.types.Mask) -> list[MaskFace]:
    record = MaskRecord.load(mask)
    return [read_face(record, layer.name) for layer in mask.layers if is_face(record, layer.name)]


def is_face(record: MaskRecord, name: str) -> bool:
    """Whether a layer covers a place. All do except our first one, which shows the picture."""
    return name != PICTURE_LAYER or PICTURE_LAYER not in record.own


def read_face(record: MaskRecord, name: str) -> MaskFace:
    known = record.layers.get(name)
    if known is None:
        return MaskFace(name, [], {})
    return MaskFace(name, known.spans, known.evidence, known.track, known.freehand, known.clearest, known.size)


def describe_origin(face: MaskFace) -> str:
    """How the positions of a face were determined, in one line."""
    if not face.spans or face.freehand:
        return translate("drawn by hand" if face.freehand else "added by hand")
    counts = {evidence: face.evidence.get(evidence, 0) for evidence in Evidence}
    # Of all its positions: spans leave out where the face is switched off.
    count = max(sum(counts.values()), 1)
    parts = mark(
        (
            (counts[Evidence.LOCKED], "set by hand"),
            (counts[Evidence.DETECTED], "detected"),
            (counts[Evidence.FLOW], "tracked"),
            (sum(counts[evidence] for evidence in _NOT_DETECTED), "estimated"),
        )
    )
    return ", ".join(f"{100 * part / count:.0f} % {translate(word)}" for part, word in parts if part)
