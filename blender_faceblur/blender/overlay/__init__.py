# SPDX-License-Identifier: GPL-3.0-or-later
"""The drawing over the preview and along the strips."""

from __future__ import annotations

import bpy


def register() -> None:
    """Register the classes, handlers and drawing of this room."""
    from . import coverage, outlines, see_through, watch_next, watching

    for item in _list_classes():
        bpy.utils.register_class(item)
    see_through.register_handlers()
    outlines.add_overlay()
    coverage.add_coverage()
    watching.add_watching()
    watch_next.register_handlers()


def unregister() -> None:
    from . import coverage, outlines, see_through, watch_next, watching

    watch_next.unregister_handlers()
    watching.remove_watching()
    coverage.remove_coverage()
    outlines.remove_overlay()
    see_through.unregister_handlers()
    for item in reversed(_list_classes()):
        bpy.utils.unregister_class(item)


def _list_classes() -> tuple[type, ...]:
    from . import operators, panels, watch_next

    return (
        operators.FACEBLUR_OT_see_behind,
        operators.FACEBLUR_OT_fast_playback,
        watch_next.FACEBLUR_OT_watch_next,
        panels.FACEBLUR_PT_overlays,
    )
