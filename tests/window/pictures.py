# SPDX-License-Identifier: GPL-3.0-or-later
"""Updates docs/pictures from the window tests: `BLENDER_WINDOW=... python -m tests.window.pictures [FILM]`.

With a FILM, whose licence must allow it, the animation of the window and the pictures that show a film are made,
otherwise those of `OTHER_NAMES`, which the stories make with a film of their own.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "pictures"
FILM_NAMES = ("panel", "detecting", "faces", "outlines", "dragged", "region", "review")
OTHER_NAMES = ("mask", "preferences", "people")
MOST_BYTES = 250_000
CROPS = {"preferences": (176, 255, 1600, 765)}
"""The part of a photograph that is shown, if it is not all of it: the rest has paths of the test machine."""
TOUR_SIZE, TOUR_BYTES = (960, 540), 3_000_000
SHORTEST_MS, LONGEST_MS = 100, 700
"""How long a picture of the animation is shown: as long as it was on the screen, within these bounds."""
TOUR_RATE = 24
"""The frame rate of a new project: for a film of another one Blender opens a popup under the mouse."""


def main() -> int:
    """0 if the stories ran to their end and each picture exists and is small enough."""
    with tempfile.TemporaryDirectory(prefix="films-") as scratch:
        looks = Path(scratch) / "looks"
        if len(sys.argv) > 1:
            film = copy_at_rate(Path(sys.argv[1]), Path(scratch))
            failed = run_stories(looks, Path(scratch), ["-k", "tour"], {"FACEBLUR_TOUR": str(film)})
            failed = failed or animate(sorted(looks.glob("tour-*.png")), FOLDER / "tour.webp")
            return failed or save_pictures(looks, FILM_NAMES)
        failed = run_stories(looks, Path(scratch), ["-k", "corrections or test_people"], {})
        return failed or save_pictures(looks, OTHER_NAMES)


def save_pictures(looks: Path, names: Sequence[str]) -> int:
    """Copy photographs into the guide; 0 if each is small enough."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    too_large = False
    for name in names:
        picture = Image.open(looks / f"{name}.png").convert("RGB")
        file = FOLDER / f"{name}.png"
        # Median cut would make the rare colours of the outlines those of the film.
        few = picture.crop(CROPS.get(name)).quantize(255, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(file, optimize=True)
        too_large |= is_too_large(file, MOST_BYTES)
    return int(too_large)


def run_stories(looks: Path, scratch: Path, options: list[str], variables: dict[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", str(ROOT / "tests" / "window"), "--basetemp", str(scratch / "test")]
    environment = {**os.environ, **variables, "FACEBLUR_PICTURES": str(looks)}
    return subprocess.call([*command, *options], cwd=ROOT, env=environment)


def copy_at_rate(film: Path, folder: Path) -> Path:
    """A copy of a film's pictures in which each lasts as long as a frame of a new project."""
    import av

    path = folder / film.with_suffix(".mp4").name
    with av.open(str(film)) as source, av.open(str(path), "w") as copy:
        stream: Any = copy.add_stream("libx264", rate=TOUR_RATE, options={"crf": "14"})
        stream.width, stream.height = source.streams.video[0].width, source.streams.video[0].height
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(source.decode(video=0)):
            frame.pts, frame.time_base = number, Fraction(1, TOUR_RATE)
            copy.mux(stream.encode(frame))
        copy.mux(stream.encode(None))
    return path


def animate(shots: list[Path], path: Path) -> int:
    """Write the pictures as an animation; 0 if it is small enough."""
    pictures: list[Image.Image] = []
    begins: list[float] = []
    for shot in shots:
        picture = Image.open(shot).convert("RGB").resize(TOUR_SIZE, Image.Resampling.LANCZOS)
        if not pictures or ImageChops.difference(picture, pictures[-1]).getbbox() is not None:
            pictures.append(picture)
            begins.append(shot.stat().st_mtime)
    begins.append(begins[-1] + LONGEST_MS / 1000)
    shown = (round(1000 * (after - before)) for before, after in itertools.pairwise(begins))
    durations = [min(max(one, SHORTEST_MS), LONGEST_MS) for one in shown]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=55, method=4)
    return int(is_too_large(path, TOUR_BYTES))


def is_too_large(file: Path, most: int) -> bool:
    size = file.stat().st_size
    if size > most:
        print(f"{file} has {size} bytes, more than the {most} allowed", file=sys.stderr)
    return size > most


if __name__ == "__main__":
    sys.exit(main())
