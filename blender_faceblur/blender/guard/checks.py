# SPDX-License-Identifier: GPL-3.0-or-later
"""Find covers that would show faces before a render starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import bpy

from ...core.cover.effects import EffectSettings
from ...core.document.tracks_file import from_json
from ...core.review.groups import count_left
from ...core.translation import count, mark, translate
from ...core.types import FaceBlurError, TrackStatus
from ...files.baked import recall_source
from ...sources import compute_fingerprint
from ..common.curves import list_curves
from ..common.footage import KINDS, Footage, get_footage, get_shown_footage, list_hidden
from ..common.marks import MARK, get_modifier
from ..cover.baked import BakedRecord, explain_change, is_baked
from ..cover.covering import (
    MUST_BE_COVERED,
    UNCOVERED_ON_PURPOSE,
    cover_footage,
    find_lost_mask,
    find_mask_of_footage,
    has_foreign_mask,
    has_unanalysed,
    list_masks_of,
    lost_mask_to_speed,
    put_cover,
    read_effect,
)
from ..cover.fast_playback import is_drawn
from ..cover.issues import SpeedSources, list_cover_issues
from ..cover.strips import get_mask, is_out_of_speed, is_out_of_time, sync_mask_strip
from ..masks.document import load_document
from ..masks.record import MaskRecord, get_fingerprint, get_picture_size, list_own_masks, list_unreliable_tracks
from ..preferences.properties import get_preferences
from ..review.queue import get_span
from .node_groups import explain_broken_group, explain_broken_part, has_unit, list_groups

_UNDETECTED = (
    "Its faces were never detected. Detect them, or use Leave Uncovered if nothing in the strip has to be covered."
)


_NEUTRAL = {"color_multiply": 1.0, "blend_alpha": 1.0, "use_flip_x": False, "use_flip_y": False}


_NEUTRAL_TRANSFORM = {"offset_x": 0.0, "offset_y": 0.0, "scale_x": 1.0, "scale_y": 1.0, "rotation": 0.0}


_IDENTITIES: dict[Footage, tuple[tuple[tuple[int, int], ...], str]] = {}
"""Sizes and modification times of a footage's files, and the fingerprint that they had then. Lasts as long as the
process."""


@dataclass(frozen=True, slots=True)
class CoverFault:
    """A fault of a strip's cover.

    `shows` is True if a render would show faces; otherwise the cover hides more than it should, or needs a look.
    """

    scene: str
    strip: str
    text: str
    shows: bool
    repair: bool = False
    """Whether `repair_strip` can fix it."""

    in_preview: bool = False
    """Whether faces would show only in the preview, and in renders of the preview."""

    undetected: bool = False
    """Whether the fault is that faces were never detected in the strip."""


def check_scene(scene: bpy.types.Scene, with_review: bool = False, with_undetected: bool = False) -> list[CoverFault]:
    """The faults of all covers that a render of the scene can show, including those of scenes within it.

    With `with_review`, items that have not been reviewed count as faces that show. With `with_undetected`, so do strips
    in which faces were never detected, unless an editor leaves them uncovered on purpose.
    """
    faults: list[CoverFault] = []
    hidden: dict[str, set[str]] = {}
    shared = _Shared()
    for owner, strip in list_rendered(scene):
        if with_undetected and owner.name not in hidden:
            hidden[owner.name] = list_hidden(owner)
        faults += check_strip(
            owner, strip, with_review, with_undetected and strip.name not in hidden[owner.name], shared
        )
    return faults


@dataclass(slots=True)
class _Shared:
    """What is found once for all strips of a check."""

    groups: dict[str, str] = field(default_factory=dict)
    """See `_explain_broken_part`."""
    sources: dict[str, SpeedSources] = field(default_factory=dict)
    """By the scene's name."""

    def get_sources(self, scene: bpy.types.Scene) -> SpeedSources:
        if scene.name not in self.sources:
            self.sources[scene.name] = SpeedSources.find(scene)
        return self.sources[scene.name]


def check_animation(scene: bpy.types.Scene) -> list[CoverFault]:
    """What an editor must know before the scene's animation is rendered: the faults of all covers, and the strips in
    its frames in which faces were never detected."""

    def is_in_range(fault: CoverFault) -> bool:
        if fault.scene != scene.name:
            return True
        strip = scene.sequence_editor.strips_all[fault.strip]
        return bool(strip.frame_final_start <= scene.frame_end and strip.frame_final_end > scene.frame_start)

    faults = check_scene(scene, asks_for_review(), with_undetected=True)
    return [fault for fault in faults if not fault.undetected or is_in_range(fault)]


