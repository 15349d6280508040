# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker process reports while it paints the pieces of a film."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..painting.film import FilmPainter, HardwareEncoderError, PaintedFilm
from ..sources import MovieSource
from .protocol import Progress, Stage, Started, Warned
from .reporting import REPORTING


def paint_pieces(
    painter: FilmPainter,
    source: MovieSource,
    folder: Path,
    send: Callable[[Any], None],
    share: tuple[int, int] | None = None,
) -> tuple[PaintedFilm, PaintingPace]:
    """Make the pieces of a film, or a share of them, and send their progress and what the user should know of them.

    The caller finishes the pace that is returned.
    """
    send(Started(painter.picture_count))
    for text in painter.list_losses():
        send(Warned(text))
    pace = PaintingPace(painter.picture_count, send)
    try:
        film = painter.paint(folder, pace.report, share=share)
    except HardwareEncoderError as error:
        if not painter.can_fall_back:
            raise
        # With --encoder auto a film is finished in any case. All of its pieces then come from one encoder.
        send(Warned(f"{error} That is done now."))
        painter.fall_back()
        for text in painter.list_losses():
            send(Warned(text))
        film = painter.paint(folder, pace.report, share=share)
    for text in source.notes():
        send(Warned(text))
    return film, pace


class PaintingPace:
    """Reports the progress of painting at intervals. Its rate leaves out the pictures of an earlier run."""

    def __init__(self, total: int, send: Callable[[Any], None]) -> None:
        self._total, self._send, self._began = total, send, time.monotonic()
        self._reported, self._earlier = 0.0, -1

    def report(self, done: int) -> None:
        """Note that `done` pictures are finished, those of an earlier run included."""
        now = time.monotonic()
        if self._earlier < 0:
            self._earlier = done - 1
        if now - self._reported >= REPORTING.progress_every_s:
            self._reported = now
            self._tell(min(done, self._total), done - self._earlier)

    def finish(self, painted: int) -> None:
        """Report that all pictures are finished, `painted` of them in this run."""
        self._tell(self._total, painted)

    def _tell(self, done: int, painted: int) -> None:
        rate = painted / max(time.monotonic() - self._began, 1e-6)
        self._send(Progress(Stage.RENDER, done, self._total, rate))
