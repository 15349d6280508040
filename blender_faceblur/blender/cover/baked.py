# SPDX-License-Identifier: GPL-3.0-or-later
"""What a baked strip remembers: a strip whose film has the covers painted in.

Mask and node group stay in the file, unused, for Unbake and for later corrections. Nothing in the file names the
source; see `files/baked.py`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any

import bpy

from ...core.translation import translate
from ...core.types import FaceBlurError
from ...painting.outlines import combine_digests
from ..common.curves import list_curves
from ..common.marks import BAKED, MARK
from ..masks.changes import hold
from ..masks.outlines import evaluate_outlines
from ..masks.record import has_record
from .compositing import EFFECT_MARK
from .nodes import sign


@dataclass(slots=True)
class BakedRecord:
    """The record of a baked strip."""

    mask: Any
    """The mask that covered it; None if it was deleted."""
    group: Any
    """The node group of its effect; None if it was deleted."""
    key: str
    """By which the source's path is found, see `files/baked.py`."""
    source: str
    """The fingerprint of the source."""
    frames: int
    """The number of frames of the source's strip."""
    film: str
    """The fingerprint of the film."""
    outlines: str
    """What the film covers, see `OutlineTimeline.digest`."""
    stamp: str
    """What `compute_stamp` returned for mask and group."""
    place: int
    """The position of the cover among the strip's modifiers."""
    use_proxy: bool
    """Whether the strip used proxies."""

    @classmethod
    def load(cls, strip: bpy.types.Strip) -> BakedRecord:
        """The record of a baked strip. Raises FaceBlurError if it is damaged."""
        stored = strip[BAKED]
        try:
            mask, group = stored.get("mask"), stored.get("group")
            if not isinstance(mask, bpy.types.Mask | None) or not isinstance(group, bpy.types.NodeTree | None):
                raise TypeError
            values = {key: stored[key] for key in _PLAIN}
            if not all(isinstance(values[key], kind) for key, kind in _PLAIN.items()):
                raise TypeError
        except (KeyError, TypeError, AttributeError):
            raise FaceBlurError(
                translate("The data of the baked strip '{name}' is damaged. Bake it again.", name=strip.name)
            ) from None
        return cls(mask if mask is not None and has_record(mask) else None, group, **values)

    def save(self, strip: bpy.types.Strip) -> None:
        values: dict[str, Any] = {key: getattr(self, key) for key in _PLAIN}
        blocks = {"mask": self.mask, "group": self.group}
        strip[BAKED] = values | {key: block for key, block in blocks.items() if block is not None}


_PLAIN: dict[str, type] = {
    "key": str,
    "source": str,
    "frames": int,
    "film": str,
    "outlines": str,
    "stamp": str,
    "place": int,
    "use_proxy": bool,
}
"""The stored fields that are no data-blocks, and their types."""


def is_baked(strip: bpy.types.Strip) -> bool:
    return BAKED in strip


@dataclass(slots=True)
class _Evaluated:
    """What is known about the masks of baked strips, by name. Only this module uses it; it is cleared when another
    project has been opened."""

    digests: dict[str, str] = field(default_factory=dict)
    """What a mask covers (`OutlineTimeline.digest`), of masks that were evaluated and have not been edited since."""
    edited: set[str] = field(default_factory=set)
    """Masks that may have been edited since they were last evaluated or loaded."""
    edits: dict[str, int] = field(default_factory=dict)
    """How often each mask was edited, and under an empty name how often all may have been."""
    parts: dict[str, list[bytes]] = field(default_factory=dict)
    """The digests of the first frames of masks whose evaluation goes on."""
    stamps: dict[str, tuple[int, str]] = field(default_factory=dict)
    """What `compute_stamp` returned for a mask, and how often it had been edited then."""


_EVALUATED = _Evaluated()


def mark_evaluated(mask: bpy.types.Mask, digest: str) -> None:
    """Record what the mask covers now; `digest` is that of its `OutlineTimeline`."""
    _EVALUATED.digests[mask.name] = digest
    _EVALUATED.edited.discard(mask.name)
    _EVALUATED.parts.pop(mask.name, None)


def mark_edited(name: str) -> None:
    """Record that a mask was edited."""
    _EVALUATED.digests.pop(name, None)
    _EVALUATED.parts.pop(name, None)
    _EVALUATED.edited.add(name)
    _EVALUATED.edits[name] = _EVALUATED.edits.get(name, 0) + 1


def mark_all_edited() -> None:
    """Record that undo may have changed any mask."""
    _EVALUATED.edited.update(_EVALUATED.digests)
    _EVALUATED.edits[""] = _EVALUATED.edits.get("", 0) + 1
    _EVALUATED.digests.clear()
    _EVALUATED.parts.clear()


def forget_evaluated() -> None:
    """Forget all masks, because another project was opened."""
    _EVALUATED.digests.clear()
    _EVALUATED.edited.clear()
    _EVALUATED.parts.clear()
    _EVALUATED.stamps.clear()


