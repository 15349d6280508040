# SPDX-License-Identifier: GPL-3.0-or-later
"""A photograph with a face, as a file."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def write_astronaut(folder: Path, size: tuple[int, int]) -> Path:
    """The photograph in `size` (width, height)."""
    import cv2

    # Read the file itself: scikit-image's own reader does not use the stable ABI and does not load in every Blender.
    found = find_spec("skimage")
    assert found is not None and found.submodule_search_locations
    astronaut = cv2.imread(str(Path(found.submodule_search_locations[0]) / "data" / "astronaut.png"))
    path = folder / "astronaut.png"
    cv2.imwrite(str(path), cv2.resize(astronaut, size, interpolation=cv2.INTER_AREA))
    return path
