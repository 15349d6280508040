# SPDX-License-Identifier: GPL-3.0-or-later
"""How similar faces are, how often strangers are as similar, and which tracks show the same person.

Embeddings come from dlib's recognition network (`recognition.dlib_resnet`); distances are Euclidean. Embeddings
identify people, so they stay in memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..geometry import Array
from ..types import Ellipse, Track, TrackKind
from .uninformative import UNINFORMATIVE

Vector = NDArray[np.float32]

RECOGNIZER = "dlib_resnet"
"""The recogniser for which the tables were measured. They do not hold for the embeddings of any other."""


class StrangerRate(NamedTuple):
    """A distance, and the share (0..1) of all pairs of different people whose distance is smaller."""

    distance: float
    share: float


STRANGER_DISTANCES: tuple[StrangerRate, ...] = (
    StrangerRate(distance=0.40, share=1.0e-5),
    StrangerRate(distance=0.42, share=1.5e-5),
    StrangerRate(distance=0.44, share=2.5e-5),
    StrangerRate(distance=0.46, share=6.0e-5),
    StrangerRate(distance=0.48, share=1.6e-4),
    StrangerRate(distance=0.50, share=4.0e-4),
    StrangerRate(distance=0.52, share=1.1e-3),
    StrangerRate(distance=0.54, share=3.0e-3),
    StrangerRate(distance=0.56, share=7.3e-3),
    StrangerRate(distance=0.58, share=1.6e-2),
    StrangerRate(distance=0.60, share=3.2e-2),
    StrangerRate(distance=0.65, share=0.13),
    StrangerRate(distance=0.70, share=0.30),
    StrangerRate(distance=0.80, share=0.75),
)
"""The share of all pairs of different people that are less than a distance apart; docs/people.md describes the
measurement. Smaller distances than the first were not measured and count as the first."""


@dataclass(frozen=True, slots=True)
class SimilaritySettings:
    """How much a face crop says about a person's identity, and which tracks are suggested as one person.

    Distances are Euclidean, between embeddings of `RECOGNIZER`.
    """

    usable_quality: float = 0.12
    """Quality (0..1) below which a crop is not used. Raising it uses fewer crops. Origin: chosen on the 9 annotated
    clips of docs/people.md."""
    good_quality: float = 0.35
    """Quality (0..1) from which a crop can also rule a person out. Raising it keeps fewer people visible, and delays
    the moment when the program notices that another person has taken their place. Origin: chosen on the 9 annotated
    clips of docs/people.md."""
    full_width_px: float = 40
    """Width of a face, in pixels of the source, from which its size no longer lowers the quality. Raising it lowers the
    quality of small faces. Origin not recorded."""
    most_nose_offset: float = 1.3
    """Offset of the nose from the middle of the eyes, in half the distance between the eyes, at which the quality of a
    face that is turned away becomes zero. An offset smaller by 1 does not lower it. Raising it raises the quality of
    faces that are turned away. Origin not recorded."""
    frontal_eye_mouth_ratio: float = 0.75
    """Distance between the eyes, divided by the distance from eyes to mouth, from which a face counts as frontal.
    Raising it lowers the quality of faces that are turned a little. Origin not recorded."""
    full_detail: float = 0.45
    """Detail (see `worker.embedding.compute_detail`) from which blur no longer lowers the quality. Raising it lowers
    the quality of soft faces. Origin: sharp faces 32 pixels wide have at least this much; faces blurred by a twentieth
    of their width have 0.2 (80 portraits)."""
    uninformative_distance: float = 0.44
    """Distance from the uninformative embedding (`UNINFORMATIVE`) up to which a crop has no weight. Raising it ignores
    more blurred faces. Origin not recorded."""
    informative_distance: float = 0.54
    """Distance from that embedding from which a crop has its full weight. Raising it gives blurred faces less weight.
    Origin not recorded."""
    most_references: int = 8
    """Maximum number of a person's references in use, chosen to differ most. Raising it makes the limit for strangers
    stricter, so that the person is recognised less often. Origin not recorded."""
    duplicate_reference_distance: float = 0.3
    """Distance up to which two references count as the same picture. Raising it uses fewer references. Origin not
    recorded."""
    same_person_distance: float = 0.58
    """Mean distance up to which tracks are suggested as one person. Raising it makes larger groups, including wrong
    ones. Origin: chosen on the 9 annotated clips of docs/people.md, raised from 0.52 when they were first measured."""
    never_same_distance: float = 0.72
    """Largest mean distance between any two tracks of a group. Raising it makes larger groups, including wrong ones.
    Origin: chosen on the 9 annotated clips of docs/people.md."""
    grouped_crops: int = 6
    """Number of a track's best crops that are compared for groups. Raising it averages over more and worse crops.
    Origin not recorded."""
    least_grouped_crops: int = 2
    """Good crops that a track needs to be grouped. Raising it leaves more tracks ungrouped. Origin: introduced when
    groups were first measured on the annotated clips; how it was chosen is not recorded."""
    apart_frames: int = 2
    """Two tracks cannot be one person if they are at two places in more frames than this. Raising it groups more tracks
    that overlap. Origin not recorded."""
    apart_semi_axes: float = 0.5
    """How far apart two centres must lie to be two places, as a multiple of the sum of the smaller semi-axes: one face
    may be tracked twice. Raising it takes more neighbours for the same face. Origin not recorded."""
    inside_semi_axes: float = 0.6
    """How far from a track's centre, in its semi-axes, the middle of a face crop may lie to belong to that track.
    Raising it assigns more crops, including those of neighbours. Origin not recorded."""
    assigned_size_ratio: float = 2.0
    """How many times larger or smaller than the track's ellipse the face of that crop may be. Raising it assigns more
    crops, including wrong ones. Origin not recorded."""


SIMILARITY = SimilaritySettings()

USABLE = SIMILARITY.usable_quality
GOOD = SIMILARITY.good_quality
SAME_GROUP = SIMILARITY.same_person_distance

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, eq=False)
class FaceEmbedding:
    """The embedding of one face crop: its vector (128 numbers), and its quality, which is `rate_crop` times
    `compute_clarity`."""

    source_frame: int
    vector: Vector
    quality: float


def rate_crop(landmarks: Sequence[Sequence[float]], side_px: float, confidence: float, detail: float) -> float:
    """How well a face can be recognised, from 0 to 1. Large, confidently detected, frontal and sharp faces rate
    highest.

    `side_px` is the face's width in pixels of the source; `detail` comes from `worker.embedding.compute_detail`.
    Landmarks are those of `Detection`.
    """
    (rx, ry), (lx, ly), (nx, ny), right_mouth, left_mouth = landmarks
    eyes = (rx + lx) / 2, (ry + ly) / 2
    mouth = (right_mouth[0] + left_mouth[0]) / 2, (right_mouth[1] + left_mouth[1]) / 2
    tall, wide = math.dist(mouth, eyes), math.dist((lx, ly), (rx, ry))
    if tall < 1e-6 or wide < 1e-6:
        return 0.0
    # In a frontal face the nose lies midway between the eyes, which are about as far from each other as from the mouth.
    nose_offset = abs((nx - eyes[0]) * (lx - rx) + (ny - eyes[1]) * (ly - ry)) / wide / (wide / 2)
    front = min(max(SIMILARITY.most_nose_offset - nose_offset, 0.0), 1.0) * min(
        wide / tall / SIMILARITY.frontal_eye_mouth_ratio, 1.0
    )
    large, sharp = min(1.0, side_px / SIMILARITY.full_width_px), min(max(detail / SIMILARITY.full_detail, 0.0), 1.0)
    return large * min(1.0, max(confidence, 0.0)) * front * sharp


def compute_clarity(vector: Vector) -> float:
    """How much an embedding tells about identity, from 0 to 1; see `uninformative`."""
    away = float(np.linalg.norm(np.asarray(vector, float) - np.array(UNINFORMATIVE)))
    least = SIMILARITY.uninformative_distance
    return float(np.clip((away - least) / (SIMILARITY.informative_distance - least), 0, 1))


def compute_false_accept_rate(distance: float, references: int = 1) -> float:
    """How often (0..1) a stranger is this near to one of `references` references; never less than the smallest measured
    share."""
    distances = [row.distance for row in STRANGER_DISTANCES]
    logs = [math.log(row.share) for row in STRANGER_DISTANCES]
    return min(1.0, references * math.exp(float(np.interp(distance, distances, logs))))


def compute_threshold(rate: float, references: int = 1) -> float:
    """The distance within which at most the share `rate` of strangers is to one of `references` references.

    0, within which no face is, where such a small share was not measured.
    """
    wanted = rate / max(references, 1)
    if wanted < STRANGER_DISTANCES[0].share:
        return 0.0
    logs = [math.log(row.share) for row in STRANGER_DISTANCES]
    return float(np.interp(math.log(wanted), logs, [row.distance for row in STRANGER_DISTANCES]))


def choose_references(vectors: Sequence[Vector], most: int = SIMILARITY.most_references) -> list[Vector]:
    """The references that differ most, without near duplicates: each reference gives strangers another chance."""
    kept: list[Vector] = list(vectors[:1])
    while kept and len(kept) < most:
        away = np.stack([np.linalg.norm(np.stack(list(vectors)) - other, axis=1) for other in kept]).min(axis=0)
        farthest = int(np.argmax(away))
        if away[farthest] <= SIMILARITY.duplicate_reference_distance:
            break
        kept.append(vectors[farthest])
    return kept


def measure_distances(embeddings: Sequence[FaceEmbedding], references: Sequence[Vector]) -> Array:
    """The distance of each embedding (N) to the nearest reference; infinite without references."""
    if not embeddings or not len(references):
        return np.full(len(embeddings), np.inf)
    vectors = np.stack([embedding.vector for embedding in embeddings]).astype(float)
    others = np.stack(list(references)).astype(float)
    return np.asarray(np.linalg.norm(vectors[:, None] - others[None], axis=2).min(axis=1))


def compute_median_distance(distances: Array, embeddings: Sequence[FaceEmbedding]) -> float:
    """The median of the distances, weighted by the square of the embeddings' quality. Infinite where there are none."""
    if not len(distances):
        return math.inf
    order = np.argsort(distances, kind="stable")
    weights = np.array([embeddings[i].quality for i in order]) ** 2
    half = weights.sum() / 2
    return float(distances[order[min(int(np.searchsorted(np.cumsum(weights), half)), len(order) - 1)]])


