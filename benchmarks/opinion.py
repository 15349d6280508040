# SPDX-License-Identifier: GPL-3.0-or-later
"""Fits the weights of core/tracking/face_probability.py to labelled tracks, and shows what they do on other clips.

build.py bench opinion FOLDER...: the folders hold the clips of benchmarks/truth/tracks under any names. Faces are one
class, drawings and other things the other; heads and what is unclear are only counted. The weights come from the clips
that may be used for it (logistic regression with a quadratic penalty of 1 on the weights of standardised evidence). The
clips that prove them are then only counted.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blender_faceblur.core.detection.picture_sizes import compute_decode_size
from blender_faceblur.core.detection.settings import get_preset
from blender_faceblur.core.geometry import Array
from blender_faceblur.core.tracking.analysis import analyse_frames, compute_stride
from blender_faceblur.core.tracking.face_probability import (
    EVIDENCE,
    FACE_PROBABILITY,
    compute_evidence,
    compute_face_logit,
    is_unlikely,
)
from blender_faceblur.core.tracking.linking import explain_weakness, join_tracklets
from blender_faceblur.core.tracking.observations import ObservationTable, Segment
from blender_faceblur.core.types import Box, FaceBlurError
from blender_faceblur.detectors.passes import combine_passes, make_turned
from blender_faceblur.sources import open_source
from blender_faceblur.worker.ensemble import Networks, choose_usable, open_opinion, open_sessions

from .annotations import compute_digest
from .labelled_tracks import LabelledClip, Shows, find_label, read_labels

PENALTY = 1.0


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled trajectory with a second opinion, and the evidence on it."""

    clip: LabelledClip
    frames: tuple[int, int]
    shows: Shows
    evidence: list[float]
    is_covered: bool
    """Whether the program as it is covers it."""


def collect_examples(clip: Path, labels: LabelledClip) -> list[Example]:
    """The labelled trajectories of a clip that no other rule suppresses, by an analysis with the preset balanced."""
    preset = get_preset("balanced")
    uses, _ = choose_usable(preset)
    opinion = open_opinion(Networks(), preset)
    if opinion is None:
        raise FaceBlurError("The weights for the second opinion are missing. Run `build.py models`.")
    with open_source(clip) as source, Networks() as networks:
        info = source.info
        size, rate = (info.width, info.height), float(info.frame_rate)
        sessions = open_sessions(networks, uses, "cpu")
        frame_count = labels.count_labelled(info.frame_count)
        table = ObservationTable([Segment(0, frame_count)])
        for record in analyse_frames(
            source.read_frames(0, frame_count, compute_decode_size(size, uses)),
            size,
            rate,
            combine_passes([(sessions[use.detector], use) for use in uses], size),
            preset.strong_confidence,
            source.upright_turn,
            compute_stride(preset.detect_every_s, rate),
            opinion.score_faces,
            make_turned(sessions) if preset.seeks_turned else None,
            preset.seeks_enlarged,
        ):
            table.add(0, record)
    searched = table.list_detected_frames()
    examples = []
    for trajectory in join_tracklets(table, size, rate, has_several_detectors=True):
        boxes: dict[int, Box] = {
            int(frame): (box[0], box[1], box[2], box[3])
            for frame, box in zip(trajectory.frames, trajectory.boxes.tolist(), strict=True)
        }
        shows, evidence = find_label(boxes, labels.tracks), compute_evidence(trajectory, size, searched)
        logit = compute_face_logit(trajectory, size, searched)
        weak = explain_weakness(
            trajectory,
            preset.strong_confidence,
            size,
            searched,
            has_several_detectors=True,
            single=frame_count == 1,
        )
        if shows is not None and evidence is not None and logit is not None and weak is None:
            span = int(trajectory.frames[0]), int(trajectory.frames[-1])
            is_covered = not is_unlikely(trajectory, logit, size, rate, searched)
            examples.append(Example(labels, span, shows, evidence, is_covered))
    return examples


def fit_weights(evidence: Array, is_face: NDArray[np.bool_], penalty: float) -> tuple[float, Array]:
    """Offset and weights of a logistic regression on standardised evidence (N x K), by Newton's method."""
    inputs = np.concatenate([np.ones((len(evidence), 1)), evidence], axis=1)
    shrink = penalty * np.diag([0.0] + [1.0] * evidence.shape[1])
    weights = np.zeros(inputs.shape[1])
    for _ in range(50):
        chance = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (is_face - chance) - shrink @ weights
        curvature = inputs.T @ (inputs * (chance * (1 - chance))[:, None]) + shrink
        weights += np.linalg.solve(curvature, slope)
    return float(weights[0]), weights[1:]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="build.py bench opinion", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, nargs="+", help="folders with the labelled clips")
    options = parser.parse_args(arguments)
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        labels = read_labels()
        examples: list[Example] = []
        for clip in sorted(path for folder in options.folder for path in folder.iterdir() if path.is_file()):
            known = labels.pop(compute_digest(clip), None)
            if known is not None:
                examples += collect_examples(clip, known)
                print(f"{known.name}: analysed", file=sys.stderr, flush=True)
    except (FaceBlurError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    for clip_name in sorted(one.name for one in labels.values()):
        print(f"{clip_name}: not in the folders")
    report(examples)
    return 0


def report(examples: list[Example]) -> None:
    """Print the weights, and at which logits the examples lie."""
    fitted = [one for one in examples if not one.clip.proves and one.shows not in (Shows.HEAD, Shows.UNCLEAR)]
    evidence = np.array([one.evidence for one in fitted])
    means, scales = evidence.mean(axis=0), evidence.std(axis=0)
    is_face = np.array([not one.shows.is_phantom for one in fitted])
    offset, weights = fit_weights((evidence - means) / scales, is_face, PENALTY)
    print(f"\n{is_face.sum()} faces, {(~is_face).sum()} other things in clips for the fit")
    print(f"{'evidence':20} {'mean':>8} {'scale':>8} {'weight':>8}")
    for name, mean, scale, weight in zip(EVIDENCE, means, scales, weights, strict=True):
        print(f"{name:20} {mean:8.3f} {scale:8.3f} {weight:8.3f}")
    print(f"offset {offset:.3f}")
    for title, proves in (("fit", False), ("test", True)):
        print(f"\nclips for the {title}")
        for shows in Shows:
            shown = [one for one in examples if one.clip.proves == proves and one.shows is shows]
            logits = sorted(
                (offset + float((np.array(one.evidence) - means) / scales @ weights), one.clip.name, one.frames)
                for one in shown
            )
            ignored = sum(not one.is_covered for one in shown)
            below = sum(logit < FACE_PROBABILITY.certain_logit for logit, *_ in logits)
            print(
                f"{shows:8} {len(shown):4}: {ignored} not covered as the program is, {below} doubtful by these weights"
            )
            for logit, name, (first, last) in logits[:8] if not shows.is_phantom else logits[-8:]:
                print(f"    {logit:6.2f} {name} {first}-{last}")


if __name__ == "__main__":
    sys.exit(main())
