# SPDX-License-Identifier: GPL-3.0-or-later
"""A fixed part of `bench hostile`: the real command on damaged files, and on intact ones that few programs read."""

from __future__ import annotations

import pytest

from benchmarks.hostile import Case, run
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.files import paths

INTACT = ("mp4 edit list", "mkv early", "flv sorenson")
DAMAGED = (
    ("mp4 faststart", "truncated"),
    ("mov prores pcm", "sizes"),
    ("ts mpeg2", "swapped"),
    ("webm vp8 opus", "extension"),
    ("png", "bits"),
)


@pytest.fixture(autouse=True)
def weights() -> None:
    try:
        for name in ("centerface", "yunet_2023mar"):
            paths.get_model_path(name)
    except FaceBlurError as error:
        pytest.skip(str(error))


def test_no_file_breaks_the_command_or_shows_a_face() -> None:
    cases = [Case(kind, "none", number) for number, kind in enumerate(INTACT)]
    cases += [Case(kind, damage, 100 + number) for number, (kind, damage) in enumerate(DAMAGED)]
    outcomes, faults = run(iter(cases), minutes=5)
    assert faults == []
    assert sum(outcomes.values()) == len(cases)
    assert sum(outcomes[kind, "none", "done"] for kind in INTACT) == len(INTACT)
