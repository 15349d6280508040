# SPDX-License-Identifier: GPL-3.0-or-later
"""The masks that hold a strip's tracks: write, read, change and list them."""

from __future__ import annotations


def register() -> None:
    """Register this room's handlers with Blender."""
    from . import chosen_face, overlay_cache

    overlay_cache.register_handlers()
    chosen_face.register_handlers()


def unregister() -> None:
    from . import chosen_face, overlay_cache

    chosen_face.unregister_handlers()
    overlay_cache.unregister_handlers()
