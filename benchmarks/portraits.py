# SPDX-License-Identifier: GPL-3.0-or-later
"""Portraits for bench strength: read from a folder, aligned, photographed again, gathered from git clones."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.types import FaceBlurError, Picture
from blender_faceblur.detectors import get_detector
from blender_faceblur.detectors.base import FaceDetector
from blender_faceblur.files.paths import get_model_path
from blender_faceblur.recognition.alignment import fit_similarity_transform

FACE_PX, TILE_PX = 64, 192
"""Width of a face, and the side of the square around it."""
OFF_GRID_PX = (7, 5)
"""Offset of faces from the middle of their tile, so that no grid line cuts them in the middle."""
FACE_HEIGHT = 1.3
"""Height of a face over its width, for the cover; the same for all, so that the cover's shape reveals nothing."""
_SEEN_PX, _LEAST_FACE_PX = 400, 30
_SAME_PHOTOGRAPH = 0.85
_PICTURES = {".jpg", ".jpeg", ".png"}


@dataclass(frozen=True, slots=True)
class Tile:
    """An aligned portrait: the face upright, FACE_PX wide, its box's middle OFF_GRID_PX from the tile's middle."""

    picture: Picture
    landmarks: NDArray[np.float64]


def compute_middle() -> tuple[float, float]:
    """The position of a face's middle in its tile."""
    return TILE_PX / 2 + OFF_GRID_PX[0], TILE_PX / 2 + OFF_GRID_PX[1]


def open_yunet() -> FaceDetector:
    return get_detector("yunet_2023mar")(get_model_path("yunet_2023mar"), 0.6, "cpu")


def read_people(folder: Path, most: int) -> dict[str, list[Tile]]:
    """Portraits by person: a picture is one person, a folder is one person with several photographs (two are used).

    Pictures without a detected face, or with a face smaller than 30 pixels, are skipped.
    """
    if not folder.is_dir():
        raise FaceBlurError(f"{folder}: there is no such folder")
    detector = open_yunet()
    people: dict[str, list[Tile]] = {}
    for place in sorted(folder.iterdir()):
        files = [place] if place.suffix.lower() in _PICTURES else sorted(place.iterdir()) if place.is_dir() else []
        tiles = [tile for file in files if (tile := lay_out(cv2.imread(str(file)), detector)) is not None]
        if tiles:
            people[place.stem] = match_colours(tiles[:2])
        if len(people) == most:
            break
    return people


