# SPDX-License-Identifier: GPL-3.0-or-later
"""Register all rooms of the extension with Blender, and unregister them."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..files.paths import set_user_folder
from . import (
    bake,
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
    translations,
    workspace,
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
    bake,
    export,
    workspace,
    settings,
    keymaps,
    command,
    translations,
)
"""In the order of registration. Panels come after their parent panel, which is in `cover`. The guard's handlers run
after the cover's handlers, which repair what the guard would report. The review marker is drawn over the outlines. The
scene's settings contain property groups of other rooms, and shortcuts need their operators. Translations need all
operators, for their tooltips."""


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
    """The user folder that Blender gives an installed extension; None in a checkout."""
    try:
        return Path(bpy.utils.extension_path_user(ROOT_PACKAGE))
    except ValueError:
        return None
