# SPDX-License-Identifier: GPL-3.0-or-later
"""Check before rendering, and verify afterwards."""

from __future__ import annotations

from . import check, verify

CLASSES = (
    *check.CLASSES,
    *verify.CLASSES,
)
