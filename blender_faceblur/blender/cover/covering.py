# SPDX-License-Identifier: GPL-3.0-or-later
"""Cover the faces of a strip, change the effect, and remove the cover: used by the panel, the command and the job."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields
from typing import Any

import bpy
import numpy as np

from ...core.cover.effects import EffectSettings
from ...core.translation import translate
from ...core.types import FaceBlurError, TrackDocument
from ..common.footage import Footage, check_document, compute_shown, get_footage
from ..common.marks import BAKED, get_modifier
from ..common.speeds import has_several_speeds, is_speed_unknown
from ..masks.changes import write_analysis
from ..masks.document import compute_widest_px, get_document_text, load_document
from ..masks.record import DamagedRecordError, MaskRecord, get_fingerprint, has_record, list_own_masks
from .compositing import EFFECT_MARK, MASK_MARK, compute_mask_unit_px
from .effects import EFFECTS
from .strips import CoverBatch, cover_strip, cover_together, get_mask, uncover_strip

LEAST_FACE_SHARE = 1 / 8
"""The effect is never finer than a face of this width needs, as a share of the picture's height."""

MUST_BE_COVERED = "faceblur_must_be_covered"
"""Custom property of a strip that was covered once, or that an editor wants covered."""

UNCOVERED_ON_PURPOSE = "faceblur_left_bare"
"""Custom property of a strip whose cover an editor removed, or in which nothing has to be covered."""


def apply_analysis(
    scene: bpy.types.Scene,
    names: Sequence[str],
    footage: Footage,
    document: TrackDocument,
    effect: EffectSettings,
    span: tuple[int, int] | None = None,
) -> list[str]:
    """Cover the document's faces, with one mask, in the strips `names` that still exist and show `footage`.

    Strips of one source share a mask, so a correction applies to them all. An earlier analysis is replaced, but an
    editor's changes are kept, see `editing.merge_analysis`. `span` is the half-open range of source frames that the
    document covers; None if it covers all. Frames outside of it that were never analysed are covered completely.

    Returns a sentence for each of the other strips.
    """
    problems, mask = [], None
    with cover_together(scene) if scene.sequence_editor is not None else nullcontext() as batch:
        for name in names:
            strip = scene.sequence_editor.strips_all.get(name) if scene.sequence_editor is not None else None
            try:
                if strip is None:
                    raise FaceBlurError(
                        translate("The strip '{name}' no longer exists, so it was not covered.", name=name)
                    )
                if get_footage(strip) != footage:
                    raise FaceBlurError(
                        translate(
                            "The strip '{name}' now shows another file, so it was not covered. Detect its faces again.",
                            name=name,
                        )
                    )
                check_document(scene, strip, document)
                if mask is None:
                    mask, document = _write_mask(scene, strip, document, span)
                put_cover(scene, strip, mask, effect, document, batch)
            except FaceBlurError as error:
                problems.append(str(error))
    return problems


def load_covers(scene: bpy.types.Scene, names: Sequence[str]) -> list[TrackDocument]:
    """The tracks of all that these strips cover, each mask's once."""
    masks = {mask.name: mask for name in names for mask in (get_mask(scene.sequence_editor.strips_all[name]),) if mask}
    return [load_document(mask) for mask in masks.values()]


def cover_footage(
    scene: bpy.types.Scene, strip: bpy.types.Strip, document: TrackDocument, effect: EffectSettings
) -> bpy.types.Mask:
    """Cover the faces of a document about the whole source in `strip`, as `apply_analysis` does; returns the mask."""
    mask, document = _write_mask(scene, strip, document)
    put_cover(scene, strip, mask, effect, document)
    return mask


def _write_mask(
    scene: bpy.types.Scene, strip: bpy.types.Strip, document: TrackDocument, span: tuple[int, int] | None = None
) -> tuple[bpy.types.Mask, TrackDocument]:
    """Write the document into the mask of the strip's source. Returns the mask and the document that it now holds."""
    source = document.source
    canvas = (scene.render.resolution_x, scene.render.resolution_y)
    unit_px = compute_mask_unit_px((source.width, source.height), canvas)
    span = span or (0, source.frame_count)
    mask = _choose_mask(strip, source.fingerprint, unit_px)
    return write_analysis(mask, f"{strip.name} faces", document, unit_px, span, round(strip.frame_start))