def choose_best(
    embeddings: Iterable[FaceEmbedding], most: int = SIMILARITY.grouped_crops, least: float = USABLE
) -> list[FaceEmbedding]:
    """At most `most` embeddings with at least the quality `least`, the best first."""
    return sorted((v for v in embeddings if v.quality >= least), key=lambda v: -v.quality)[:most]


def list_coexisting_pairs(tracks: Iterable[Track]) -> set[tuple[str, str]]:
    """The names of pairs of tracks that cannot be one person, since they are at two places in the same frames."""
    apart = set()
    ordered = sorted((t for t in tracks if t.samples), key=lambda t: t.samples[0].source_frame)
    for one, other in itertools.combinations(ordered, 2):
        if other.samples[0].source_frame > one.samples[-1].source_frame:
            continue
        places = {s.source_frame: s.ellipse for s in one.samples}
        count = 0
        for sample in other.samples:
            place = places.get(sample.source_frame)
            if place is not None and _coexist(place, sample.ellipse):
                count += 1
                if count > SIMILARITY.apart_frames:
                    apart.add((one.name, other.name))
                    break
    return apart


def _coexist(one: Ellipse, other: Ellipse) -> bool:
    """Whether two ellipses in one frame are two faces. One face may be tracked twice."""
    least = SIMILARITY.apart_semi_axes * (min(one.rx, one.ry) + min(other.rx, other.ry))
    return math.hypot(one.cx - other.cx, one.cy - other.cy) > least


