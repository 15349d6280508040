# SPDX-License-Identifier: GPL-3.0-or-later
"""The rating of an effect follows the measurements; between two of them, the weaker cover decides."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blender_faceblur.core.cover.strength import MEASURED_PEOPLE, rate_effect
from blender_faceblur.core.types import FaceBlurError

TABLES = Path(__file__).resolve().parents[2] / "docs" / "strength.md"
ONE_PICTURE = {"plain", "sharpened", "deconvolved", "values of the blocks"}


def read_table(title: str) -> list[dict[str, str]]:
    """The rows of the table with that title in docs/strength.md, by column heading."""
    part = TABLES.read_text(encoding="utf-8").split(f"### {title}\n")[1].split("\n###")[0]
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in part.splitlines() if line[:1] == "|"]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


ANOTHER = {row["cover"]: row for row in read_table("Recognised: another photograph")}
SAME = {row["cover"]: row for row in read_table("Recognised: the same photograph, taken again")}
MADE_OF_SAMPLES = [name for name in ANOTHER if name[-1].isdigit()]


def find_most(row: dict[str, str], of_shots: bool) -> float:
    """The highest rank-1 rate in a row, for single pictures or for shots."""
    return max(
        (
            float(text.partition("/")[0])
            for column, text in row.items()
            if "gallery" in column and text and (column.partition(",")[0] not in ONE_PICTURE) is of_shots
        ),
        default=0.0,
    )


@pytest.mark.parametrize("name", MADE_OF_SAMPLES)
def test_each_stated_figure_is_in_the_table(name: str) -> None:
    kind, _, samples = name.partition(" ")
    verdict = rate_effect(kind, float(samples))
    assert not verdict.is_strong and f"At {samples} samples" in verdict.reason
    assert "no" in (ANOTHER[name]["at chance"], SAME[name]["at chance"]), "nothing in the tables makes it weak"
    if ANOTHER[name]["at chance"] == "yes":
        own = max(find_most(SAME[name], of_shots) for of_shots in (True, False))
        assert f"{own:.0f} of 100 people" in verdict.reason and "very same photograph" in verdict.reason
        return
    assert f"up to {find_most(ANOTHER[name], False):.0f} of 100 people" in verdict.reason
    shot = find_most(ANOTHER[name], True)
    assert (f"{shot:.0f} from a moving shot" in verdict.reason) is (shot > 0)


def test_only_effects_that_leave_nothing_of_the_face_are_strong() -> None:
    for name in ANOTHER.keys() - {"nothing", *MADE_OF_SAMPLES}:
        assert ANOTHER[name]["at chance"] == "yes" and rate_effect(name, 6).is_strong


def test_the_number_of_people_is_that_of_the_table() -> None:
    assert f"{MEASURED_PEOPLE} people. Chance" in TABLES.read_text(encoding="utf-8")


def test_the_weaker_of_two_measurements_decides() -> None:
    assert rate_effect("mosaic", 6.5) == rate_effect("mosaic", 7.9) == rate_effect("mosaic", 8)
    assert rate_effect("mosaic", 40) == rate_effect("mosaic", 16)
    assert re.search(r"At 2 samples", rate_effect("mosaic", 1).reason)


def test_an_effect_without_the_face_is_strong_at_any_setting() -> None:
    for kind in ("solid", "erase", "image"):
        assert rate_effect(kind, 2) == rate_effect(kind, 16) and rate_effect(kind, 6).is_strong


def test_an_unmeasured_effect_is_refused() -> None:
    with pytest.raises(FaceBlurError, match="no measurement of the effect 'pixels'"):
        rate_effect("pixels", 6)