def put_cover(
    scene: bpy.types.Scene,
    strip: bpy.types.Strip,
    mask: bpy.types.Mask,
    effect: EffectSettings,
    document: TrackDocument,
    batch: CoverBatch | None = None,
) -> None:
    """Cover `strip` with `effect`, using a mask of ours, which stays unchanged, and holds `document`. For `batch` see
    `cover_strip`."""
    if batch is None:
        with cover_together(scene) as own:
            put_cover(scene, strip, mask, effect, document, own)
        return
    source = document.source
    group = batch.get_groups(effect).ensure(
        f"Face Blur: {strip.name}",
        mask,
        (source.width, source.height),
        MaskRecord.load(mask).unit_px,
        compute_largest_face_px(document),
        has_alpha=source.kind != "movie",
    )
    cover_strip(scene, strip, mask, group, batch)
    strip[MUST_BE_COVERED] = True
    strip.pop(UNCOVERED_ON_PURPOSE, None)


def uncover(scene: bpy.types.Scene, *strips: bpy.types.Strip) -> None:
    """Remove our modifier, Mask strip and node group from strips, and the masks that no other strip uses."""
    # Keep names, because removing one strip may move others in memory.
    names, masks = [strip.name for strip in strips], []
    with cover_together(scene) as batch:
        for name in names:
            strip = scene.sequence_editor.strips_all[name]
            strip.pop(MUST_BE_COVERED, None)
            strip[UNCOVERED_ON_PURPOSE] = True
            masks.append(get_mask(strip))
            uncover_strip(strip, batch)
    # Deleting a Mask strip does not decrease the mask's user count.
    used = {_get_used(other) for other in _list_strips()}
    for mask in set(masks) - used - {None}:
        text = get_document_text(mask)
        bpy.data.masks.remove(mask)
        if text is not None:
            bpy.data.texts.remove(text)


def _get_used(strip: bpy.types.Strip) -> Any:
    """The mask that a strip shows, or gets back when it is unbaked; None if there is none."""
    if strip.type == "MASK":
        return strip.mask
    stored = strip.get(BAKED)
    return stored.get("mask") if hasattr(stored, "get") else None


def is_left_uncovered(strip: bpy.types.Strip) -> bool:
    """Whether an editor leaves a strip uncovered on purpose."""
    return bool(strip.get(UNCOVERED_ON_PURPOSE)) and not strip.get(MUST_BE_COVERED)


def leave_uncovered(strip: bpy.types.Strip, on_purpose: bool) -> None:
    """Mark a strip without a cover as one that is left uncovered on purpose, or remove the mark."""
    if on_purpose:
        strip.pop(MUST_BE_COVERED, None)
        strip[UNCOVERED_ON_PURPOSE] = True
    else:
        strip.pop(UNCOVERED_ON_PURPOSE, None)


def has_foreign_mask(strip: bpy.types.Strip) -> bool:
    """Whether a strip's cover has a Mask strip without a mask of ours. Without a mask, faces show."""
    modifier = get_modifier(strip)
    return modifier is not None and modifier.input_mask_strip is not None and get_mask(strip) is None


def has_unanalysed(strip: bpy.types.Strip, mask: bpy.types.Mask) -> bool:
    """Whether a strip shows source frames that were not analysed."""
    spans, length = MaskRecord.load(mask).analysed, mask.frame_end - mask.frame_start
    shown = compute_shown(strip, int(strip.frame_final_start), int(strip.frame_final_end), length)
    return bool(spans) and shown is not None and not any(a <= shown[0] and shown[1] <= b for a, b in spans)


@dataclass(frozen=True, slots=True)
class NewPart:
    """Half-open source frames that were never analysed."""

    frames: tuple[int, int]
    span: tuple[int, int]
    """The same frames, and some that were analysed before and after them."""


def find_new_parts(
    strips: Sequence[bpy.types.Strip], preset: str, margin: float, beside: int, context: int
) -> list[NewPart]:
    """The source frames that strips show and that were never analysed, though others of their source were.

    A part reaches up to `beside` frames beyond its strip, and its span `context` frames into what was analysed. Empty
    if nothing is missing, if the strips have no common mask, or if that was analysed with another preset or margin.
    """
    mask = get_mask(strips[0])
    if mask is None or any(get_mask(strip) != mask for strip in strips):
        return []
    try:
        before = load_document(mask)
    except FaceBlurError:
        return []
    if (before.preset, before.margin) != (preset, margin):
        return []
    length = mask.frame_end - mask.frame_start
    wanted = np.zeros(length + 2, np.bool_)
    for strip in strips:
        shown = compute_shown(strip, int(strip.frame_final_start), int(strip.frame_final_end), length)
        # What is not shown is analysed beside what is, but nothing is analysed for it alone.
        if shown is not None and has_unanalysed(strip, mask):
            wanted[1 + max(shown[0] - beside, 0) : 1 + min(shown[1] + beside, length)] = True
    for start, stop in before.analysed or [(0, length)]:
        wanted[1 + start : 1 + stop] = False
    edges = np.flatnonzero(wanted[1:] != wanted[:-1]).tolist()
    begins, ends = {start for start, _ in before.analysed}, {stop for _, stop in before.analysed}
    return [
        NewPart(
            (start, stop),
            (
                max(start - context, 0) if start in ends else start,
                min(stop + context, length) if stop in begins else stop,
            ),
        )
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    ]


