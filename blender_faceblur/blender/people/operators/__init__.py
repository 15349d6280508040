# SPDX-License-Identifier: GPL-3.0-or-later
"""The operators on a scene's people."""

from __future__ import annotations

from . import apply, assign, decide, files, recognise

CLASSES = (*recognise.CLASSES, *assign.CLASSES, *apply.CLASSES, *files.CLASSES, *decide.CLASSES)
