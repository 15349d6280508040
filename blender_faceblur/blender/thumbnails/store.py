# SPDX-License-Identifier: GPL-3.0-or-later
"""Thumbnails of the tracks' faces: made by a worker process and kept in memory, never in a file.

A thumbnail belongs to a frame and position in a source, not to a name. After tracks were renamed, split or detected
again, it is shown only for the track at that position.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import bpy
import bpy.utils.previews
import numpy as np
from bpy.app.handlers import persistent
from numpy.typing import NDArray

from ...core.document.editing import get_sample
from ...core.review.queue import choose_clearest
from ...core.types import Box, Ellipse, FaceBlurError, Track
from ...worker.client import build_thumbnails_request, run_thumbnails
from ...worker.protocol import Thumbnail, ThumbnailsRequest, Waiting
from ..common.footage import get_footage, get_frame_rate
from ..common.jobs import JOB, redraw
from ..cover.strips import get_mask, list_pairs
from ..masks.record import get_fingerprint
from ..review.queue import read_queue

_SIDE = 128
"""Width and height of a thumbnail in pixels."""

_ICON_SIDE = 32
"""Width and height of its icon in pixels, the size that Blender's lists draw."""

_TICK_S = 0.1
"""How often the timer reads finished thumbnails."""

_SETTLED_S = 1.0
"""How long after a correction the thumbnails that it made invalid are made again. Lowering it starts more processes."""

_MOST_A_TICK = 2
"""The most thumbnails that one tick takes. Raising it makes the window stutter."""

_SAME_PLACE = 0.5
"""How far a track may be from the position of its thumbnail, as a share of the smaller mean half axis."""


@dataclass(frozen=True, slots=True)
class FaceThumbnail:
    """A thumbnail: the source frame and position that it shows, and its icon. Without a window the icon is 0."""

    frame: int
    ellipse: Ellipse
    icon: int
    pixels: NDArray[np.uint8] = field(compare=False, repr=False)
    """Rows x columns x RGBA, from the lowest row."""


@dataclass(slots=True)
class ThumbnailStore:
    """All thumbnails. Only this module uses it. `forget` clears it, also before another project is opened and when the
    extension is disabled. `shown` has, by mask, the state that it was made for and the icon of each track. `lost` has
    the masks in which a face has no thumbnail, although others of its source have one."""

    previews: Any = None
    portraits: dict[str, list[FaceThumbnail]] = field(default_factory=dict)
    shown: dict[int, tuple[tuple[int, int], dict[str, int]]] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)
    changes: int = 0
    job: Generator[bool, None, None] | None = None


_STORE = ThumbnailStore()


def get_icon(mask: bpy.types.Mask, track: str) -> int:
    """The icon with the face of a track of a mask of ours; 0 if there is none yet. Fast enough for drawing."""
    if not _STORE.portraits:
        return 0
    stamp = (read_queue(mask).stamp, _STORE.changes)
    known = _STORE.shown.get(mask.session_uid)
    if known is None or known[0] != stamp:
        matched = _match(mask)
        icons = {name: portrait.icon for name, portrait in matched.items() if portrait is not None}
        known = _STORE.shown[mask.session_uid] = (stamp, icons)
        if _needs_more(mask, [name for name in matched if name not in icons]):
            _make_again_soon(mask)
    return known[1].get(track, 0)


def get_pixels(mask: bpy.types.Mask, track: str) -> tuple[int, NDArray[np.uint8]] | None:
    """The thumbnail of a track (rows x columns x RGBA, from the lowest row), with a number that changes with it.

    None if there is none yet. Fast enough for drawing.
    """
    icon = get_icon(mask, track)
    if not icon:
        return None
    portraits = _STORE.portraits.get(get_fingerprint(mask), ())
    return next(((icon, portrait.pixels) for portrait in portraits if portrait.icon == icon), None)


def get_picture(fingerprint: str, frame: int, ellipse: Ellipse) -> FaceThumbnail | None:
    """The thumbnail of a position in a source; None if there is none yet. Fast enough for drawing."""
    return next(
        (
            portrait
            for portrait in _STORE.portraits.get(fingerprint, ())
            if portrait.frame == frame and portrait.ellipse == ellipse
        ),
        None,
    )