def list_masks_of(fingerprint: str) -> list[bpy.types.Mask]:
    """Our masks for the source with this fingerprint. Those whose record is damaged are left out."""
    return [mask for mask in list_own_masks() if _is_for(mask, fingerprint)]


def _is_for(mask: bpy.types.Mask, fingerprint: str) -> bool:
    with suppress(DamagedRecordError):
        return get_fingerprint(mask) == fingerprint
    return False


def find_lost_mask(strip: bpy.types.Strip) -> bpy.types.Mask | None:
    """The mask of a cover whose Mask strip is gone; None if there is none."""
    modifier = get_modifier(strip)
    mask = modifier.node_group.get(MASK_MARK) if modifier is not None else None
    return mask if isinstance(mask, bpy.types.Mask) and has_record(mask) else None


def lost_mask_to_speed(strip: bpy.types.Strip) -> bool:
    """Whether a strip whose cover has no Mask strip has speeds that a Mask strip cannot have, as far as is known."""
    lost = find_lost_mask(strip)
    return has_several_speeds(strip) and (lost is None or is_speed_unknown(strip, lost.frame_end - lost.frame_start))


def find_mask_of_footage(footage: Footage) -> bpy.types.Mask | None:
    """The mask of another strip, in any scene, that shows the same files; None if there is none."""
    for strip in _list_strips():
        mask = get_mask(strip)
        if mask is not None:
            with suppress(FaceBlurError):
                if get_footage(strip) == footage:
                    return mask
    return None


def _list_strips() -> Iterator[bpy.types.Strip]:
    """The strips of all scenes, including those inside meta strips."""
    for scene in bpy.data.scenes:
        if scene.sequence_editor is not None:
            yield from scene.sequence_editor.strips_all


def read_effect(strip: bpy.types.Strip) -> EffectSettings | None:
    """The settings of a strip's cover; None if it has no cover."""
    modifier = get_modifier(strip)
    return read_group_effect(modifier.node_group) if modifier is not None else None


def read_group_effect(group: bpy.types.NodeTree) -> EffectSettings | None:
    """The settings that a strip's node group was made with; None if they are lost."""
    stored = group.get(EFFECT_MARK)
    # A file may come from a stranger, or from another version.
    if not hasattr(stored, "to_dict"):
        return None
    stored = stored.to_dict()
    kinds = {field.name: type(getattr(EffectSettings(), field.name)) for field in fields(EffectSettings)}
    kept = {
        name: kind(stored[name])
        for name, kind in kinds.items()
        if isinstance(stored.get(name), (str,) if kind is str else (bool, int, float))
    }
    return EffectSettings(**kept) if any(kept.get("kind") == known.name for known in EFFECTS) else None


def compute_largest_face_px(document: TrackDocument) -> float:
    """Width of the document's widest face, without the margin, and at least `LEAST_FACE_SHARE` of the picture's height.

    The minimum keeps the effect strong on a face that an editor adds later, and on the whole picture if all of it is
    covered because the mask is gone.
    """
    return max(LEAST_FACE_SHARE * document.source.height, compute_widest_px(document))


def get_picture_numbers(mask: bpy.types.Mask) -> tuple[tuple[int, int], float, float]:
    """The size of a mask's picture, the unit of its coordinates in pixels, and `compute_largest_face_px` of its tracks.

    Reads the tracks document only if an earlier version made the mask, because that takes a second for a long film.
    Raises FaceBlurError if the document is lost.
    """
    record = MaskRecord.load(mask)
    widest = record.widest_px if record.widest_px > 0 else compute_widest_px(load_document(mask))
    return record.size, record.unit_px, max(LEAST_FACE_SHARE * record.size[1], widest)


def _fits(mask: bpy.types.Mask, unit_px: float) -> bool:
    with suppress(DamagedRecordError):
        return math.isclose(MaskRecord.load(mask).unit_px, unit_px, rel_tol=1e-6)
    return False


def _choose_mask(strip: bpy.types.Strip, fingerprint: str, unit_px: float) -> bpy.types.Mask | None:
    """The mask to write into: one for the same source that fits the canvas, preferably the strip's own."""
    own = get_mask(strip)
    fitting = [mask for mask in list_masks_of(fingerprint) if _fits(mask, unit_px)]
    return own if own in fitting else next(iter(fitting), None)
