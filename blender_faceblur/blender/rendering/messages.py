# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages from a Blender process to its parent: lines of JSON on standard output."""

from __future__ import annotations

import json
import sys

PREFIX = "@faceblur "


def send(**message: object) -> None:
    """Write a message to standard output."""
    sys.stdout.write(f"\n{PREFIX}{json.dumps(message)}\n")
    sys.stdout.flush()
