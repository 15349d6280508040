# SPDX-License-Identifier: GPL-3.0-or-later
"""The effect of a strip's node group, with the values that an editor set in it, as the painter needs it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import bpy

from ...core.cover.effects import EffectSettings, compute_grid, to_linear
from ...core.translation import translate
from ...core.types import FaceBlurError
from ..common.marks import MARK
from ..cover.compositing import get_sticker
from ..cover.covering import read_group_effect
from ..cover.effects import EFFECTS, get_effect
from ..cover.unchanged import find_changed_group

_EXACT = 1e-4
"""How far a colour's components may be apart to count as the same."""


def read_painted_effect(
    strip: str, group: bpy.types.NodeTree, size: tuple[int, int], face_px: float, has_alpha: bool
) -> EffectSettings:
    """The effect of a strip's node group for a picture of `size` (width, height); for `has_alpha` see
    `build_strip_group`.

    `samples_across` gives the group's grid for a face that is `face_px` wide. Raises FaceBlurError, which names the
    strip, if the effect cannot be painted.
    """
    effect = read_group_effect(group)
    node = _get_cover_node(group)
    if effect is None or node is None:
        raise FaceBlurError(
            translate(
                "The effect of '{strip}' was changed by hand, so it cannot be baked. Apply its settings.", strip=strip
            )
        )
    changed = find_changed_group(group, size, effect, has_alpha)
    if changed:
        raise FaceBlurError(
            translate(
                "The nodes of '{changed}', which cover '{strip}', were changed by hand, so that a baked film would "
                "look different. Rename that node group and apply the effect's settings again, or render without a "
                "bake.",
                changed=changed,
                strip=strip,
            )
        )
    values = {socket.name: socket for socket in node.inputs if hasattr(socket, "default_value")}
    for name in ("Columns", "Rows", "Color"):
        if name in values and values[name].is_linked:
            raise FaceBlurError(
                translate(
                    "'{name}' of the effect of '{strip}' is linked to a node, so it cannot be baked.",
                    name=name,
                    strip=strip,
                )
            )
    if "Columns" in values and "Rows" in values:
        grid = values["Columns"].default_value, values["Rows"].default_value
        samples = get_effect(effect.kind).samples_per_face or effect.samples_across
        if grid != compute_grid(size, face_px, samples):
            # The coarser direction decides, so that the painted effect is not finer than the group's.
            share = min(count / side for count, side in zip(grid, size, strict=True))
            effect = replace(effect, samples_across=face_px * share)
    if "Color" in values and not _is_same(values["Color"].default_value, to_linear(effect.color)):
        effect = replace(effect, color=_to_hex(values["Color"].default_value))
    return effect


def write_sticker(name: str, folder: Path) -> str:
    """Write the sticker of that name into `folder`, under a name that depends on its content; returns its path.

    Empty if there is no such picture: then the effect's colour covers the faces. Raises FaceBlurError.
    """
    image = get_sticker(name) if name else None
    if image is None:
        return ""
    try:
        path = Path(bpy.path.abspath(image.filepath, library=image.library))
        data = bytes(image.packed_file.data) if image.packed_file is not None else path.read_bytes()
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{hashlib.sha256(data).hexdigest()[:16]}{path.suffix or '.png'}"
        target.write_bytes(data)
    except OSError as error:
        raise FaceBlurError(
            translate(
                "The picture '{name}' of the effect cannot be read: {strerror}.", name=name, strerror=error.strerror
            )
        ) from error
    return str(target)


def _get_cover_node(group: bpy.types.NodeTree) -> bpy.types.Node | None:
    """The node that makes the covered picture; None if there is none, or it is muted or not one of ours."""
    for node in group.nodes:
        tree = getattr(node, "node_tree", None)
        # Marks of effects are a name, or a name and a number.
        words = str(tree.get(MARK, "")).split() if tree is not None else []
        if words and not node.mute and any(effect.name == words[0] for effect in EFFECTS):
            return node
    return None


def _is_same(first: Iterable[float], second: Iterable[float]) -> bool:
    return all(abs(a - b) < _EXACT for a, b in zip(first, second, strict=True))


def _to_hex(color: Sequence[float]) -> str:
    """Scene-linear RGBA as RRGGBB (sRGB)."""
    shares = [c * 12.92 if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in list(color)[:3]]
    return "".join(f"{round(255 * min(max(share, 0.0), 1.0)):02X}" for share in shares)
