# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint covers into a film's or picture's own pixels, for a request."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.document.tracks_file import read_document
from ..core.types import FaceBlurError
from ..sources import ImageSource, MovieSource
from .opening import open_requested
from .protocol import PaintDone, PaintRequest, Started, Warned


def paint(request: PaintRequest, send: Callable[[Any], None]) -> None:
    """Paint the covers and send the result. Raises FaceBlurError if the source cannot be painted."""
    # Imported here because the processes of an analysis, which do not paint, start sooner without them.
    from ..painting.covers import CoverTimeline
    from ..painting.film import FilmPainter, FilmSettings
    from ..painting.stickers import read_sticker
    from ..painting.still import paint_still
    from .baking import bake
    from .pieces import paint_pieces

    if request.outlines:
        bake(request, send)
        return
    began = time.monotonic()
    document = read_document(Path(request.tracks))
    sticker = read_sticker(Path(request.effect.image)) if request.effect.image else None
    with open_requested(replace(request.source, fingerprint=document.source.fingerprint)) as source:
        if isinstance(source, ImageSource):
            send(Started(1))
            for text in paint_still(Path(request.source.path), document, request.effect, sticker, Path(request.output)):
                send(Warned(text))
            send(PaintDone(request.output, 1, time.monotonic() - began))
            return
        if not isinstance(source, MovieSource):
            raise FaceBlurError(f"{source.info.file_name}: covers are painted into films and single pictures only")
        settings = FilmSettings(request.effect, request.codec, request.quality, request.encoder, tuple(request.allowed))
        painter = FilmPainter(source, Path(request.source.path), CoverTimeline(document), settings, sticker)
        share = (request.share[0], request.share[1]) if request.share else None
        film, pace = paint_pieces(painter, source, Path(request.folder), send, share)
        if film.whole:
            pictures = "1 picture is" if film.whole == 1 else f"{film.whole} pictures are"
            send(Warned(f"{pictures} covered completely, because they were not analysed."))
        seconds = time.monotonic() - began
        pace.finish(film.painted)
        look = painter.look
        Path(request.output).write_text(
            json.dumps(
                {
                    "pieces": [str(piece.path) for piece in film.pieces],
                    "codec": film.choice.codec,
                    "encoder": film.choice.encoder,
                    "time_base": str(look.time_base),
                    "frame_rate": str(look.frame_rate),
                    "pixel_aspect": str(look.pixel_aspect),
                    "colors": painter.stream.header_colors,
                    "matrix": painter.stream.matrix,
                    "turn": source.turn,
                    "pictures": film.pictures,
                    "seconds": seconds,
                }
            ),
            encoding="utf-8",
        )
        send(PaintDone(request.output, film.painted, seconds))