def check_strip(
    scene: bpy.types.Scene,
    strip: bpy.types.Strip,
    with_review: bool = False,
    with_undetected: bool = False,
    shared: _Shared | None = None,
) -> list[CoverFault]:
    """The faults of one strip's cover. A strip that was never covered and need not be has one only with
    `with_undetected`. `shared` is for the check of several strips between which nothing changes."""
    try:
        return _list_faults(scene, strip, with_review, with_undetected, shared or _Shared())
    except Exception as error:  # noqa: BLE001  (an unforeseen error must not show a face either)
        # Blender only prints what a handler raises, and goes on rendering.
        reported = " ".join(f"{type(error).__name__}: {error}".split())
        return [
            CoverFault(
                scene.name,
                strip.name,
                translate("The data of its cover in this file is damaged ({reported}).", reported=reported),
                shows=True,
            )
        ]


def _list_faults(  # noqa: C901
    scene: bpy.types.Scene, strip: bpy.types.Strip, with_review: bool, with_undetected: bool, shared: _Shared
) -> list[CoverFault]:
    faults: list[CoverFault] = []

    def add_fault(text: str, shows: bool = True, repair: bool = True, in_preview: bool = False) -> None:
        faults.append(CoverFault(scene.name, strip.name, translate(text), shows, repair, in_preview))

    modifier = get_modifier(strip)
    if is_baked(strip):
        for text, shows in _list_baked_faults(strip):
            add_fault(text, shows, repair=False)
        return faults
    if modifier is None:
        if strip.get(MUST_BE_COVERED):
            add_fault("It has no cover.", repair=_get_mask_for(strip) is not None)
        elif not strip.get(UNCOVERED_ON_PURPOSE) and _is_analysed(strip):
            add_fault("Its file was analysed, but it has no cover.")
        elif not strip.get(UNCOVERED_ON_PURPOSE) and with_undetected:
            faults.append(CoverFault(scene.name, strip.name, _UNDETECTED, shows=True, undetected=True))
        return faults
    if modifier.mute or not modifier.enable:
        add_fault("Its cover is switched off.")
    if not getattr(modifier, "show_preview", True) and not is_drawn(strip):
        add_fault("Its cover is not in the preview.", shows=False, in_preview=True)
    for name in ("mute", "enable"):
        if list_animation(scene, modifier.path_from_id(name)):
            add_fault(translate("Its cover's '{name}' is animated.", name=name), repair=False)
    broken = explain_broken_group(modifier.node_group, shared.groups)
    if broken:
        add_fault(broken)
    for text, repair in list_cover_issues(scene, strip, shared.get_sources(scene)):
        add_fault(text, repair=repair)
    mask_strip, mask = modifier.input_mask_strip, get_mask(strip)
    if modifier.input_mask_type != "STRIP" or modifier.mask_time != "ABSOLUTE":
        add_fault("Its cover does not take the mask from its Mask strip.")
    elif has_foreign_mask(strip):
        add_fault(
            "Its Mask strip has lost its mask.",
            repair=_get_mask_for(strip) is not None or _get_tracks(strip) is not None,
        )
    elif mask is None and lost_mask_to_speed(strip):
        add_fault(
            "Its mask cannot have its speed: the whole picture is covered. Give all that it shows one constant "
            "speed, then use Update.",
            shows=False,
            repair=False,
        )
    elif mask is None:
        add_fault("Its mask is lost: the whole picture is covered.", shows=False)
    else:
        _check_mask(scene, strip, mask_strip, mask, add_fault)
        if has_unanalysed(strip, mask):
            add_fault(
                "Some of its frames were not analysed and are covered completely. Detect its faces again.",
                shows=False,
                repair=False,
            )
        _check_inverse(strip, mask, add_fault)
        if with_review:
            _check_review(strip, mask, add_fault)
    return faults


def _list_baked_faults(strip: bpy.types.Strip) -> Iterator[tuple[str, bool]]:
    """What is wrong with a baked strip, and whether faces may show. A source that is gone is no fault, because the film
    does not need it."""
    try:
        record = BakedRecord.load(strip)
        film = _identify(get_shown_footage(strip))
    except FaceBlurError as error:
        yield str(error), True
        return
    if film != record.film:
        yield "Its baked film was changed, or it shows another file. Bake it again.", True
    # A record may be a stranger's.
    source = get_fingerprint(record.mask) if record.mask is not None else record.source
    if film == record.film and (film == record.source or source != record.source):
        yield "It is marked as baked, but it shows a film without covers. Unbake it, or detect its faces again.", True
        return
    known = recall_source(record.key)
    if known is None and (record.mask is None or record.group is None):
        yield "It is marked as baked, but its covers cannot be checked: detect its faces again.", True
        return
    if known is None:
        yield "It was baked on another computer. Verify it, or look at its film: its covers cannot be checked.", False
    changed = explain_change(record)
    if changed:
        yield changed, True
    if known is not None and known.path.exists():
        # A picture of a sequence that is gone is no fault either.
        with suppress(FaceBlurError):
            if _identify(Footage(known.path, known.files)) != record.source:
                yield "Its source was changed after the bake. Unbake it and detect its faces again.", True


