# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages of work that ends outside of an operator, shown as Blender shows those of its operators.

A handler and a timer cannot report anything. A modal operator can, at its next event: see `FACEBLUR_OT_announce`.
"""

from __future__ import annotations

import bpy

from .jobs import JOB, redraw


def announce(message: str, level: str = "INFO") -> None:
    """Show a message in the status bar of the first window, and keep it for the tab. Call it from a timer."""
    JOB.done = message
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows:
        return
    with bpy.context.temp_override(window=windows[0]):
        bpy.ops.faceblur.announce("INVOKE_DEFAULT", message=message, level=level)
    redraw()
