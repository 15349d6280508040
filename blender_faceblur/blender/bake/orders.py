# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan what has to be painted for covered and baked strips, and find the sources of baked strips."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy

from ...core.cover.effects import EffectSettings
from ...core.translation import translate
from ...core.types import FaceBlurError
from ...files.baked import recall_source
from ...sources import compute_fingerprint
from ..common.footage import KINDS, Footage, get_footage, get_shown_footage
from ..common.marks import get_modifier
from ..cover.baked import BakedRecord, compute_stamp, count_edits, evaluate, is_baked, is_evaluated
from ..cover.covering import compute_largest_face_px
from ..cover.strips import get_mask
from ..guard.checks import asks_for_review, check_strip
from ..masks.changes import hold
from ..masks.document import load_document
from ..masks.mask import extend_frame_range
from ..masks.outlines import check_readable
from ..masks.reading import adopt_layers
from ..masks.record import DamagedRecordError, MaskRecord
from .effects import read_painted_effect

KEY = "faceblur_bake"
"""Custom property of a mask: the key of its source's path, and the beginning of its films' names."""

_KEY_FORM = re.compile(r"[0-9a-f]{16}")


@dataclass(slots=True)
class BakeOrder:
    """A film to make, or covered pictures, by names, because an editor may undo, rename and delete meanwhile."""

    source: Footage
    written: str
    """The source's path as the strip has it, see `read_written`."""
    fingerprint: str
    mask: str
    group: str
    key: str
    effect: EffectSettings
    face_px: float
    frames: int
    stamp: str
    strips: list[tuple[str, str]]
    """Scene and name of the strips that will show the film."""
    edits: int = 0
    """How often the mask had been edited when the order was made, see `count_edits`."""
    known: str = ""
    """What the strips' film covers, if it is intact and only the mask's shapes may have changed since."""


def plan(strips: Iterable[bpy.types.Strip]) -> list[BakeOrder]:
    """The films to be made: one for all strips with the same source, mask and effect. Baked strips whose film is up to
    date need none."""
    orders: dict[tuple[Any, ...], BakeOrder] = {}
    for strip in strips:
        try:
            order = plan_baked(strip) if is_baked(strip) else _plan_covered(strip)
        except DamagedRecordError as error:
            raise FaceBlurError(
                translate("'{name}': {error}. Detect its faces again.", name=strip.name, error=error)
            ) from error
        if order is None:
            continue
        key = order.source, order.mask, order.effect, order.face_px
        orders.setdefault(key, order)
        if orders[key] is not order:
            orders[key].strips += order.strips
            orders[key].known = order.known if orders[key].known == order.known else ""
    return list(orders.values())


def _plan_covered(strip: bpy.types.Strip) -> BakeOrder:
    scene = strip.id_data
    if scene.library is not None:
        raise FaceBlurError(
            translate(
                "'{name}' is in the linked scene '{scene}'. Make the scene local first.",
                name=strip.name,
                scene=scene.name,
            )
        )
    if strip.type not in KINDS:
        raise FaceBlurError(translate("'{name}' is not a movie or image strip.", name=strip.name))
    footage, mask, modifier = get_footage(strip), get_mask(strip), get_modifier(strip)
    if mask is None or modifier is None:
        raise FaceBlurError(translate("'{name}' has lost its mask. Detect its faces again.", name=strip.name))
    extend_frame_range(mask)
    adopt_layers(mask)
    # After the bake, nobody asks for a review any more.
    for fault in check_strip(scene, strip, asks_for_review()):
        if fault.shows:
            raise FaceBlurError(translate("'{name}' would show faces: {text}", name=strip.name, text=fault.text))
    ensure_key(mask)
    return make_order(strip, footage, read_written(strip), mask, modifier.node_group)


def plan_baked(strip: bpy.types.Strip) -> BakeOrder | None:
    """The order for a baked strip; None if its film is up to date. Raises FaceBlurError."""
    record = BakedRecord.load(strip)
    film = find_film(strip)
    known = record.outlines if film is not None and compute_fingerprint(film.path, film.files) == record.film else ""
    if record.mask is None or record.group is None:
        if known:
            return None
        raise FaceBlurError(
            translate(
                "'{name}' has lost its mask or its effect. Unbake it and detect its faces again.", name=strip.name
            )
        )
    extend_frame_range(record.mask)
    adopt_layers(record.mask)
    if compute_stamp(record.mask, record.group) != record.stamp:
        known = ""
    if known and is_evaluated(record.mask) and evaluate(record.mask, record.frames) == known:
        return None
    source, written = find_source(strip, record)
    ensure_key(record.mask)
    # The other Blender evaluates the mask, because that would block the window.
    return replace(make_order(strip, source, written, record.mask, record.group), known=known)


