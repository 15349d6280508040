# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint the covers of a single picture, in its own depth and with its own channels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.cover.effects import EffectSettings
from ..core.types import FaceBlurError, TrackDocument
from ..sources.image import read_data
from .covers import CoverTimeline, Moment, Timeline
from .painter import Painter
from .picture_files import read_picture, write_picture


def paint_still(
    path: Path, document: TrackDocument, effect: EffectSettings, sticker: NDArray[np.uint8] | None, output: Path
) -> list[str]:
    """Paint the covers of a document into the picture at `path`; see `paint_picture`."""
    size = document.source.width, document.source.height
    return paint_picture(path, size, CoverTimeline(document), 0, effect, sticker, output)


def paint_picture(
    path: Path,
    size: tuple[int, int],
    timeline: Timeline,
    frame: int,
    effect: EffectSettings,
    sticker: NDArray[np.uint8] | None,
    output: Path,
) -> list[str]:
    """Paint the covers of one frame into the picture at `path`, and write it to `output` in its own format, whatever
    its name. `size` is the width and height that were analysed.

    In formats without loss, all samples outside of covers and their soft edges keep their values. A JPEG gets the
    quantization tables and the chroma resolution of the source. Metadata is not written, except what colours depend on.

    Returns sentences on what the output does not keep. Raises FaceBlurError if the picture cannot be read or painted.
    """
    stored = read_picture(read_data(path), path.name)
    if (stored.frame.width, stored.frame.height) != size:
        raise FaceBlurError(f"{path.name}: the picture does not have the size of the one that was analysed")
    moment = Moment((frame,), float(frame))
    everything = timeline.covers_everything(moment)
    outlines = [] if everything else timeline.list_outlines(moment)
    # The tracks belong to the stored picture, without the rotation that its orientation tag asks for.
    painter = Painter(effect, timeline.largest_face_px, 0, sticker)
    painted = painter.paint(stored.frame, outlines, everything)
    notes = [*stored.notes, *write_picture(stored, painted, output)]
    if everything:
        notes.append("The picture is covered completely, because it was not analysed.")
    return notes
