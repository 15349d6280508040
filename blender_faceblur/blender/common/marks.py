# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognise what the extension made: its mark on data-blocks, and its modifier on a strip."""

from __future__ import annotations

from typing import Any

import bpy

MARK = "faceblur"
"""Custom property of the data-blocks that the extension made."""

BAKED = "faceblur_baked"
"""Custom property of a strip that shows a film with its covers painted in; see `cover/baked.py`."""


def get_modifier(strip: bpy.types.Strip) -> Any:
    """Our modifier on a strip, recognised by its node group; None if there is none."""
    for modifier in strip.modifiers:
        if modifier.type == "COMPOSITOR" and modifier.node_group and modifier.node_group.get(MARK) == "strip":
            return modifier
    return None
