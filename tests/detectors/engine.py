# SPDX-License-Identifier: GPL-3.0-or-later
"""Analyses pictures with a preset's real detectors, in this process."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from blender_faceblur.core.detection.settings import get_preset
from blender_faceblur.core.geometry import Array
from blender_faceblur.core.tracking.analysis import analyse_frames, build_document, compute_stride
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.types import FaceBlurError, SourceInfo, TrackDocument
from blender_faceblur.detectors.passes import combine_passes, make_turned
from blender_faceblur.worker.ensemble import Networks, choose_usable, list_used, open_opinion, open_sessions

RATE = 25


def analyse(
    preset_name: str,
    pictures: Iterable[NDArray[np.uint8]],
    size: tuple[int, int],
    frame_count: int,
    seeks_turned: bool = True,
    seeks_enlarged: bool = True,
) -> TrackDocument:
    """The document of a film of these pictures (BGR, of `size`: width, height). Skips the test without the weights."""
    preset = get_preset(preset_name)
    try:
        uses, _ = choose_usable(preset)
        opinion = open_opinion(Networks(), preset)
    except FaceBlurError as error:
        pytest.skip(str(error))
    if preset.second_opinion and opinion is None:
        pytest.skip("the weights of the second opinion are missing")
    info = SourceInfo("film.mp4", "movie", *size, frame_count, Fraction(RATE), "0" * 64)
    table = ObservationTable([Segment(0, frame_count)])
    with Networks() as networks:
        sessions = open_sessions(networks, uses, "cpu")
        for record in analyse_frames(
            enumerate(pictures),
            size,
            RATE,
            combine_passes([(sessions[use.detector], use) for use in uses], size),
            preset.strong_confidence,
            0,
            compute_stride(preset.detect_every_s, RATE),
            opinion.score_faces if opinion is not None else None,
            make_turned(sessions) if seeks_turned else None,
            preset.seeks_enlarged and seeks_enlarged,
        ):
            table.add(0, record)
    return build_document(table, info, preset, 1.4, list_used(uses, info), [])


def compute_covered_share(document: TrackDocument, frame: int, points: Array) -> float:
    """The share (0..1) of points (N x 2, pixels) that lie in a cover of a frame."""
    covered = np.zeros(len(points), np.bool_)
    for track in document.tracks:
        for ellipse in (s.ellipse.scaled(document.margin) for s in track.samples if s.source_frame == frame):
            c, s = np.cos(ellipse.angle), np.sin(ellipse.angle)
            along = (points - (ellipse.cx, ellipse.cy)) @ np.array([[c, -s], [s, c]])
            covered |= np.hypot(*(along / (ellipse.rx, ellipse.ry)).T) <= 1
    return float(covered.mean())