def count_edits(mask: bpy.types.Mask) -> int:
    """A number that grows with every edit of a mask."""
    return _EVALUATED.edits.get(mask.name, 0) + _EVALUATED.edits.get("", 0)


def is_edited(mask: bpy.types.Mask) -> bool:
    """Whether a mask may have been edited in this session, and was not evaluated since."""
    return mask.name in _EVALUATED.edited


def is_evaluated(mask: bpy.types.Mask) -> bool:
    """Whether `evaluate` returns at once."""
    return mask.name in _EVALUATED.digests


def evaluate(mask: bpy.types.Mask, frames: int) -> str:
    """The digest of what a mask covers. It is evaluated only after edits, as that takes about 1 ms a frame.

    Must be called in the main thread. Raises FaceBlurError if the mask cannot be read.
    """
    if not is_evaluated(mask):
        evaluate_part(mask, frames, frames)
    return _EVALUATED.digests[mask.name]


def evaluate_part(mask: bpy.types.Mask, frames: int, most: int) -> None:
    """Evaluate up to `most` further frames of a mask. `frames` is the number of all; see `evaluate`."""
    known = _EVALUATED.parts.get(mask.name, [])
    found = evaluate_outlines(mask, min(len(known) + most, frames), len(known))
    known = [*known, *(outlines.digest() for outlines in found)]
    with hold(mask):
        # Otherwise Blender reports the evaluation as an edit later.
        bpy.context.view_layer.update()
    if len(known) == frames:
        mark_evaluated(mask, combine_digests(known))
    else:
        _EVALUATED.parts[mask.name] = known


def get_baked_mask(strip: bpy.types.Strip) -> Any:
    """The mask whose covers the film of a baked strip has, as far as a look can tell that never takes long.

    None for other strips, if the mask was edited after the bake and while that is not known yet, or if the strip shows
    another file. Whether the film itself was replaced is for the guard to find.
    """
    if not is_baked(strip):
        return None
    try:
        record = BakedRecord.load(strip)
    except FaceBlurError:
        return None
    mask = record.mask
    if mask is None or record.group is None or is_edited(mask):
        return None
    # A film, and a folder of pictures, is named after what it covers: see `bake/baking.py`.
    shown = strip.filepath if strip.type == "MOVIE" else strip.directory
    if name_outlines(record.outlines) not in shown:
        return None
    edits = count_edits(mask)
    known = _EVALUATED.stamps.get(mask.name)
    if known is None or known[0] != edits:
        known = _EVALUATED.stamps[mask.name] = edits, compute_stamp(mask, record.group)
    if known[1] != record.stamp or _EVALUATED.digests.get(mask.name, record.outlines) != record.outlines:
        return None
    return mask


def name_outlines(outlines: str) -> str:
    """What the name of a baked film has of its `outlines`."""
    return f"-{outlines[:8]}"


def explain_change(record: BakedRecord) -> str:
    """Why a baked film no longer has the covers that the file has; empty if it has them.

    The thread of a render cannot evaluate a mask. There, shapes that an editor keyed by hand before the project was
    opened, in a Blender without the extension, are not noticed.
    """
    mask, group = record.mask, record.group
    if mask is None or group is None:
        return ""
    if compute_stamp(mask, group) == record.stamp:
        if threading.current_thread() is not threading.main_thread():
            return "Its mask was edited after the bake. Check it before you render." if is_edited(mask) else ""
        if evaluate(mask, record.frames) == record.outlines:
            return ""
    return "Its mask or effect was changed after the bake. Bake it again."


def compute_stamp(mask: bpy.types.Mask, group: bpy.types.NodeTree) -> str:
    """A hash of everything that decides how a strip is covered, except for what only an evaluation of the mask tells:
    shapes that an editor keyed or moved with Blender's own tools."""
    layers = [
        (
            layer.name,
            layer.hide_render,
            layer.blend,
            layer.invert,
            [(spline.use_cyclic, spline.use_fill, len(spline.points)) for spline in layer.splines],
            [
                (round(key.co[0] - mask.frame_start, 3), round(key.co[1], 5), key.interpolation)
                for _, curve in list_curves(mask, layer.path_from_id("alpha"))
                for key in curve.keyframe_points
            ],
        )
        for layer in mask.layers
    ]
    content = [layers, str(mask[MARK]["faces"].to_dict()), describe_group(group)]
    return hashlib.sha256(json.dumps(content, default=str).encode()).hexdigest()


def describe_group(group: bpy.types.NodeTree) -> list[Any]:
    """What decides how a strip's node group covers: the effect, the nodes, and their values."""
    stored = group.get(EFFECT_MARK)
    values = [
        (node.name, node.bl_idname, node.mute, socket.name, _round(socket.default_value))
        for node in group.nodes
        for socket in node.inputs
        if hasattr(socket, "default_value") and not socket.is_linked
    ]
    parts = [sign(node.node_tree) for node in group.nodes if getattr(node, "node_tree", None) is not None]
    return [stored.to_dict() if hasattr(stored, "to_dict") else None, sign(group), values, parts]


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    return [round(part, 5) for part in value] if hasattr(value, "__len__") and not isinstance(value, str) else value
