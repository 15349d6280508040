# SPDX-License-Identifier: GPL-3.0-or-later
"""Which stream of a film Blender shows, how long it is, and what of it an ordinary film does not keep.

The rules are those of Blender's movie_read.cc, as in `movie.py`.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..core.types import FaceBlurError

if TYPE_CHECKING:
    import av

PQ, _HLG = 16, 18
_BT2020, _P3_DCI, _P3_DISPLAY = 9, 11, 12
ALPHA_LOST = "transparency is not kept in an H.264 film"


def get_stream(container: Any, name: str) -> Any:
    """The stream that Blender shows: the first video."""
    videos = container.streams.video
    if all(is_cover(stream) for stream in videos):
        raise FaceBlurError(
            f"{name}: this file contains only sound"
            if container.streams.audio
            else f"{name}: this file contains no video"
        )
    if videos[0].codec_context is None:
        raise FaceBlurError(f"{name}: there is no decoder for the film's codec")
    if is_cover(videos[0]):
        raise FaceBlurError(
            f"{name}: a cover picture precedes the film, and Blender may show it instead; remove it first"
        )
    return videos[0]


def is_cover(stream: Any) -> bool:
    import av.stream

    return av.stream.Disposition.attached_pic in stream.disposition


def count_frames(container: Any, stream: Any, rate: Fraction) -> int:
    """The strip's length (ffmpeg_frame_count_get in Blender's movie_read.cc)."""
    fps = float(rate)
    if stream.duration is not None:
        return round_half_away(stream.duration * float(stream.time_base) * fps)
    if container.duration is not None:
        starts = [float((s.start_time or 0) * s.time_base) for s in (stream, *container.streams.audio[:1])]
        late = max(starts[0] - (starts[1] if len(starts) > 1 else 0.0), 0.0)
        return round_half_away((container.duration / 1e6 - late) * fps)
    return int(stream.frames)


def round_half_away(value: float) -> int:
    return math.floor(value + 0.5) if value >= 0 else -math.floor(0.5 - value)


def get_rotation(container: Any, frame: av.VideoFrame) -> int:
    """Degrees clockwise, 0 <= angle < 360. Blender uses only the container's rotation, not the video stream's."""
    if not {"mov", "mp4", "matroska"} & set(container.format.name.split(",")):
        return 0
    return int(-frame.rotation % 360)


def list_losses(frame: av.VideoFrame, rotation: int) -> list[str]:
    """Properties that an 8-bit BT.709 H.264 file does not keep, and those that Blender shows unlike players."""
    warnings = []
    form = frame.format
    bits = max(component.bits for component in form.components)
    if int(frame.color_trc) in (PQ, _HLG):
        curve = "PQ" if int(frame.color_trc) == PQ else "HLG"
        warnings.append(f"HDR ({curve}): brightness beyond the standard range is not kept in an 8-bit H.264 film")
    if int(frame.color_primaries) in (_BT2020, _P3_DCI, _P3_DISPLAY):
        warnings.append("wide-gamut colours: colours outside BT.709 are not kept in an 8-bit H.264 film")
    if bits > 8:
        warnings.append(f"{bits}-bit colour is not kept in an 8-bit H.264 film")
    if form.name.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya")):
        warnings.append(ALPHA_LOST)
    # A film of odd size is written with full colour resolution, because H.264 has no other way to store it.
    odd = frame.width % 2 or frame.height % 2
    if odd or form.is_rgb or len(form.components) < 3:
        pass
    elif form.chroma_width(64) == 64:
        warnings.append("full colour resolution (4:4:4) is not kept in an ordinary H.264 film")
    elif form.chroma_height(64) == 64:
        warnings.append("colour resolution 4:2:2 becomes 4:2:0 in an ordinary H.264 film")
    if frame.interlaced_frame:
        warnings.append("interlaced film: Blender combines both fields in one picture")
    if rotation not in (0, 90, 180, 270):
        warnings.append(f"the file asks for a rotation by {rotation} degrees, which Blender ignores")
    return warnings


def list_streams(container: Any, stream: Any) -> list[str]:
    others = [other for other in container.streams.video if other.index != stream.index and not is_cover(other)]
    return [f"the file contains {len(others) + 1} video streams: only the first is shown and blurred"] if others else []


def format_rate(rate: Fraction) -> str:
    return f"{float(rate):.3f}".rstrip("0").rstrip(".")