def _check_inverse(strip: bpy.types.Strip, mask: bpy.types.Mask, add_fault: Callable[..., None]) -> None:
    effect = read_effect(strip)
    if effect is None or not effect.inverse:
        return
    try:
        kept = any(track.status is TrackStatus.ALLOWED for track in load_document(mask).uncovered)
    except FaceBlurError as error:
        add_fault(str(error), repair=False)
        return
    if kept:
        add_fault("Inverse shows everyone else and covers the people who should stay visible.", repair=False)


def _check_review(strip: bpy.types.Strip, mask: bpy.types.Mask, add_fault: Callable[..., None]) -> None:
    try:
        left = count_left(load_document(mask), get_span(strip, mask), list_unreliable_tracks(mask))
    except FaceBlurError as error:
        add_fault(str(error), repair=False)
        return
    if left > 0:
        one, several = mark(("{items} has not been reviewed.", "{items} have not been reviewed."))
        add_fault(translate(one if left == 1 else several, items=count(left, "item")), repair=False)


def _check_mask(
    scene: bpy.types.Scene,
    strip: bpy.types.Strip,
    mask_strip: bpy.types.Strip,
    mask: bpy.types.Mask,
    add_fault: Callable[..., None],
) -> None:
    record = MaskRecord.load(mask)
    limited = bool(record.analysed)
    wrong = [
        layer.name
        for number, layer in enumerate(mask.layers)
        if layer.invert == (limited and number == 0)
        or layer.blend != ("MERGE_ADD" if number == 0 else "MUL")
        or not all(spline.use_fill for spline in layer.splines)
        or not (_is_drawn(record, layer) or all(spline.use_cyclic for spline in layer.splines))
    ]
    if wrong:
        add_fault(
            translate(
                "The mask's layer '{wrong}' shows what it should cover: its blending, inversion or fill was changed.",
                wrong=wrong[0],
            )
        )
    if not mask.layers or mask.layers[0].hide_render:
        add_fault(
            "The first layer of its mask is hidden or gone: the whole picture is covered.",
            shows=False,
            repair=len(mask.layers) > 0,
        )
    if is_out_of_speed(scene, strip, mask_strip):
        add_fault("Its Mask strip does not have the strip's speed.")
    elif is_out_of_time(strip, mask_strip):
        add_fault("Its Mask strip does not cover the same frames as the strip.")
    if list(_list_changes(scene, mask_strip)) or len(mask_strip.modifiers):
        add_fault("Its Mask strip was moved, scaled or modified.")
    if not has_unit(get_modifier(strip).node_group, mask):
        add_fault("Its node group puts the mask over the picture at the wrong size.")
    try:
        footage = get_footage(strip)
        if _identify(footage) != record.fingerprint:
            add_fault("It shows a different file from the one that was analysed.", repair=False)
    except FaceBlurError as error:
        add_fault(str(error), repair=False)


def _is_drawn(record: MaskRecord, layer: bpy.types.MaskLayer) -> bool:
    """Whether an editor has drawn a layer or its shape by hand. Its splines may be open on purpose."""
    known = record.layers.get(layer.name)
    return known is None or known.freehand


def repair_strip(scene: bpy.types.Scene, strip: bpy.types.Strip, effect: EffectSettings) -> list[CoverFault]:
    """Fix what can be fixed, with `effect` if the strip's own is lost; returns the faults that remain."""
    modifier, mask = get_modifier(strip), _get_mask_for(strip)
    if mask is None:
        text = _get_tracks(strip)
        if text is None:
            return check_strip(scene, strip)
        mask = cover_footage(scene, strip, from_json(text.as_string()), read_effect(strip) or effect)
        bpy.data.texts.remove(text)
    record = MaskRecord.load(mask)
    limited = bool(record.analysed)
    for number, layer in enumerate(mask.layers):
        layer.invert, layer.blend = not (limited and number == 0), "MERGE_ADD" if number == 0 else "MUL"
        if number == 0:
            layer.hide_render = False
        for spline in layer.splines:
            spline.use_fill = True
            spline.use_cyclic = spline.use_cyclic or not _is_drawn(record, layer)
    mask.update_tag()
    for tree in list_groups(modifier.node_group) if modifier is not None else ():
        if explain_broken_part(tree, {}):
            # The changed group stays in the file, and a new one is built.
            del tree[MARK]
            tree.name = f"{tree.name} (changed)"
    mask_strip = modifier.input_mask_strip if modifier is not None else None
    if mask_strip is not None:
        mask_strip.modifiers.clear()
        for name, value in list(_list_changes(scene, mask_strip)):
            setattr(mask_strip.transform if name in _NEUTRAL_TRANSFORM else mask_strip, name, value)
    put_cover(scene, strip, mask, read_effect(strip) or effect, load_document(mask))
    modifier = get_modifier(strip)
    sync_mask_strip(scene, strip, modifier.input_mask_strip)
    if hasattr(modifier, "show_preview"):
        modifier.show_preview = True
    return check_strip(scene, strip)