def make_order(
    strip: bpy.types.Strip, source: Footage, written: str, mask: bpy.types.Mask, group: bpy.types.NodeTree
) -> BakeOrder:
    """The order for one strip that shows `source`, whose mask and effect these are. Raises FaceBlurError if they cannot
    be painted."""
    check_readable(mask)
    document = load_document(mask)
    face_px = compute_largest_face_px(document)
    record = MaskRecord.load(mask)
    return BakeOrder(
        source,
        written,
        record.fingerprint,
        mask.name,
        group.name,
        _get_key(mask) or secrets.token_hex(8),
        read_painted_effect(strip.name, group, record.size, face_px, document.source.kind != "movie"),
        face_px,
        document.source.frame_count,
        compute_stamp(mask, group),
        [(strip.id_data.name, strip.name)],
        count_edits(mask),
    )


def ensure_key(mask: bpy.types.Mask) -> None:
    """Give a mask the key by which its films are found again by later bakes, if it is saved with the project."""
    if not _get_key(mask):
        with hold(mask):
            mask[KEY] = secrets.token_hex(8)
            bpy.context.view_layer.update()


def _get_key(mask: bpy.types.Mask) -> str:
    """The key of a mask; empty if it has none, or none of ours: a file may come from a stranger, and the key becomes a
    part of the names of files."""
    key = mask.get(KEY)
    return key if isinstance(key, str) and _KEY_FORM.fullmatch(key) else ""


def find_source(strip: bpy.types.Strip, record: BakedRecord, source: Path | None = None) -> tuple[Footage, str]:
    """The source of a baked strip, and how the project wrote its path. `source` is a file that the user chose, of a
    sequence one of the pictures.

    Raises FaceBlurError if it is not there, or has changed.
    """
    known = recall_source(record.key)
    places = [Footage(known.path, known.files)] if known is not None else []
    if source is not None:
        places.append(_choose_footage(strip, source, known.files if known is not None else ()))
    there = [place for place in places if place.path.exists()]
    if not there:
        raise FaceBlurError(
            translate(
                "The source of '{name}' is not where it was, or not known on this computer. The strip stays baked. "
                "Choose the file to unbake it.",
                name=strip.name,
            )
        )
    found = next((place for place in there if _is_source(place, record)), None)
    if found is None:
        raise FaceBlurError(
            translate(
                "{file} is not the source of '{name}', or was changed. The strip stays baked.",
                file=there[-1].name,
                name=strip.name,
            )
        )
    if known is not None and resolve_path(known.written) == found.path:
        return found, known.written
    is_relative = known is not None and known.written.startswith("//")
    return found, bpy.path.relpath(str(found.path)) if is_relative else str(found.path)


def _choose_footage(strip: bpy.types.Strip, source: Path, files: Sequence[str]) -> Footage:
    """The footage that a chosen file stands for: of a sequence, the pictures `files` in its folder, or, if their names
    are not known, all pictures of its kind."""
    if strip.type != "IMAGE" or len(strip.elements) == 1:
        return Footage(source)
    if not files and source.parent.is_dir():
        files = sorted(path.name for path in source.parent.iterdir() if path.suffix.lower() == source.suffix.lower())
    return Footage(source.parent, tuple(files))


def _is_source(place: Footage, record: BakedRecord) -> bool:
    with suppress(FaceBlurError):
        return compute_fingerprint(place.path, place.files) == record.source
    return False


def is_source_there(strip: bpy.types.Strip) -> bool:
    """Whether the source of a baked strip is where it was, unchanged."""
    try:
        find_source(strip, BakedRecord.load(strip))
    except FaceBlurError:
        return False
    return True


def read_written(strip: bpy.types.Strip) -> str:
    """The path of what a strip shows, as the strip has it: of a sequence its folder."""
    if strip.type == "MOVIE":
        return str(strip.filepath)
    return str(strip.directory) + (str(strip.elements[0].filename) if len(strip.elements) == 1 else "")


def find_film(strip: bpy.types.Strip) -> Footage | None:
    """What a strip shows; None if a file is missing."""
    try:
        return get_shown_footage(strip)
    except FaceBlurError:
        return None


def list_strips() -> Iterator[bpy.types.Strip]:
    """The strips of all scenes, including those inside meta strips."""
    for scene in bpy.data.scenes:
        if scene.sequence_editor is not None:
            yield from scene.sequence_editor.strips_all


def resolve_path(path: str) -> Path:
    """A path of the project, absolute."""
    return Path(bpy.path.abspath(path))
