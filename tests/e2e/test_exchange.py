# SPDX-License-Identifier: GPL-3.0-or-later
"""The complete command with boxes, zones, mattes and tables: what they name is covered in the finished film."""

from __future__ import annotations

import csv
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.batch import cli
from tools.film import make_film

WIDTH, HEIGHT, FRAMES = 640, 360, 15
BOX = (20, 300, 90, 40)
ZONE = (500, 10, 620, 60)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "steady.mp4"
    make_film(path, width=WIDTH, height=HEIGHT, frame_rate=Fraction(25), seconds=0.6, scene="steady")
    return path


def read_film(path: Path) -> list[NDArray[np.uint8]]:
    import av

    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def is_green(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray(np.abs(picture.astype(int) - (0, 255, 0)).max(axis=2) < 60)


def test_boxes_and_zones_are_covered_and_mattes_show_all_covers(film: Path, tmp_path: Path) -> None:
    import cv2

    boxes, regions = tmp_path / "boxes.txt", tmp_path / "regions.toml"
    boxes.write_text("".join(f"{n},1,{','.join(map(str, BOX))},1,-1,-1,-1\n" for n in range(5, 11)), encoding="utf-8")
    regions.write_text(f"[[cover]]\nbox = {list(ZONE)}\n", encoding="utf-8")
    output, matte, table = tmp_path / "out.mkv", tmp_path / "matte.mov", tmp_path / "tracks.csv"
    common = ["--preset", "fast", "--quiet", "--color", "00FF00"]
    arguments = [*common, "--boxes", str(boxes), "--regions", str(regions), "--save-mattes", str(matte)]
    code = cli.main([str(film), *arguments, "-o", str(output), "--save-tracks", str(table), "--verify"])
    assert code == cli.ALL_WELL
    pictures, coverages = read_film(output), [picture[..., 0] for picture in read_film(matte)]
    assert len(pictures) == len(coverages) == FRAMES
    x, y, width, height = BOX
    for number, (picture, coverage) in enumerate(zip(pictures, coverages, strict=True), 1):
        green = is_green(picture)
        assert green[ZONE[1] : ZONE[3], ZONE[0] : ZONE[2]].all()
        assert green[y : y + height, x : x + width].all() == (5 <= number <= 10)
        # Soft edges are neither, and colours at half the resolution reach two pixels farther.
        assert green[coverage > 250].all() and not green[cv2.dilate(coverage, np.ones((5, 5))) < 5].any()
    with open(table, encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["kind"] for row in rows} == {"face", "region"} and all(row["covered"] == "1" for row in rows)
    # Other boxes or zones make the output again, and the same do not.
    before = output.stat().st_mtime_ns
    assert cli.main([str(film), *arguments, "-o", str(output), "--overwrite", "--resume"]) == cli.ALL_WELL
    assert output.stat().st_mtime_ns == before
    boxes.write_text(boxes.read_text(encoding="utf-8") + "11,1,0,0,9,9\n", encoding="utf-8")
    assert cli.main([str(film), *arguments, "-o", str(output), "--overwrite", "--resume"]) == cli.ALL_WELL
    assert output.stat().st_mtime_ns != before


def test_a_sequence_of_mattes_has_its_own_folder(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    arguments = [str(film), "--preset", "fast", "--quiet", "--no-render"]
    mattes = [*arguments, "--save-mattes", str(tmp_path / "mattes"), "--matte-format", "png"]
    assert cli.main(mattes) == cli.ALL_WELL
    folder = tmp_path / "mattes" / "steady.matte"
    names = [path.name for path in sorted(folder.iterdir())]
    assert names == [f"steady.{number:06}.png" for number in range(1, FRAMES + 1)]
    picture = cv2.imread(str(folder / names[0]), cv2.IMREAD_UNCHANGED)
    assert picture.shape == (HEIGHT, WIDTH) and set(np.unique(picture)) >= {0, 255}
    assert cli.main(mattes) == cli.SOME_FAILED
    assert "already holds mattes" in capsys.readouterr().err
    (folder / "steady.000099.png").write_bytes(b"of a longer film")
    assert cli.main([*mattes, "--overwrite"]) == cli.ALL_WELL
    assert [path.name for path in sorted(folder.iterdir())] == names
    (folder / "mine.txt").write_text("", encoding="utf-8")
    assert cli.main([*mattes, "--overwrite"]) == cli.SOME_FAILED
    assert "holds other files" in capsys.readouterr().err and (folder / "mine.txt").exists()
    assert cli.main([*arguments, "--save-mattes", str(tmp_path / "a.png")]) == cli.SOME_FAILED
    assert "--matte-format png" in capsys.readouterr().err


def test_missing_or_contradicting_files_are_refused_before_the_work(
    film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in ("--boxes", "--regions"):
        assert cli.main([str(film), option, str(tmp_path / "missing.toml")]) == cli.USAGE
    (tmp_path / "boxes.txt").write_text("1,1,0,0,9,9\n", encoding="utf-8")
    other = shutil.copy(film, tmp_path / "other.mp4")
    assert cli.main([str(film), str(other), "--boxes", str(tmp_path / "boxes.txt")]) == cli.USAGE
    assert "is one file, but there are several inputs" in capsys.readouterr().err
    assert cli.main([str(film), "--inverse", "--save-mattes", str(tmp_path / "m")]) == cli.USAGE
    assert "--save-mattes cannot be combined with --inverse" in capsys.readouterr().err
    assert not film.with_name("steady.blurred.mp4").exists()