def lay_out(picture: Picture | None, detector: FaceDetector) -> Tile | None:
    """The most confident face of a picture as a tile; None if there is no usable one."""
    if picture is None:
        return None
    scale = _SEEN_PX / max(picture.shape[:2])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    seen = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC))
    found = detector.detect(seen)
    if not found or found[0].landmarks is None or (found[0].box[2] - found[0].box[0]) / scale < _LEAST_FACE_PX:
        return None
    x1, y1, x2, y2 = found[0].box
    points = np.array(found[0].landmarks)
    eyes = points[1] - points[0]
    matrix = cv2.getRotationMatrix2D(
        ((x1 + x2) / 2, (y1 + y2) / 2), float(np.degrees(np.arctan2(eyes[1], eyes[0]))), FACE_PX / (x2 - x1)
    )
    matrix[:, 2] += np.array(compute_middle()) - ((x1 + x2) / 2, (y1 + y2) / 2)
    if FACE_PX / (x2 - x1) < 0.7:
        seen = np.asarray(cv2.GaussianBlur(seen, (0, 0), 0.4 * (x2 - x1) / FACE_PX))
    tile = cv2.warpAffine(seen, matrix, (TILE_PX, TILE_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return Tile(np.asarray(tile, np.uint8), points @ matrix[:, :2].T + matrix[:, 2])


def match_colours(tiles: list[Tile]) -> list[Tile]:
    """Make all of them grey if one is."""
    if any(np.ptp(tile.picture.astype(int), axis=2).mean() < 4 for tile in tiles):
        grey = [cv2.cvtColor(tile.picture, cv2.COLOR_BGR2GRAY) for tile in tiles]
        return [Tile(np.dstack([g, g, g]), tile.landmarks) for g, tile in zip(grey, tiles, strict=True)]
    return tiles


def photograph_again(tile: Tile, behind: Picture, rng: np.random.Generator) -> Tile:
    """The same portrait as another camera would show it: the data of an attacker who owns the original photograph.

    Another background (that of the tile `behind`, beyond the head), rotated by up to 4 degrees, 6 % larger or smaller,
    moved by up to 2 pixels, lit from one side, with another brightness, contrast and colour, with noise, as JPEG.
    """
    height, width = tile.picture.shape[:2]
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    middle = compute_middle()
    away = np.hypot((x - middle[0]) / (0.5 * FACE_PX), (y - middle[1]) / (0.5 * FACE_HEIGHT * FACE_PX))
    head = np.clip((2.0 - away) / 0.3, 0, 1)[..., None]
    mixed = head * tile.picture + (1 - head) * behind[:, ::-1]
    matrix = cv2.getRotationMatrix2D(middle, rng.uniform(-4, 4), rng.uniform(0.94, 1.06))
    matrix[:, 2] += rng.uniform(-2, 2, 2)
    moved = cv2.warpAffine(mixed.astype(np.float32), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    direction = rng.uniform(0, 2 * np.pi)
    side = ((x - width / 2) * np.cos(direction) + (y - height / 2) * np.sin(direction)) / FACE_PX
    moved = 255 * (np.clip(moved, 0, 255) / 255) ** rng.uniform(0.75, 1.3)
    moved = moved * (1 + 0.2 * side[..., None]) * rng.uniform(0.92, 1.08, 3) * rng.uniform(0.8, 1.15)
    moved = np.clip(moved + rng.uniform(-12, 12) + rng.normal(0, 3, moved.shape), 0, 255).astype(np.uint8)
    done, data = cv2.imencode(".jpg", moved, [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    landmarks = tile.landmarks @ matrix[:, :2].T + matrix[:, 2]
    return Tile(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8), landmarks)


def compare_photographs(a: Tile, b: Tile) -> float:
    """The similarity of two tiles, mirrored or not: above about 0.85 they are crops of one photograph."""
    target = np.array([(70.0, 75.0), (122.0, 75.0), (96.0, 105.0), (74.0, 132.0), (118.0, 132.0)])
    faces = []
    for tile in (a, b):
        grey = cv2.cvtColor(tile.picture, cv2.COLOR_BGR2GRAY)
        faces.append(
            cv2.GaussianBlur(
                cv2.warpAffine(
                    grey, fit_similarity_transform(tile.landmarks, target), (192, 192), borderMode=cv2.BORDER_REPLICATE
                ),
                (0, 0),
                2,
            )
        )
    part = faces[0][50:158, 45:147]
    best = -1.0
    for other in (faces[1], faces[1][:, ::-1]):
        for turn in (-6, -3, 0, 3, 6):
            for scale in (0.9, 1.0, 1.1):
                matrix = cv2.getRotationMatrix2D((96, 104), turn, scale)
                moved = cv2.warpAffine(other, matrix, (192, 192), borderMode=cv2.BORDER_REPLICATE)
                best = max(best, float(cv2.matchTemplate(moved, part, cv2.TM_CCOEFF_NORMED).max()))
    return best


def gather(clones: Path, folder: Path) -> int:
    """Write two different photographs of each person into `folder`; returns the number of people.

    `clones` holds three clones from github.com: voteview/member_photos and Reform-to/congress-photos (both official
    portraits of members of the United States Congress, in the public domain) and unitedstates/congress-legislators,
    which names the people. Raises FaceBlurError if one is missing or cannot be read.
    """
    photos, directory, people = (
        _get_clone(clones, name) for name in ("member_photos", "congress-photos", "congress-legislators")
    )
    numbers: dict[str, int] = {}
    years: dict[str, str] = {}
    for line in _git(people, "log", "--format=%h %ad", "--date=format:%Y", "--", _CURRENT).decode().splitlines():
        commit, year = line.split()
        years[year] = commit
    # Older lists name former members; their own file is too large for some copies of the repository.
    for commit in years.values():
        name = ""
        for line in _git(people, "show", f"{commit}:{_CURRENT}").decode().splitlines():
            if match := re.match(r"\s+bioguide: (\w+)", line):
                name = match[1]
            elif match := re.match(r"\s+icpsr: (\d+)", line):
                numbers[name] = int(match[1])
    rows = csv.DictReader(io.StringIO(_git(photos, "show", "HEAD:members.csv").decode()))
    images = {int(row["icpsr"]): row["image"] for row in rows if row["icpsr"].isdigit()}
    detector = open_yunet()
    count = 0
    for file in _git(directory, "ls-tree", "--name-only", "HEAD", "img/200x250/").decode().split():
        number = numbers.get(Path(file).stem)
        if number not in images:
            continue
        both = [_git(photos, "show", f"HEAD:{images[number]}"), _git(directory, "show", f"HEAD:{file}")]
        tiles = [lay_out(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), detector) for data in both]
        if tiles[0] is None or tiles[1] is None or compare_photographs(tiles[0], tiles[1]) >= _SAME_PHOTOGRAPH:
            continue
        place = folder / Path(file).stem
        place.mkdir(parents=True, exist_ok=True)
        for name, data in zip(("1.jpg", "2.jpg"), both, strict=True):
            (place / name).write_bytes(data)
        count += 1
    return count


_CURRENT = "legislators-current.yaml"


def _get_clone(clones: Path, name: str) -> Path:
    for place in sorted(clones.glob(f"*{name}*")):
        return place / "repo" if (place / "repo").is_dir() else place
    raise FaceBlurError(f"{clones} does not contain a clone of {name}")


def _git(repository: Path, *arguments: str) -> bytes:
    done = subprocess.run(["git", "-C", str(repository), *arguments], check=False, capture_output=True)
    if done.returncode != 0:
        raise FaceBlurError(f"{repository} cannot be read: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
