# SPDX-License-Identifier: GPL-3.0-or-later
"""When other strips hide a strip from those who watch the timeline. Only the order of the review depends on it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import bpy

from ..common.footage import list_hidden
from ..cover.projection import get_projection

_OPAQUE_KINDS = ("MOVIE", "COLOR")
"""Pictures may be transparent, and what a scene or an effect shows is not known here. Neither is whether a film has
transparent pixels, so what lies below one is still reviewed, after the rest."""

_TOLERANCE_PX = 0.5
"""By how much the picture of a strip may miss the border of the canvas."""

Span = tuple[int, int]
"""Half-open timeline frames."""


@dataclass(frozen=True, slots=True)
class OpaqueStrips:
    """The strips of a scene that fill its whole picture, by channel and sorted. Those in meta strips are left out."""

    channels: dict[int, list[Span]]

    @classmethod
    def of(cls, scene: bpy.types.Scene) -> OpaqueStrips:
        muted, channels = list_hidden(scene), dict[int, list[Span]]()
        for strip in scene.sequence_editor.strips:
            if strip.name not in muted and strip.type in _OPAQUE_KINDS and _fills_picture(scene, strip):
                spans = channels.setdefault(strip.channel, [])
                spans.append((int(strip.frame_final_start), int(strip.frame_final_end)))
        return cls({channel: sorted(spans) for channel, spans in channels.items()})

    def divide(self, strip: bpy.types.Strip) -> tuple[list[Span], list[Span]]:
        """The timeline frames of a strip in which it is seen, and those in which one of these strips hides it."""
        parent = strip.parent_meta()
        outer = strip
        while parent is not None:
            outer, parent = parent, parent.parent_meta()
        first, stop = int(strip.frame_final_start), int(strip.frame_final_end)
        hiding: list[Span] = []
        for channel, spans in self.channels.items():
            if channel > outer.channel:
                # Strips of one channel do not overlap.
                at = max(bisect_left(spans, (first, first)) - 1, 0)
                while at < len(spans) and spans[at][0] < stop:
                    if spans[at][1] > first:
                        hiding.append((max(spans[at][0], first), min(spans[at][1], stop)))
                    at += 1
        visible: list[Span] = []
        reached = first
        for begin, end in sorted(hiding):
            if begin > reached:
                visible.append((reached, begin))
            reached = max(reached, end)
        if reached < stop:
            visible.append((reached, stop))
        return visible, sorted(hiding)


def _fills_picture(scene: bpy.types.Scene, strip: bpy.types.Strip) -> bool:
    if strip.blend_type not in ("REPLACE", "ALPHA_OVER") or strip.blend_alpha < 1:
        return False
    across, down = scene.render.resolution_x / 2, scene.render.resolution_y / 2
    corners = get_projection(scene, strip).compute_picture_outline()
    left, right = (choose(x for x, _ in corners) for choose in (min, max))
    low, high = (choose(y for _, y in corners) for choose in (min, max))
    return bool(
        strip.transform.rotation == 0
        and left <= _TOLERANCE_PX - across
        and right >= across - _TOLERANCE_PX
        and low <= _TOLERANCE_PX - down
        and high >= down - _TOLERANCE_PX
    )
