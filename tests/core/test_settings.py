# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets: their detectors are known, missing ones give a warning, and optional weights are downloaded on request."""

from __future__ import annotations

import pytest

from blender_faceblur.core.detection.settings import (
    DEFAULT_MARGIN,
    PRESETS,
    Preset,
    choose_detectors,
    get_preset,
    list_detectors,
    name_ensemble,
)
from blender_faceblur.core.types import FaceBlurError
from blender_faceblur.detectors import get_detector
from blender_faceblur.detectors.onet import MODEL as OPINION_MODEL
from blender_faceblur.files import paths


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
def test_every_detector_of_a_preset_is_known_and_listed_with_its_weights(preset: Preset) -> None:
    assert preset in PRESETS
    for use in preset.detectors:
        kind = get_detector(use.detector)
        for name in (use.detector, *kind.further_weights):
            assert preset.name in paths.list_models()[name].presets, name
        assert 0 <= use.threshold < 1 and use.tiles >= 1 and use.turns
        assert kind.gives_landmarks or use.turns == (0,), "without landmarks nobody knows how a face leans"


def test_weights_name_only_presets_that_run_them() -> None:
    needed = {
        (name, preset.name)
        for preset in PRESETS
        for kind in map(get_detector, list_detectors(preset))
        for name in (kind.name, *kind.further_weights)
    } | {(OPINION_MODEL, preset.name) for preset in PRESETS if preset.second_opinion}
    assert {(model.name, preset) for model in paths.list_models().values() for preset in model.presets} == needed


def test_ensemble_is_the_popular_recipe_of_five_detectors() -> None:
    ensemble = get_preset("ensemble")
    assert {use.detector: use.threshold for use in ensemble.detectors if use.detector.startswith(("ssd", "blaze"))} == {
        "ssd_res10": 0.25,
        "blazeface_short": 0.2,
        "blazeface_full": 0.2,
    }
    assert {"yunet_2023mar", "haar_frontal", "haar_profile"} < set(list_detectors(ensemble)) and DEFAULT_MARGIN == 1.4
    assert ensemble.cover_uncertain and ensemble.on_request


def test_ensemble_runs_without_missing_detectors_and_warns() -> None:
    ensemble = get_preset("ensemble")
    uses, notes = choose_detectors(ensemble, {"yunet_2023mar", "haar_frontal", "haar_profile", "ssd_res10"})
    assert {use.detector for use in uses} == {"yunet_2023mar", "haar_frontal", "haar_profile", "ssd_res10"}
    assert any("without blazeface_short, blazeface_full" in note for note in notes)
    assert len(choose_detectors(ensemble, set(list_detectors(ensemble)))[1]) == len(notes) - 1
    with pytest.raises(FaceBlurError, match="None of the detectors"):
        choose_detectors(ensemble, {"centerface"})


def test_five_is_the_former_name_of_ensemble() -> None:
    assert get_preset("five") is get_preset("ensemble")


def test_every_preset_has_a_description() -> None:
    assert all(preset.meaning and "\n" not in preset.meaning for preset in PRESETS)


def test_any_detectors_can_form_an_ensemble() -> None:
    name = name_ensemble(["haar_frontal@640", "yunet_2023mar:0.4", "centerface"])
    assert [(use.detector, use.long_side, use.threshold) for use in get_preset(name).detectors] == [
        ("haar_frontal", 640, 0.0),
        ("yunet_2023mar", 960, 0.4),
        ("centerface", 960, 0.25),
    ]
    assert get_preset(name).detect_every_s == 0, "they run at every frame"
    assert list_detectors(get_preset(name_ensemble(["centerface"]))) == ["centerface"]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [""],
        ["centerface", ""],
        ["centerface@9"],
        ["centerface@9999"],
        ["centerface:2"],
        ["centerface:-1"],
        ["../../x"],
        ["Centerface"],
        ["centerface", "centerface"],
        ["centerface\n"],
        ["centerface@640:0.3:0.4"],
    ],
)
def test_invalid_ensembles_are_refused(wrong: list[str]) -> None:
    with pytest.raises(FaceBlurError):
        name_ensemble(wrong)
