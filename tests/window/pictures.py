# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates docs/pictures from the window test: `BLENDER_WINDOW=... python -m tests.window.pictures`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("panel", "detecting", "faces", "mask", "preferences", "outlines", "dragged", "region", "review", "people")
MOST_BYTES = 250_000


def main() -> int:
    """0 if the stories ran to their end and each picture exists and is small enough."""
    with tempfile.TemporaryDirectory(prefix="films-") as scratch:
        looks, tests = Path(scratch) / "looks", ROOT / "tests" / "window"
        command = [sys.executable, "-m", "pytest", str(tests), "--basetemp", str(Path(scratch) / "test")]
        failed = subprocess.call(command, cwd=ROOT, env={**os.environ, "FACEBLUR_PICTURES": str(looks)})
        if failed:
            return failed
        folder = ROOT / "docs" / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            picture = Image.open(looks / f"{name}.png").convert("RGB")
            file = folder / f"{name}.png"
            picture.quantize(255, dither=Image.Dither.NONE).save(file, optimize=True)
            if file.stat().st_size > MOST_BYTES:
                print(f"{file} has {file.stat().st_size} bytes, more than the {MOST_BYTES} allowed", file=sys.stderr)
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