def list_animation(scene: bpy.types.Scene, path: str) -> list[bpy.types.FCurve]:
    drivers = scene.animation_data.drivers if scene.animation_data is not None else ()
    return [curve for _, curve in list_curves(scene, path)] + [d for d in drivers if d.data_path == path]


def list_rendered(scene: bpy.types.Scene) -> Iterator[tuple[bpy.types.Scene, bpy.types.Strip]]:
    """The footage that a render of the scene shows, with its scene, including scenes that are strips of it."""
    todo, seen = [scene], set()
    while todo:
        owner = todo.pop()
        if owner.name in seen or owner.sequence_editor is None:
            continue
        seen.add(owner.name)
        strips = list(owner.sequence_editor.strips_all)
        parts = (getattr(strip, name, None) for strip in strips for name in ("input_1", "input_2"))
        inputs = {part.name for part in parts if part is not None}
        for strip in strips:
            # A muted strip is rendered if it is the input of an effect strip.
            if strip.mute and strip.name not in inputs:
                continue
            if strip.type == "SCENE" and strip.scene is not None:
                todo.append(strip.scene)
            elif strip.type in KINDS:
                yield owner, strip


def _list_changes(scene: bpy.types.Scene, mask_strip: bpy.types.Strip) -> Iterator[tuple[str, float | bool]]:
    """The properties of a Mask strip that were changed and would move or weaken the cover, with their proper values."""
    for owner, neutral in ((mask_strip, _NEUTRAL), (mask_strip.transform, _NEUTRAL_TRANSFORM)):
        for name, value in neutral.items():
            if getattr(owner, name) != value or list_animation(scene, owner.path_from_id(name)):
                yield name, value


def _identify(footage: Footage) -> str:
    """The fingerprint of footage. A file is read again only if its size or modification time has changed."""
    try:
        stamp = tuple(
            (stat.st_size, stat.st_mtime_ns)
            for name in footage.files or ("",)
            for stat in ((footage.path / name).stat(),)
        )
    except OSError as error:
        raise FaceBlurError(
            translate("{name} cannot be read: {strerror}.", name=footage.name, strerror=error.strerror)
        ) from error
    known = _IDENTITIES.get(footage)
    if known is None or known[0] != stamp:
        known = _IDENTITIES[footage] = stamp, compute_fingerprint(footage.path, footage.files)
    return known[1]


def _is_analysed(strip: bpy.types.Strip) -> bool:
    """Whether there is a mask for a strip's footage, for instance because the strip was deleted and added again."""
    size = strip.elements[0].orig_width, strip.elements[0].orig_height
    if not any(get_picture_size(mask) == size or 0 in size for mask in list_own_masks()):
        return False
    with suppress(FaceBlurError):
        return bool(list_masks_of(_identify(get_footage(strip))))
    return False


def _get_mask_for(strip: bpy.types.Strip) -> bpy.types.Mask | None:
    """The mask that a strip has, used to have, or could share."""
    mask = get_mask(strip) or find_lost_mask(strip)
    if mask is None:
        with suppress(FaceBlurError):
            footage = get_footage(strip)
            made = list_masks_of(_identify(footage))
            mask = find_mask_of_footage(footage) or next(iter(made), None)
    return mask


def _get_tracks(strip: bpy.types.Strip) -> bpy.types.Text | None:
    """The text data-block with the tracks of a strip's footage, which remains when its mask is deleted."""
    with suppress(FaceBlurError):
        fingerprint = _identify(get_footage(strip))
        for text in bpy.data.texts:
            content = text.as_string()
            if fingerprint in content and content.startswith("{"):
                with suppress(FaceBlurError):
                    if from_json(content).source.fingerprint == fingerprint:
                        return text
    return None


def asks_for_review() -> bool:
    """Whether the preferences forbid rendering while items have not been reviewed."""
    preferences = get_preferences()
    return preferences is not None and preferences.unreviewed == "refuse"
