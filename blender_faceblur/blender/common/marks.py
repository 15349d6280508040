# SPDX-License-Identifier: GPL-3.0-or-later
"""How a project shows what is ours: the mark on data-blocks, and the modifier on a strip."""

from __future__ import annotations

from typing import Any

import bpy

MARK = "faceblur"
"""Custom property on the data-blocks that we made."""


def get_modifier(strip: bpy.types.Strip) -> Any:
    """Our modifier on a strip, known by its node group; None where there is none."""
    for modifier in strip.modifiers:
        if modifier.type == "COMPOSITOR" and modifier.node_group and modifier.node_group.get(MARK) == "strip":
            return modifier
    return None
