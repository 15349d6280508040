# SPDX-License-Identifier: GPL-3.0-or-later
"""The choices that the operators of corrections and the settings of a scene share."""

from __future__ import annotations

EXTENT_ITEMS = [
    ("FOLLOW", "Track It", "Track it forwards and backwards until it leaves the picture or the shot ends"),
    ("FRAME", "This Frame Only", "Cover it in the current frame only"),
    ("HOLD", "Until End Here", "Cover the same place until the end of the film, or until End Here is used"),
]
"""How long an added face or region is covered, as items of an EnumProperty."""