def assign_embeddings(
    tracks: Sequence[Track], crops: Sequence[tuple[int, Sequence[float]]]
) -> Iterable[tuple[str, int]]:
    """Assign face crops (source frame and box) to tracks. Yields track names with indices into `crops`, in their order.

    A crop belongs to the track whose ellipse holds its middle nearest to the centre, if both are about the same size.
    """
    there: dict[int, list[tuple[str, Ellipse]]] = {}
    wanted = {frame for frame, _ in crops}
    for track in tracks:
        for sample in track.samples:
            if sample.source_frame in wanted and track.kind is TrackKind.FACE:
                there.setdefault(sample.source_frame, []).append((track.name, sample.ellipse))
    for number, (frame, (x1, y1, x2, y2)) in enumerate(crops):
        cx, cy, size = (x1 + x2) / 2, (y1 + y2) / 2, math.sqrt(max((x2 - x1) * (y2 - y1), 1e-9))
        depths = []
        for name, face in there.get(frame, ()):
            depth = math.hypot((cx - face.cx) / face.rx, (cy - face.cy) / face.ry)
            ratio = size / (2 * math.sqrt(face.rx * face.ry))
            most = SIMILARITY.assigned_size_ratio
            if depth < SIMILARITY.inside_semi_axes and 1 / most < ratio < most:
                depths.append((depth, name))
        if depths:
            yield min(depths)[1], number


