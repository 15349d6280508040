# SPDX-License-Identifier: GPL-3.0-or-later
"""How probably a trajectory shows a face, from all that is known about it.

That is what the detectors say, how steadily, and what a network says that knows nothing of theirs (the second
opinion, see `detectors.onet`). The score is a logistic regression, which benchmarks/opinion.py fits to labelled tracks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..detection.sharpness import measure_sharpness
from ..detection.turned import ScoreFaces, score_upright
from ..geometry import Array, compute_areas
from .observations import Trajectory
from .tracker import FrameRecord, Observation


@dataclass(frozen=True, slots=True)
class FaceProbabilitySettings:
    """Which detections get a second opinion, and how evidence becomes a probability.

    The evidence is the list in `compute_evidence`. `means`, `scales` and `weights` have one value for each piece of it.
    """

    first_scores: int = 4
    """Detections of a tracklet that are scored as soon as they come, so that brief ones have several scores. Raising it
    takes time. Origin: with `score_every_s`, 7 scores for a face of two seconds."""
    score_every_s: float = 0.4
    """Seconds between two later scores. Raising it saves time and may miss the moment in which a face turns to the
    camera. Origin: see `first_scores`."""
    score_every_share: float = 0.1
    """The same as a share of the tracklet's age, where that is longer, so that a face which stays in the picture is
    scored rarely. Raising it saves time. Origin: a guess."""
    most_per_frame: int = 12
    """Scores in one frame, those first that have fewest. Raising it takes time in crowds. Origin: 12 take 11 ms."""
    least_size_px: float = 24.0
    """Size, in pixels of the picture that the detectors see, below which nobody is asked: on smaller faces the network
    guesses. Raising it leaves more of what is no face covered. Origin: on the labelled tracks, the area under the curve
    is 0.81 for all sizes and 0.95 from 24 px."""
    means: tuple[float, ...] = (0.674, 0.736, 0.594, 0.377, -1.991)
    """The mean of each piece of evidence. Raising it equals lowering `offset`. Origin: benchmarks/opinion.py."""
    scales: tuple[float, ...] = (0.323, 0.193, 0.227, 0.434, 0.818)
    """Its standard deviation. Raising it gives the evidence less weight. Origin: benchmarks/opinion.py."""
    weights: tuple[float, ...] = (0.843, 0.531, 1.027, 1.898, -0.52)
    """The weight of each piece of evidence. Raising it gives the evidence more say. Origin: benchmarks/opinion.py."""
    offset: float = 2.377
    """The logit of a track with mean evidence. Raising it leaves more covered. Origin: benchmarks/opinion.py."""
    covered_logit: float = -2.05
    """Logit from which a track is covered. Raising it leaves more uncovered. Origin: below that of every face among the
    labelled tracks of the clips that the weights come from when it was chosen."""
    brief_logit: float = -1.0
    """The same for a track that does not last and that no other detector ever finds, if the network saw it all the time
    and the picture's edge does not cut it off. Raising it leaves more uncovered. Origin: with the next two, chosen on
    the same tracks; no face to which it applies is below 1.3 (docs/measuring.md)."""
    brief_scores: int = 3
    """Scores that such a track needs. Raising it leaves more that is no face covered. Origin: see `brief_logit`."""
    brief_face_score: float = 0.35
    """Mean face score (0..1) that it must not reach. Raising it leaves more uncovered. Origin: see `brief_logit`."""
    lasting_logit: float = -0.5
    """The same for a track that lasts, has scores throughout, and is not confirmed by another detector. Raising it
    leaves more uncovered. Origin: with the next five, chosen on the same tracks; the lowest face that they apply to has
    -0.08 (docs/measuring.md)."""
    lasting_s: float = 0.7
    """Seconds between the first and the last detection of such a track: a face that is blurred by motion or leaves the
    picture has low scores, but not for long. Raising it leaves more that is no face covered. Origin: see
    `lasting_logit`; the lowest brief face lasts 0.6 s."""
    lasting_scores: int = 4
    """Scores that such a track needs. Raising it leaves more that is no face covered. Origin: see `lasting_logit`."""
    scored_share: float = 0.5
    """Share (0..1) of the time of such a track, or of a brief one, that lies between its first and its last score: a
    small face may have scores only where it is close enough, and turned away. Raising it leaves more that is no face
    covered. Origin: see `lasting_logit`; without it two hard faces in the clips of benchmarks/truth/others were lost.
    """
    lasting_face_score: float = 0.18
    """Mean face score (0..1) that it must not reach. Raising it leaves more uncovered. Origin: see `lasting_logit`;
    with 0.35, hard faces in worse versions of hamilton.mp4 are lost, whose mean scores are 0.19 to 0.21."""
    lasting_agreed: int = 1
    """Frames in which several detectors may find such a track: they agree on something else by chance, too. Raising it
    leaves more uncovered. Origin: see `lasting_logit`."""
    lasting_agreed_share: float = 0.05
    """The same as a share (0..1) of the frames in which all ran, where that is more. Raising it leaves more uncovered.
    Origin: see `lasting_logit`."""
    certain_logit: float = 0.0
    """Logit from which a covered track is not in doubt, unless it lasts unconfirmed. Raising it lists more tracks for
    review, whose covers end sooner. Origin: even odds."""
    denied_scores: int = 4
    """Scores from which a track is listed for review, however probable its evidence makes a face, if no other detector
    and no score confirms it. Raising it lists fewer. Origin: with `denied_face_score`, drawn masks, which one detector
    takes for faces in each frame (`bench effort`); it lists 3 of the tracks of the labelled clips, of which none is
    known to be a face."""
    denied_face_score: float = 0.5
    """Highest face score (0..1) of such a track. Raising it lists more. Origin: see `denied_scores`."""
    contradicted_scores: int = 6
    """Scores from which a large track that lasts for `lasting_s` can be contradicted: a face that is blurred by motion
    is so only briefly. Raising it leaves more that is no face covered. Origin: with the other limits on contradicted
    tracks, chosen on the labelled tracks of the clips that the weights come from (docs/measuring.md). One face among
    them has as many, in 0.6 s."""
    contradicted_face_score: float = 0.35
    """Mean face score (0..1) below which the network contradicts such a track. Raising it leaves more uncovered.
    Origin: see `contradicted_scores`."""
    contradicted_confidence: float = 0.48
    """Mean confidence (0..1) below which the detector contradicts itself. Raising it leaves more uncovered. Origin: see
    `contradicted_scores`."""
    contradicted_agreed_share: float = 0.05
    """Share (0..1) of the frames in which several detectors find the track, below which the others contradict it.
    Raising it leaves more uncovered. Origin: see `contradicted_scores`."""
    contradicted_size_share: float = 0.18
    """Size of such a track, as a share of the picture's shorter side: smaller faces are often contradicted too. Raising
    it leaves more that is no face covered. Origin: see `contradicted_scores`."""


FACE_PROBABILITY = FaceProbabilitySettings()

EVIDENCE = ("face score", "highest confidence", "mean confidence", "detectors agree", "size")
"""What `compute_evidence` returns, in its order."""


def compute_evidence(
    trajectory: Trajectory, frame_size: tuple[int, int], detected_frames: NDArray[np.int_]
) -> list[float] | None:
    """What is known about a trajectory (see `EVIDENCE`); None if it has no second opinion.

    Its best face score (0..1; a face that looks at the camera for a moment is a face), its highest and its mean
    confidence, the share of the frames within it in which all detectors ran and several found it, and the logarithm of
    its size as a share of the picture's shorter side. `detected_frames`: the frames in which all detectors ran, sorted.
    """
    scores = trajectory.face_scores[np.isfinite(trajectory.face_scores)]
    if not len(scores):
        return None
    found = trajectory.is_detected()
    frames, confidence = trajectory.frames[found], trajectory.confidence[found]
    sizes = np.sqrt(compute_areas(trajectory.boxes[found]))
    searched = np.isin(frames, detected_frames)
    first, stop = np.searchsorted(detected_frames, (frames[0], frames[-1] + 1))
    agreed = int((trajectory.votes[found][searched] > 1).sum()) / max(1, int(stop - first))
    return [
        float(scores.max()),
        float(confidence.max()),
        float(confidence.mean()),
        agreed,
        math.log(float(np.median(sizes)) / min(frame_size)),
    ]


def compute_face_logit(
    trajectory: Trajectory, frame_size: tuple[int, int], detected_frames: NDArray[np.int_]
) -> float | None:
    """The logit of the probability that a trajectory shows a face; None if it has no second opinion."""
    evidence = compute_evidence(trajectory, frame_size, detected_frames)
    if evidence is None:
        return None
    values = (np.array(evidence) - FACE_PROBABILITY.means) / FACE_PROBABILITY.scales
    return FACE_PROBABILITY.offset + float(values @ np.array(FACE_PROBABILITY.weights))


def is_unlikely(
    trajectory: Trajectory,
    logit: float,
    frame_size: tuple[int, int],
    frame_rate: float,
    detected_frames: NDArray[np.int_],
) -> bool:
    """Whether a trajectory with this logit is too unlikely to show a face to be covered."""
    least = FACE_PROBABILITY.covered_logit
    if _is_brief_and_denied(trajectory, frame_size, frame_rate):
        least = FACE_PROBABILITY.brief_logit
    elif lasts_unconfirmed(trajectory, frame_rate, detected_frames):
        least = FACE_PROBABILITY.lasting_logit
    return logit < least or is_contradicted(trajectory, frame_size, frame_rate, detected_frames)


def _is_brief_and_denied(trajectory: Trajectory, frame_size: tuple[int, int], frame_rate: float) -> bool:
    """Whether the network saw no face all the time, and no other detector ever one, in a trajectory that does not last
    and lies within the picture."""
    found = trajectory.is_detected()
    frames, boxes = trajectory.frames[found], trajectory.boxes[found]
    scores = trajectory.face_scores[np.isfinite(trajectory.face_scores)]
    return bool(
        trajectory.votes.max() <= 1
        and frames[-1] - frames[0] < FACE_PROBABILITY.lasting_s * frame_rate
        and len(scores) >= FACE_PROBABILITY.brief_scores
        and scores.mean() < FACE_PROBABILITY.brief_face_score
        and _compute_scored_share(trajectory) >= FACE_PROBABILITY.scored_share
        and (boxes[:, :2] > 0).all()
        and (boxes[:, 2:] < np.array(frame_size)).all()
    )


def _compute_scored_share(trajectory: Trajectory) -> float:
    """The share (0..1) of the time between the first and the last detection that lies between two scores."""
    found = trajectory.frames[trajectory.is_detected()]
    scored = trajectory.frames[np.isfinite(trajectory.face_scores)]
    return float((scored[-1] - scored[0]) / max(1, found[-1] - found[0])) if len(scored) else 0.0


def lasts_unconfirmed(trajectory: Trajectory, frame_rate: float, detected_frames: NDArray[np.int_]) -> bool:
    """Whether the network saw a trajectory all the time, and no other detector confirmed it for as long as it lasts."""
    found = trajectory.is_detected()
    frames = trajectory.frames[found]
    scores = trajectory.face_scores[np.isfinite(trajectory.face_scores)]
    agreed = int((trajectory.votes[found][np.isin(frames, detected_frames)] > 1).sum())
    first, stop = np.searchsorted(detected_frames, (frames[0], frames[-1] + 1))
    return bool(
        frames[-1] - frames[0] >= FACE_PROBABILITY.lasting_s * frame_rate
        and len(scores) >= FACE_PROBABILITY.lasting_scores
        and scores.mean() < FACE_PROBABILITY.lasting_face_score
        and _compute_scored_share(trajectory) >= FACE_PROBABILITY.scored_share
        and trajectory.confidence[found].mean() < FACE_PROBABILITY.contradicted_confidence
        and agreed <= max(FACE_PROBABILITY.lasting_agreed, FACE_PROBABILITY.lasting_agreed_share * (stop - first))
    )


def is_denied(trajectory: Trajectory) -> bool:
    """Whether one detector finds a trajectory, and neither another one nor the network ever confirms it."""
    scores = trajectory.face_scores[np.isfinite(trajectory.face_scores)]
    return bool(
        len(scores) >= FACE_PROBABILITY.denied_scores
        and scores.max() < FACE_PROBABILITY.denied_face_score
        and trajectory.votes.max() <= 1
    )


def is_contradicted(
    trajectory: Trajectory, frame_size: tuple[int, int], frame_rate: float, detected_frames: NDArray[np.int_]
) -> bool:
    """Whether the network, the other detectors and the low confidence all deny a large trajectory, and for long.

    One high score or detection, which `compute_evidence` gives much weight, does not save such a track.
    """
    evidence = compute_evidence(trajectory, frame_size, detected_frames)
    scores = trajectory.face_scores[np.isfinite(trajectory.face_scores)]
    if evidence is None or len(scores) < FACE_PROBABILITY.contradicted_scores:
        return False
    found = trajectory.frames[trajectory.is_detected()]
    _, _, confidence, agreed, size = evidence
    return bool(
        found[-1] - found[0] >= FACE_PROBABILITY.lasting_s * frame_rate
        and scores.mean() < FACE_PROBABILITY.contradicted_face_score
        and confidence < FACE_PROBABILITY.contradicted_confidence
        and agreed < FACE_PROBABILITY.contradicted_agreed_share
        and size >= math.log(FACE_PROBABILITY.contradicted_size_share)
    )


@dataclass(slots=True)
class _Scored:
    """How often a tracklet was scored, and in which frames first and last."""

    first_frame: int
    last_frame: int
    count: int = 0


@dataclass(slots=True)
class FaceScorer:
    """Gives observations face scores and sharpness, at most so many a frame and ever more rarely for one tracklet."""

    score_faces: ScoreFaces
    frame_rate: float
    _scored: dict[int, _Scored] = field(default_factory=dict)

    def score(self, record: FrameRecord, picture: NDArray[np.uint8], scale: Array) -> None:
        """Score those detections of a record that are due. `scale` (2,): pixels of `picture` per pixel of its boxes."""
        scaled = np.tile(scale, 2)
        due = [(self._scored.get(one.tracklet), one) for one in record.observations if self._is_due(one, record, scale)]
        due.sort(key=lambda pair: pair[0].count if pair[0] else 0)
        chosen = [one for _, one in due[: FACE_PROBABILITY.most_per_frame]]
        boxes, rolls = [one.box * scaled for one in chosen], [one.roll for one in chosen]
        for one, score in zip(chosen, score_upright(self.score_faces, picture, boxes, rolls), strict=True):
            one.face_score = score
            one.sharpness = measure_sharpness(picture, one.box * scaled)
            known = self._scored.setdefault(one.tracklet, _Scored(record.source_frame, record.source_frame))
            known.last_frame = record.source_frame
            known.count += 1

    def _is_due(self, one: Observation, record: FrameRecord, scale: Array) -> bool:
        size = math.sqrt(float(np.prod((one.box[2:] - one.box[:2]) * scale)))
        if one.votes < 1 or size < FACE_PROBABILITY.least_size_px:
            return False
        known = self._scored.get(one.tracklet)
        if known is None or known.count < FACE_PROBABILITY.first_scores:
            return True
        age, since = (record.source_frame - frame for frame in (known.first_frame, known.last_frame))
        wait = max(FACE_PROBABILITY.score_every_s * self.frame_rate, FACE_PROBABILITY.score_every_share * age)
        return since >= wait
