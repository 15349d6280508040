# SPDX-License-Identifier: GPL-3.0-or-later
"""Paint covers that a Blender project has into a film or pictures that can take their source's place in a strip."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError
from ..delivery.container import CONTAINERS, Container, list_sound
from ..delivery.join import Joined, JoinSettings, PictureStream, join_film
from ..delivery.picture import finish_picture, read_profile, verify_picture
from ..delivery.record import make_record
from ..delivery.verify import Expected, verify_film
from ..painting.encoders import name_own_codec
from ..painting.film import FilmPainter, FilmSettings, read_stream
from ..painting.outlines import OutlineTimeline, read_outlines
from ..painting.stickers import read_sticker
from ..painting.still import paint_picture
from ..sources import FrameSource, MovieSource, compute_fingerprint, open_source
from ..sources.image import parse_orientation
from .opening import open_requested
from .pieces import PaintingPace, paint_pieces
from .protocol import PaintDone, PaintRequest, Started, Warned


def bake(request: PaintRequest, send: Callable[[Any], None]) -> None:
    """Paint the film or the pictures and send the result. Raises FaceBlurError if the source cannot be painted, or if
    Blender would show the film with another size, rate or length."""
    began = time.monotonic()
    sticker = read_sticker(Path(request.effect.image)) if request.effect.image else None
    timeline = OutlineTimeline(read_outlines(Path(request.outlines)), request.face_px)
    with open_requested(request.source) as source:
        if isinstance(source, MovieSource):
            made, painted, pace = _bake_film(request, source, timeline, sticker, send)
        else:
            made, painted, pace = _bake_pictures(request, source, timeline, sticker, send)
        if compute_fingerprint(Path(request.source.path), request.source.files) != source.info.fingerprint:
            raise FaceBlurError(f"{source.info.file_name} changed while its covers were painted. Bake it again.")
        pace.finish(painted)
        Path(request.output).write_text(json.dumps(made), encoding="utf-8")
        send(PaintDone(request.output, painted, time.monotonic() - began))


def _bake_film(
    request: PaintRequest,
    source: MovieSource,
    timeline: OutlineTimeline,
    sticker: NDArray[np.uint8] | None,
    send: Callable[[Any], None],
) -> tuple[dict[str, Any], int, PaintingPace]:
    path = Path(request.source.path)
    container, reencoded = choose_film_container(path, read_stream(path, source).codec)
    output = Path(f"{request.film}{container.suffix}")
    codecs = tuple(sorted(container.pictures))
    settings = FilmSettings(request.effect, request.codec, request.quality, request.encoder, codecs)
    painter = FilmPainter(source, path, timeline, settings, sticker, per_frame=True)
    film, pace = paint_pieces(painter, source, Path(request.folder), send)
    look = painter.look
    pictures = PictureStream(
        look.time_base, look.pixel_aspect, painter.stream.header_colors, painter.stream.matrix, look.frame_rate
    )
    settings_of_join = JoinSettings(container, "", reencoded, keep_subtitles=False)
    joined = join_film([piece.path for piece in film.pieces], path, output, pictures, settings_of_join)
    for text in joined.notes:
        send(Warned(text))
    _check(output, path, source, joined, reencoded)
    return {"film": str(output), "files": []}, film.painted, pace


def _bake_pictures(
    request: PaintRequest,
    source: FrameSource,
    timeline: OutlineTimeline,
    sticker: NDArray[np.uint8] | None,
    send: Callable[[Any], None],
) -> tuple[dict[str, Any], int, PaintingPace]:
    """Paint a single picture to a file, or a sequence to numbered files in a folder: one picture may have different
    covers in the frames that show it."""
    path, files, info = Path(request.source.path), request.source.files, source.info
    sources = [path / name for name in files] or [path]
    folder = Path(request.film)
    outputs = [folder / f"{number:06}{one.suffix}" for number, one in enumerate(sources, 1)]
    if not files:
        outputs = [Path(f"{request.film}{path.suffix}")]
    send(Started(len(sources)))
    pace = PaintingPace(len(sources), send)
    try:
        if files:
            folder.mkdir(mode=0o700)
        notes: dict[str, None] = {}
        for frame, (one, output) in enumerate(zip(sources, outputs, strict=True)):
            size = info.width, info.height
            notes |= dict.fromkeys(paint_picture(one, size, timeline, frame, request.effect, sticker, output))
            tag = parse_orientation(one.read_bytes())
            record = make_record(info.fingerprint, {}, 1)
            finish_picture(output, record, tag[2] if tag else 1, read_profile(one, keeps_grey=True))
            verify_picture(output, *size)
            pace.report(frame + 1)
    except OSError as error:
        raise FaceBlurError(f"{folder.parent} cannot be written to: {error.strerror}.") from error
    for text in notes:
        send(Warned(text))
    made = {"film": str(folder if files else outputs[0]), "files": [output.name for output in outputs] if files else []}
    return made, len(sources), pace


def choose_film_container(path: Path, codec: str) -> tuple[Container, bool]:
    """The container for a baked film, and whether the sound has to be encoded again for it.

    It is the source's own if it holds FFmpeg's `codec` and the sound, else MP4 or MOV. There, Blender reads the length
    without the sound's. In Matroska, the last choice for other sources, it counts frames for as long as the longest
    stream.
    """
    sound = list_sound(path)
    own = name_own_codec(codec)

    def rate(container: Container) -> tuple[bool, bool, bool, bool]:
        return (
            container.suffix == path.suffix.lower() and own in container.pictures,
            container.format in ("mp4", "mov"),
            own in container.pictures,
            container.format == "mp4",
        )

    fitting = [one for one in CONTAINERS if all(one.format in stream.formats for stream in sound)]
    return (max(fitting, key=rate), False) if fitting else (CONTAINERS[0], True)


def _check(output: Path, path: Path, source: MovieSource, joined: Joined, reencoded: bool) -> None:
    """Check the film's pictures and sound, then what Blender will make of it."""
    info = source.info
    expected = Expected.painted(info, source.turn, info.frame_count, joined.times, joined.start)
    verify_film(output, path, expected, reencoded)
    with open_source(output) as film:
        shown = film.info
    size, rate = (shown.width, shown.height), shown.frame_rate
    if size != (info.width, info.height) or rate != info.frame_rate or shown.frame_count < info.frame_count:
        raise FaceBlurError(
            f"{info.file_name}: Blender would show the baked film with {shown.width} x {shown.height} pixels and "
            f"{shown.frame_count} frames at {float(shown.frame_rate):.3f} frames per second, not with "
            f"{info.width} x {info.height} and {info.frame_count} at {float(info.frame_rate):.3f}."
        )
