# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the covers of a strip's film as animated masks of other programs."""

from __future__ import annotations

from pathlib import Path

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError
from ...exchange.tables import write_tracks
from ...files.workplace import Workplace, place_file
from ..cover.baked import BakedRecord, is_baked
from ..cover.strips import get_mask
from ..masks.changes import sync_from_blender
from ..masks.faces import is_face
from ..masks.record import MaskRecord


def get_exported_mask(strip: bpy.types.Strip | None) -> bpy.types.Mask | None:
    """The mask with the covers of a strip, baked or not; None if there is none. Raises FaceBlurError if the record of a
    baked strip is damaged."""
    if strip is not None and is_baked(strip):
        mask: bpy.types.Mask | None = BakedRecord.load(strip).mask
        return mask
    found: bpy.types.Mask | None = get_mask(strip)
    return found


def export_masks(strip: bpy.types.Strip, path: Path, ending: str, overwrite: bool = False) -> Path:
    """Write the covers of the strip's whole film to `path`, whose ending becomes `ending`; returns the file.

    Raises FaceBlurError if the file exists without `overwrite` or cannot be written, if the strip has no covers, and if
    covers were drawn by hand, because an ellipse does not hold them.
    """
    path = path if path.suffix.lower() == ending else path.with_name(path.name + ending)
    if path.exists() and not overwrite:
        raise FaceBlurError(translate("{there} already exists. Choose another folder, or Overwrite.", there=path))
    mask = get_exported_mask(strip)
    if mask is None:
        raise FaceBlurError("Select a strip that is covered")
    document, record = sync_from_blender(mask), MaskRecord.load(mask)
    drawn = [
        layer.name
        for layer in mask.layers
        if is_face(record, layer.name)
        and len(layer.splines)
        and (layer.name not in record.layers or record.layers[layer.name].freehand)
    ]
    if drawn:
        raise FaceBlurError(
            translate(
                "These covers were drawn by hand, so masks of other programs would not hold them: {names}. Bake the "
                "covers instead.",
                names=", ".join(f"'{name}'" for name in drawn),
            )
        )
    with Workplace() as workplace:
        part = workplace.name_part(path, ending)
        write_tracks(document, part, ending)
        place_file(part, path, overwrite)
    return path