def list_missing(mask: bpy.types.Mask) -> list[str]:
    """The names of the tracks, covered or not, that have no thumbnail."""
    return [name for name, portrait in _match(mask).items() if portrait is None]


def _needs_more(mask: bpy.types.Mask, names: list[str]) -> bool:
    """Whether thumbnails that an editor has made lack these tracks: one that was moved, or added since."""
    fingerprint = get_fingerprint(mask)
    return fingerprint in _STORE.portraits and any(
        get_picture(fingerprint, frame, ellipse) is None for frame, ellipse in _list_faces(mask, names)
    )


def _make_again_soon(mask: bpy.types.Mask) -> None:
    """Make a mask's missing thumbnails once its editor has paused. It only starts a timer, so drawing may call it."""
    _STORE.lost.add(mask.session_uid)
    if bpy.app.timers.is_registered(_make_lost):
        bpy.app.timers.unregister(_make_lost)
    bpy.app.timers.register(_make_lost, first_interval=_SETTLED_S)


def _make_lost() -> float | None:
    if _STORE.job is not None:
        return _SETTLED_S
    for scene in bpy.data.scenes:
        for strip, _, mask_strip in list_pairs(scene):
            uid = mask_strip.mask.session_uid
            if uid in _STORE.lost:
                _STORE.lost.remove(uid)
                # The list also works without thumbnails, and other messages say what is wrong with a file.
                with suppress(FaceBlurError):
                    start(scene, strip)
                # One process at a time.
                return _SETTLED_S if _STORE.lost else None
    _STORE.lost.clear()
    return None


def is_running() -> bool:
    return _STORE.job is not None


def start(scene: bpy.types.Scene, strip: bpy.types.Strip, places: Sequence[tuple[int, Ellipse]] = ()) -> int:
    """Start making the missing thumbnails of a strip's faces, and of `places` in its source; returns their number.

    In a window a timer continues the work; without one this waits until all are made. Raises FaceBlurError.
    """
    mask = get_mask(strip)
    if mask is None:
        raise FaceBlurError("Select a strip that is covered.")
    stop()
    faces = _list_faces(mask, list_missing(mask))
    faces += [place for place in places if place not in faces]
    if not faces:
        return 0
    # Raises now if a file is missing.
    get_footage(strip)
    job = _make(scene, strip, mask, faces, None if bpy.app.background else 0.0)
    if bpy.app.background:
        for _ in job:
            pass
    else:
        _STORE.job = job
        if not bpy.app.timers.is_registered(_tick):
            bpy.app.timers.register(_tick, first_interval=_TICK_S)
    return len(faces)


def stop() -> None:
    """End the process that makes thumbnails; finished ones stay."""
    if _STORE.job is not None:
        _STORE.job.close()
        _STORE.job = None


def forget() -> int:
    """Delete all thumbnails; returns their number."""
    stop()
    count = sum(map(len, _STORE.portraits.values()))
    if _STORE.previews is not None:
        bpy.utils.previews.remove(_STORE.previews)
    _STORE.previews = None
    _STORE.portraits.clear()
    _STORE.shown.clear()
    _STORE.lost.clear()
    _STORE.changes += 1
    return count


def _make(
    scene: bpy.types.Scene,
    strip: bpy.types.Strip,
    mask: bpy.types.Mask,
    faces: list[tuple[int, Ellipse]],
    wait_s: float | None,
) -> Generator[bool, None, None]:
    """A job that yields whether a thumbnail was made. It reads Blender's data now, because an undo may remove it."""
    fingerprint, footage = get_fingerprint(mask), get_footage(strip)
    request = build_thumbnails_request(
        footage.to_source_ref(get_frame_rate(scene), fingerprint),
        [(frame, _to_box(ellipse)) for frame, ellipse in faces],
        _SIDE,
    )
    return _run(request, fingerprint, faces, wait_s)


def _run(
    request: ThumbnailsRequest, fingerprint: str, faces: list[tuple[int, Ellipse]], wait_s: float | None
) -> Generator[bool, None, None]:
    for message in run_thumbnails(request, wait_s):
        if isinstance(message, Waiting):
            yield False
        else:
            frame, ellipse = faces[message.number]
            pixels = _read_pixels(message)
            icon = _add_icon(f"{fingerprint} {frame} {ellipse.cx:.0f} {ellipse.cy:.0f}", pixels)
            _STORE.portraits.setdefault(fingerprint, []).append(FaceThumbnail(frame, ellipse, icon, pixels))
            _STORE.changes += 1
            yield True


