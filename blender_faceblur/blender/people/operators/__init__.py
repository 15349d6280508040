# SPDX-License-Identifier: GPL-3.0-or-later
"""What an editor can do with people."""

from __future__ import annotations

from . import apply, assign, files, recognise

CLASSES = (*recognise.CLASSES, *assign.CLASSES, *apply.CLASSES, *files.CLASSES)
