# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that Blender must be told when the extension is switched on, and told again when it goes."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..files.paths import set_user_folder
from . import (
    command,
    common,
    correction,
    cover,
    detection,
    export,
    guard,
    keymaps,
    masks,
    overlay,
    people,
    preferences,
    review,
    settings,
    thumbnails,
)
from .common import jobs
from .preferences.properties import ROOT_PACKAGE

_ROOMS = (
    common,
    preferences,
    cover,
    guard,
    masks,
    overlay,
    review,
    thumbnails,
    people,
    detection,
    correction,
    export,
    settings,
    keymaps,
    command,
)
"""Panels come after the one they lie in, which is the cover's. The guard's handlers come after the cover's, which put
right what would be a fault. The review's mark lies over the outlines. The scene's settings hold groups of other rooms'
properties, and keys need their operators."""


def register() -> None:
    set_user_folder(_get_user_folder())
    for room in _ROOMS:
        room.register()


def unregister() -> None:
    jobs.stop()
    for room in reversed(_ROOMS):
        room.unregister()
    set_user_folder(None)


def _get_user_folder() -> Path | None:
    """The folder that Blender gives an installed extension; None in a checkout."""
    try:
        return Path(bpy.utils.extension_path_user(ROOT_PACKAGE))
    except ValueError:
        return None
