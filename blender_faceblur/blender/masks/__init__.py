# SPDX-License-Identifier: GPL-3.0-or-later
"""The masks that hold a strip's tracks: write, read, change and list them."""

from __future__ import annotations


def register() -> None:
    """Register this room's handlers with Blender."""
    from . import overlay_cache

    overlay_cache.register_handlers()


def unregister() -> None:
    from . import overlay_cache

    overlay_cache.unregister_handlers()
