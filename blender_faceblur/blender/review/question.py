# SPDX-License-Identifier: GPL-3.0-or-later
"""The question of the current review item, and the keys that answer it, over the preview."""

from __future__ import annotations

import textwrap

import bpy
import numpy as np

from ...core.translation import count, translate
from ...reporting.wording import describe_place
from ..common.context import DrawHandlers, get_sequencer_scene
from ..common.selection import get_active_footage
from ..cover.projection import get_projection, get_region_projection
from ..cover.strips import get_mask
from .player import HINTS
from .queue import count_left, get_current
from .session import SESSION

_LETTER = 0.5
"""Width of a letter as a share of the font's size, to break lines."""

_HIGHEST = 0.45
"""The share of a preview's height that the lines take at most. Raising it hides more of the item in a low preview."""


def compose_question(context: bpy.types.Context, letters: int) -> tuple[list[str], list[str]]:
    """The question, then the state of the review and its keys, in lines of at most so many letters.

    Both are empty outside of a review.
    """
    scene = get_sequencer_scene(context)
    mask = get_mask(get_active_footage(context)) if SESSION.on and scene is not None else None
    entry = get_current(mask) if mask is not None else None
    if entry is None:
        return [], []
    left = translate("{items} left", items=count(count_left(scene), "item"))
    if SESSION.loop is not None:
        left += ". " + translate(
            "Playing at half speed, see-through" if SESSION.bare else "Playing at half speed, covered"
        )
    keys = "    ".join(f"{translate(key)}: {translate(words)}" for key, words in HINTS)
    lines = [left, keys]
    return textwrap.wrap(describe_place(entry), letters), [
        part for line in lines for part in textwrap.wrap(line, letters)
    ]


def shorten_question(question: list[str], more: list[str], most: int) -> tuple[list[str], list[str]]:
    """What fits into so many lines: the keys go first, which the status bar has too, then the end of the question."""
    most = max(most, 2)
    more = more[: max(most - len(question), 1)]
    if len(question) + len(more) > most:
        question = [*question[: most - len(more)]]
        question[-1] += " ..."
    return question, more


def draw_question(context: bpy.types.Context) -> None:
    """Draw the lines at the top of a preview."""
    import blf
    import gpu
    from gpu_extras.batch import batch_for_shader

    region, unit = context.region, context.preferences.system.ui_scale or 1.0
    size = 13 * unit
    letters = max(int(min(0.9 * region.width, 760 * unit) / (_LETTER * size)), 20)
    question, more = compose_question(context, letters)
    if not question:
        return
    step, pad = 1.45 * size, 0.7 * size
    question, more = shorten_question(question, more, int((_HIGHEST * region.height - pad) / step))
    lines = [*question, *more]
    blf.size(0, size)
    width = max(blf.dimensions(0, line)[0] for line in lines) + 2 * pad
    left = max((region.width - width) / 2, 0.0)
    # Blender's own texts over the preview are at its upper edge, and ours at its lower one.
    high = len(lines) * step + pad
    top = 26 * unit + high if _is_item_above(context) else region.height - 34 * unit
    low = top - high
    corners = np.array([(left, low), (left + width, low), (left + width, top), (left, top)], np.float32)[
        [0, 1, 2, 0, 2, 3]
    ]
    shader = gpu.shader.from_builtin("UNIFORM_COLOR")
    shader.bind()
    shader.uniform_float("color", (0.0, 0.0, 0.0, 0.72))
    gpu.state.blend_set("ALPHA")
    batch_for_shader(shader, "TRIS", {"pos": corners}).draw(shader)
    gpu.state.blend_set("NONE")
    for number, line in enumerate(lines):
        blf.color(0, *((1.0, 1.0, 1.0, 1.0) if number < len(question) else (0.75, 0.75, 0.75, 1.0)))
        blf.position(0, left + pad, top - (number + 1) * step + 0.25 * size, 0)
        blf.draw(0, line)


def _is_item_above(context: bpy.types.Context) -> bool:
    """Whether the current item lies in the upper half of the preview, which the question then leaves free."""
    scene, strip = get_sequencer_scene(context), get_active_footage(context)
    entry = get_current(get_mask(strip))
    if entry is None:
        return False
    left, top, right, bottom = entry.box
    projected = get_projection(scene, strip).to_canvas((left + right) / 2, (top + bottom) / 2)
    _, y = get_region_projection(context.region).to_region(*projected)
    return bool(y > context.region.height / 2)


_HANDLERS = DrawHandlers("PREVIEW")


def add_question() -> None:
    _HANDLERS.add(_draw)


def remove_question() -> None:
    _HANDLERS.remove_all()


def _draw() -> None:
    """Draw handler, called by Blender for each preview."""
    if SESSION.on:
        draw_question(bpy.context)