def _tick() -> float | None:
    made = 0
    try:
        while _STORE.job is not None and made < _MOST_A_TICK and next(_STORE.job):
            made += 1
    except StopIteration:
        _STORE.job = None
    except FaceBlurError as error:
        _STORE.job = None
        JOB.problems = [f"Thumbnails could not be made: {error}"]
    except BaseException:
        stop()
        raise
    if made or _STORE.job is None:
        redraw()
    return _TICK_S if _STORE.job is not None else None


def _list_faces(mask: bpy.types.Mask, names: list[str]) -> list[tuple[int, Ellipse]]:
    """The frame and position in which each of these tracks is seen best."""
    document = read_queue(mask).document
    if document is None:
        return []
    size = (document.source.width, document.source.height)
    wanted = set(names)
    clearest = (
        choose_clearest(track.samples, size)
        for track in (*document.tracks, *document.uncovered)
        if track.name in wanted
    )
    return [(sample.source_frame, sample.ellipse) for sample in clearest]


def _match(mask: bpy.types.Mask) -> dict[str, FaceThumbnail | None]:
    """The thumbnail of each track, by name; None if there is none."""
    document = read_queue(mask).document
    portraits = _STORE.portraits.get(get_fingerprint(mask), [])
    if document is None:
        return {}
    return {
        track.name: next((p for p in portraits if _shows_track(p, track)), None)
        for track in (*document.tracks, *document.uncovered)
        if track.samples
    }


def _shows_track(portrait: FaceThumbnail, track: Track) -> bool:
    sample = get_sample(track, portrait.frame)
    if sample is None:
        return False
    there, seen = sample.ellipse, portrait.ellipse
    least = _SAME_PLACE * min(there.rx + there.ry, seen.rx + seen.ry) / 2
    return math.hypot(there.cx - seen.cx, there.cy - seen.cy) < least


def _to_box(ellipse: Ellipse) -> Box:
    return (ellipse.cx - ellipse.rx, ellipse.cy - ellipse.ry, ellipse.cx + ellipse.rx, ellipse.cy + ellipse.ry)


def _read_pixels(message: Thumbnail) -> NDArray[np.uint8]:
    """The picture in a message. Raises FaceBlurError if it has the wrong number of pixels."""
    pixels = np.frombuffer(base64.b64decode(message.pixels), np.uint8)
    if message.side != _SIDE or pixels.size != 3 * _SIDE**2:
        raise FaceBlurError("The process that makes thumbnails sent a damaged picture.")
    picture = np.full((_SIDE, _SIDE, 4), 255, np.uint8)
    # Blender counts rows from the bottom.
    picture[..., :3] = pixels.reshape(_SIDE, _SIDE, 3)[::-1]
    return picture


def _add_icon(name: str, picture: NDArray[np.uint8]) -> int:
    """Make an icon of a picture."""
    part = _SIDE // _ICON_SIDE
    small = picture.reshape(_ICON_SIDE, part, _ICON_SIDE, part, 4).mean(axis=(1, 3)).astype(np.uint8)
    if _STORE.previews is None:
        _STORE.previews = bpy.utils.previews.new()
    preview = _STORE.previews.get(name) or _STORE.previews.new(name)
    preview.image_size, preview.icon_size = (_SIDE, _SIDE), (_ICON_SIDE, _ICON_SIDE)
    preview.image_pixels.foreach_set(_to_words(picture))
    preview.icon_pixels.foreach_set(_to_words(small))
    return int(preview.icon_id)


def _to_words(picture: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Pack the four bytes of each pixel into one number, as Blender's previews expect them."""
    return np.ascontiguousarray(picture).view(np.int32).ravel()


@persistent
def _forget_project(*_: object) -> None:
    forget()


def register_handlers() -> None:
    bpy.app.handlers.load_pre.append(_forget_project)


def unregister_handlers() -> None:
    bpy.app.handlers.load_pre.remove(_forget_project)
    for timer in (_tick, _make_lost):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
    forget()
