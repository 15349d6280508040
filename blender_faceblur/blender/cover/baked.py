# SPDX-License-Identifier: GPL-3.0-or-later
"""What a baked strip remembers: a strip whose film has the covers painted in.

Mask and node group stay in the file, unused, for Unbake and for later corrections. Nothing in the file names the
source; see `files/baked.py`.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field, fields
from typing import Any

import bpy

from ...core.types import FaceBlurError
from ...painting.outlines import OutlineTimeline
from ..common.curves import list_curves
from ..common.marks import BAKED, MARK
from ..masks.outlines import evaluate_outlines
from ..masks.record import has_record
from .covering import EFFECT_MARK
from .nodes import sign

_POINTERS = ("mask", "group")
"""The fields of a record that point to data-blocks, which may be gone."""


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
        kinds = {"frames": int, "place": int, "use_proxy": bool}
        try:
            values = {key: stored[key] for key in (one.name for one in fields(cls)) if key not in _POINTERS}
            if not all(isinstance(value, kinds.get(key, str)) for key, value in values.items()):
                raise TypeError
            values |= {key: stored.get(key) for key in _POINTERS}
            if values["mask"] is not None and not has_record(values["mask"]):
                values["mask"] = None
            return cls(**values)
        except (KeyError, TypeError, AttributeError):
            raise FaceBlurError(f"The data of the baked strip '{strip.name}' is damaged. Bake it again.") from None

    def save(self, strip: bpy.types.Strip) -> None:
        strip[BAKED] = {
            one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) is not None
        }


def is_baked(strip: bpy.types.Strip) -> bool:
    return BAKED in strip


@dataclass(slots=True)
class _Evaluated:
    """The digests of masks that were evaluated and have not been edited since, by name. Only this module uses it."""

    digests: dict[str, str] = field(default_factory=dict)


_EVALUATED = _Evaluated()


def mark_evaluated(mask: bpy.types.Mask, digest: str) -> None:
    """Record what the mask covers now; `digest` is that of its `OutlineTimeline`."""
    _EVALUATED.digests[mask.name] = digest


def forget_evaluated(name: str = "") -> None:
    """Record that a mask was edited; without a name, that any may have been."""
    if name:
        _EVALUATED.digests.pop(name, None)
    else:
        _EVALUATED.digests.clear()


def is_evaluated(mask: bpy.types.Mask) -> bool:
    return mask.name in _EVALUATED.digests


def evaluate(mask: bpy.types.Mask, frames: int) -> str:
    """The digest of what a mask covers, which is evaluated only after edits: that takes about 1 ms a frame.

    Must be called in the main thread. Raises FaceBlurError if the mask cannot be read.
    """
    if mask.name not in _EVALUATED.digests:
        digest = OutlineTimeline(list(evaluate_outlines(mask, frames)), 1.0).digest()
        mark_evaluated(mask, digest)
    return _EVALUATED.digests[mask.name]


def explain_change(record: BakedRecord) -> str:
    """Why a baked film no longer has the covers that the file has; empty if it has them."""
    mask, group = record.mask, record.group
    if mask is None or group is None:
        return ""
    if compute_stamp(mask, group) == record.stamp:
        if not is_evaluated(mask) and threading.current_thread() is not threading.main_thread():
            # The thread of a render cannot evaluate it.
            return "Its mask may have been changed after the bake. Check it before you render."
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
    return [stored.to_dict() if stored is not None else None, sign(group), values, parts]


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    return [round(part, 5) for part in value] if hasattr(value, "__len__") and not isinstance(value, str) else value
