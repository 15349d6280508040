# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a short film of a real, free face and blurs it, for users without a clip; arguments go to blur."""

from __future__ import annotations

import sys
from fractions import Fraction

from blender_faceblur.batch import cli

from .film import make_film
from .lint import ROOT


def main(arguments: list[str]) -> int:
    """Run the demo; returns the exit code of the blur."""
    folder = ROOT / "demo"
    folder.mkdir(exist_ok=True)
    film = folder / "astronaut.mp4"
    print(f"Making {film.relative_to(ROOT)} ...", file=sys.stderr, flush=True)
    make_film(film, width=1280, height=720, frame_rate=Fraction(25), seconds=6)
    return cli.main([str(film), "--overwrite", *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
