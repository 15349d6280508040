# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks, which hold a strip's tracks: written, read, changed and listed."""

from __future__ import annotations


def register() -> None:
    """Tell Blender of this room."""
    from . import overlay_cache

    overlay_cache.register_handlers()


def unregister() -> None:
    from . import overlay_cache

    overlay_cache.unregister_handlers()
