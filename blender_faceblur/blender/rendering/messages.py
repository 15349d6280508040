# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Blender that works for another tells it: lines of JSON on standard output."""

from __future__ import annotations

import json
import sys

PREFIX = "@faceblur "


def send(**message: object) -> None:
    sys.stdout.write(f"\n{PREFIX}{json.dumps(message)}\n")
    sys.stdout.flush()