def group_tracks(
    embeddings: Mapping[Key, Sequence[FaceEmbedding]],
    apart: Collection[tuple[Key, Key]] = (),
    limit: float = SAME_GROUP,
) -> list[list[Key]]:
    """Suggest which tracks show one person, the largest group first. A track without enough good crops stays alone.

    Uses average linkage of the tracks' best crops, up to the distance `limit`. Two tracks that are `apart`, or further
    from each other than `SimilaritySettings.never_same_distance`, are never in one group.
    """
    keys = list(embeddings)
    # Poor crops are similar to everyone's.
    best = [choose_best(embeddings[key], least=GOOD) for key in keys]
    best = [crops if len(crops) >= SIMILARITY.least_grouped_crops else [] for crops in best]
    count = len(keys)
    distance = np.full((count, count), np.inf)
    for i, j in itertools.combinations(range(count), 2):
        if best[i] and best[j]:
            one, other = (np.stack([v.vector for v in part]).astype(float) for part in (best[i], best[j]))
            weights = np.outer([v.quality for v in best[i]], [v.quality for v in best[j]])
            apart_by = np.linalg.norm(one[:, None] - other[None], axis=2)
            distance[i, j] = distance[j, i] = float((apart_by * weights).sum() / weights.sum())
    forbidden = distance > SIMILARITY.never_same_distance
    place = {key: number for number, key in enumerate(keys)}
    for first, second in apart:
        if first in place and second in place:
            forbidden[place[first], place[second]] = forbidden[place[second], place[first]] = True
    distance[forbidden] = np.inf
    groups: list[list[int]] = [[i] for i in range(count)]
    alive = np.ones(count, bool)
    while count > 1:
        i, j = (int(v) for v in np.unravel_index(np.argmin(distance), distance.shape))
        if not distance[i, j] <= limit:
            break
        one_size, other_size = len(groups[i]), len(groups[j])
        # An infinite distance between any two tracks stays infinite, so that a mean never joins tracks that are apart.
        joined = (one_size * distance[i] + other_size * distance[j]) / (one_size + other_size)
        groups[i] += groups[j]
        alive[j] = False
        distance[i], distance[:, i] = joined, joined
        distance[j], distance[:, j] = np.inf, np.inf
        distance[i, i] = np.inf
    found = [sorted(groups[i]) for i in range(count) if alive[i]]
    return [[keys[k] for k in group] for group in sorted(found, key=lambda g: (-len(g), g[0]))]


def describe_rate(rate: float) -> str:
    """A share of strangers in words: "about 1 in 2 000", rounded to one digit."""
    if rate <= STRANGER_DISTANCES[0].share:
        return f"fewer than 1 in {_round_to_one_digit(1 / STRANGER_DISTANCES[0].share)}"
    return f"about 1 in {_round_to_one_digit(1 / rate)}"


def _round_to_one_digit(value: float) -> str:
    digits = max(len(str(int(value))) - 1, 0)
    return f"{round(value / 10**digits) * 10**digits:,}".replace(",", " ")
