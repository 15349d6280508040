# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators that check before a render and verify after it."""

from __future__ import annotations

from . import check, verify

CLASSES = (
    *check.CLASSES,
    *verify.CLASSES,
)
