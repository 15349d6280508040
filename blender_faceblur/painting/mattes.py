# SPDX-License-Identifier: GPL-3.0-or-later
"""Covers as mattes for other programs: white where a picture is covered, in grey and in the alpha channel.

A matte has one picture for each frame, at the constant rate and in the orientation in which Blender and most editors
show the film. It shows the same coverage as the covers that are painted, with their soft edges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.types import FaceBlurError, TrackDocument
from .covers import Coverage, CoverTimeline, Moment, fill

FILM_FORMATS = {".mkv": ("ffv1", "bgra", {}), ".mov": ("prores_ks", "yuva444p10le", {"profile": "4444"})}
"""The ending of a matte's file -> FFmpeg's encoder, its pixel format and its options."""


def list_coverages(document: TrackDocument) -> Iterator[Coverage]:
    """The coverage of each frame, in order: height x width, 255 where it is covered completely."""
    timeline, size = CoverTimeline(document), (document.source.height, document.source.width)
    for frame in range(document.source.frame_count):
        moment = Moment((frame,), frame)
        if timeline.covers_everything(moment):
            yield np.full(size, 255, np.uint8)
        else:
            yield fill(timeline.list_outlines(moment), (0, 0, size[1], size[0]))


def write_matte_film(document: TrackDocument, path: Path, on_progress: Callable[[int], None]) -> None:
    """Write a film of the coverages: FFV1 (.mkv), or ProRes 4444 (.mov).

    Grey and alpha hold the coverage, so the colours are premultiplied with white. FFV1 keeps both exactly, and ProRes
    the alpha channel, in 10 bits. Raises FaceBlurError if it cannot be written completely.
    """
    import av

    encoder, pixel_format, options = FILM_FORMATS[path.suffix.lower()]
    info, count = document.source, 0
    # The container chooses another unit for its stream.
    step = Fraction(1) / info.frame_rate
    try:
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(encoder, rate=info.frame_rate, options=options)
            stream.width, stream.height, stream.pix_fmt = info.width, info.height, pixel_format
            stream.time_base = stream.codec_context.time_base = step
            stream.codec_context.sample_aspect_ratio = info.pixel_aspect
            for number, coverage in enumerate(list_coverages(document)):
                frame = _to_frame(coverage, pixel_format)
                frame.pts, frame.time_base = number, step
                for packet in stream.encode(frame):
                    container.mux(packet)
                count += 1
                on_progress(count)
            for packet in stream.encode(None):
                container.mux(packet)
        with av.open(str(path)) as container:
            written = sum(packet.size > 0 for packet in container.demux(video=0))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise FaceBlurError(f"The matte cannot be written: {getattr(error, 'strerror', None) or error}.") from error
    if written != count:
        raise FaceBlurError(f"The matte has {written} pictures instead of {count}.")


def write_matte_pictures(document: TrackDocument, folder: Path, stem: str, on_progress: Callable[[int], None]) -> None:
    """Write the coverages as grey PNG files to a folder, which is created: STEM.000001.png is the first frame."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, coverage in enumerate(list_coverages(document), 1):
        write_matte_picture(coverage, folder / f"{stem}.{number:06}.png")
        on_progress(number)


def write_matte_picture(coverage: Coverage, path: Path) -> None:
    """Write one coverage as a grey PNG file. Raises FaceBlurError if that fails."""
    import cv2

    done, data = cv2.imencode(".png", coverage)
    try:
        if not done:
            raise OSError(0, "it cannot be encoded")
        path.write_bytes(data.tobytes())
    except OSError as error:
        raise FaceBlurError(f"The matte {path.name} cannot be written: {error.strerror}.") from error


def _to_frame(coverage: Coverage, pixel_format: str) -> Any:
    import av

    if pixel_format == "bgra":
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(np.repeat(coverage[..., None], 4, 2)), format="bgra")
    # Limited range: grey from 64 to 940, colourless; alpha from 0 to 1023.
    wide = coverage.astype(np.uint32)
    frame = av.VideoFrame(coverage.shape[1], coverage.shape[0], pixel_format)
    neutral = np.full_like(wide, 512)
    luma, alpha = (wide * 876 + 127) // 255 + 64, (wide * 1023 + 127) // 255
    for plane, values in zip(frame.planes, (luma, neutral, neutral, alpha), strict=True):
        _write_plane(plane, values.astype("<u2"))
    frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc = 1, 1, 1, 1
    return frame


def _write_plane(plane: Any, values: NDArray[np.uint16]) -> None:
    rows = np.frombuffer(plane, "<u2").reshape(plane.height, -1)
    rows[:, : values.shape[1]] = values
