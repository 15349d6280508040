# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the status bar shows the keys that work on faces in the preview."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class KeyHints:
    """`hidden` is True while something lies over the preview that has keys of its own."""

    hidden: bool = False


KEY_HINTS = KeyHints()
