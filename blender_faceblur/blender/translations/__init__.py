# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's texts in the languages of Blender's interface: one PO file per language."""

from __future__ import annotations


def register() -> None:
    import bpy

    from ...core.translation import CONTEXT, set_translator
    from .catalogue import DOMAIN, load_catalogues
    from .tooltips import list_tooltips

    bpy.app.translations.register(DOMAIN, load_catalogues(list_tooltips()))
    if not bpy.app.background:
        set_translator(lambda message: bpy.app.translations.pgettext_iface(message, CONTEXT))


def unregister() -> None:
    import bpy

    from ...core.translation import set_translator
    from .catalogue import DOMAIN

    set_translator(None)
    bpy.app.translations.unregister(DOMAIN)
