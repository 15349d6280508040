# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages between the processes of an analysis: one JSON object per line, checked on arrival.

Request lines go to a child's stdin, which stays open: when it closes, the child ends. Messages come on stdout. A
lasting child gets its next request after it has sent Ready, or at any time if the first was a PrepareRequest.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np

from ..core.cover.effects import EffectSettings
from ..core.tracking.appearance import LENGTH
from ..core.tracking.tracker import FrameRecord, Observation
from ..sources import MovieFacts

PROTOCOL = 2
LONGEST_LINE = 4 << 20
LONGEST_REQUEST = 64 << 20
"""Characters. A request may contain the names of a hundred thousand pictures."""
_LONGEST_LIST = 100_000
_APPEARANCE = re.compile(f"[0-9a-f]{{{2 * LENGTH}}}")


class ProtocolError(Exception):
    """A line is not a valid message of this protocol."""


@dataclass(frozen=True, slots=True)
class SourceRef:
    """What to open: the file `path`, or with `files` the sequence of these pictures in the folder `path`.

    A sequence is shown at `frame_rate` (numerator and denominator; empty means 25). With a `fingerprint` a source with
    another fingerprint is refused, and with `for_blender` one that Blender cannot show.
    """

    path: str
    files: list[str] = field(default_factory=list)
    frame_rate: list[int] = field(default_factory=list)
    fingerprint: str = ""
    for_blender: bool = False

    @classmethod
    def of(
        cls, path: Path, files: Sequence[str] = (), frame_rate: Fraction | None = None, fingerprint: str = ""
    ) -> SourceRef:
        rate = [] if frame_rate is None else [frame_rate.numerator, frame_rate.denominator]
        return cls(str(path.resolve()), list(files), rate, fingerprint)


def list_package_folders() -> list[str]:
    """The folders in which this process finds packages."""
    # Empty entries stand for the current folder, from which the child must not import.
    return [folder for folder in sys.path if folder]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRequest:
    """What every request carries: `sys_path` are the folders in which the child finds packages."""

    sys_path: list[str] = field(default_factory=list_package_folders)
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class AnalysisRequest(BaseRequest):
    """Analyse `source` and write the tracks document to `output`.

    With `processes` 0 the child chooses their number. `provider` is "auto" (a GPU if it is faster), "cpu" or "gpu", and
    `cache` the folder that keeps which is faster, or empty. `storage` is the folder that stores analyses for reuse, or
    empty. `span` is a half-open range of frames, or empty for all. With `recognise` the process sends embeddings of the
    tracks' faces before the result, if it has just analysed the whole film; an EmbeddingsDone then follows them.
    `expected_frames` is about how many frames there are, or 0: of a long film the other processes can then be started
    before it is opened. With `facts` the source is the film that they describe, and must not have changed since.
    """

    source: SourceRef
    output: str
    preset: str
    margin: float
    processes: int = 0
    provider: str = "auto"
    storage: str = ""
    span: list[int] = field(default_factory=list)
    recognise: bool = False
    cache: str = ""
    expected_frames: int = 0
    facts: MovieFacts | None = None


@dataclass(frozen=True, slots=True)
class PrepareRequest(BaseRequest):
    """Load what the analysis of a segment needs. Nothing answers it; another request follows, which is the job."""


@dataclass(frozen=True, slots=True)
class SegmentRequest(BaseRequest):
    """Run a preset's detectors on frames `start`..`stop` of `source` and report each frame.

    With `facts` the source is the film that they describe, and must not have changed since.
    """

    source: SourceRef
    preset: str
    start: int
    stop: int
    provider: str = "auto"
    recognise: bool = False
    facts: MovieFacts | None = None


@dataclass(frozen=True, slots=True)
class TrackRequest(BaseRequest):
    """Track one region in frames `start`..`stop` from its `keys` and write a document with that one track to `output`.

    A key is frame, cx, cy, rx, ry and angle of the face; `cuts` are the first frames of shots.
    """

    source: SourceRef
    output: str
    keys: list[list[float]]
    start: int
    stop: int
    cuts: list[int]


@dataclass(frozen=True, slots=True)
class VerifyRequest(BaseRequest):
    """Compare the finished `film` with its `source` and the tracks document at `tracks`; the result goes to `output`.

    The detectors run on each film frame that is a multiple of `every`. `samples_per_face` is the effect's setting.
    `shown` lists which source frames the film shows, as runs of [film frame, source frame, length]; empty: all, in
    order. `place` is the 2 x 3 matrix, row by row, from the source's pixels to the film's; empty: the same pixels. With
    `processes` 0 the child chooses their number. With `part` (half-open range of film frames) only these frames are
    compared, and their comparisons are written to `output`. `source` must be the one from which `tracks` was made.
    `voice` is what became of the sound (see `delivery.voice`). With `facts` the source is the film that they describe,
    and with `film_facts` so is `film`; neither must have changed since.
    """

    source: SourceRef
    film: str
    tracks: str
    output: str
    samples_per_face: float = 6.0
    every: int = 3
    shown: list[list[int]] = field(default_factory=list)
    place: list[float] = field(default_factory=list)
    provider: str = "auto"
    processes: int = 0
    part: list[int] = field(default_factory=list)
    voice: str = "keep"
    facts: MovieFacts | None = None
    film_facts: MovieFacts | None = None


@dataclass(frozen=True, slots=True)
class PaintRequest(BaseRequest):
    """Paint the covers of the tracks document at `tracks` into the pictures of `source`.

    Of a film, the pieces (see `painting.film`) go to `folder`, which may hold those of an earlier run; their list and
    what was painted go to `output` as JSON. Of a picture, the covered picture goes to `output`. `codec`, `quality` and
    `encoder` are those of `painting.encoders.choose_encoder`, and `allowed` the codecs that the container holds. With
    `share` (i, n; i from 1) only every nth piece is painted, beginning with the ith, and listed.

    With `outlines` the covers are those of that file (see `painting.outlines`), not of `tracks`, which is empty. The
    film then has one picture for each frame of the source's strip. Complete, with the source's sound, it goes to the
    file whose path is `film` and an ending; so does a picture, and the pictures of a sequence go to the folder `film`.
    `output` gets that path (`film`) and the names of a sequence's pictures (`files`) as JSON. `allowed` is ignored.
    `face_px` is the width of the face that sets the strength.
    """

    source: SourceRef
    tracks: str
    output: str
    effect: EffectSettings
    folder: str = ""
    codec: str = "auto"
    quality: str = "high"
    encoder: str = "cpu"
    allowed: list[str] = field(default_factory=list)
    share: list[int] = field(default_factory=list)
    outlines: str = ""
    film: str = ""
    face_px: float = 0.0


@dataclass(frozen=True, slots=True)
class EmbedRequest(BaseRequest):
    """Embed the faces of the tracks document `tracks` in the pictures of `source`, in each track's best frames."""

    source: SourceRef
    tracks: str


@dataclass(frozen=True, slots=True)
class ReferenceRequest(BaseRequest):
    """Embed the one face in each of these picture files."""

    pictures: list[str]


@dataclass(frozen=True, slots=True)
class ProbeRequest(BaseRequest):
    """List onnxruntime's available providers."""


@dataclass(frozen=True, slots=True)
class ThumbnailsRequest(BaseRequest):
    """Cut a picture of `side` x `side` pixels around each of `faces` (frame and the box x1, y1, x2, y2) and send it."""

    source: SourceRef
    faces: list[list[float]]
    side: int


@dataclass(frozen=True, slots=True)
class Providers:
    """The answer to a ProbeRequest: onnxruntime's own names."""

    names: list[str]


@dataclass(frozen=True, slots=True)
class Started:
    """The child runs, has read its request and opened the source."""

    frames: int
    protocol: int = PROTOCOL


@dataclass(frozen=True, slots=True)
class Running:
    """What the detectors run on, as shown to the user: "CPU", "CUDA", "DirectML", "CoreML"."""

    provider: str


class Stage(StrEnum):
    """The current step of a job."""

    DETECT = "detect"
    LINK = "link"
    FOLLOW = "follow"
    RECOGNISE = "recognise"
    RENDER = "render"
    VERIFY = "verify"


@dataclass(frozen=True, slots=True)
class Progress:
    """`fps` is the average number of source frames per second since the start."""

    stage: Stage
    done: int
    total: int
    fps: float


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning for the user; the job continues."""

    text: str


@dataclass(frozen=True, slots=True)
class BoxEmbedding:
    """Box and embedding of a face while its film is analysed, before tracks exist; otherwise as in `TrackEmbedding`."""

    frame: int
    box: list[float]
    quality: float
    vector: list[float]


@dataclass(frozen=True, slots=True)
class TrackEmbedding:
    """One embedding of a face: of a track at a frame, or in a picture file (`track` is then its path, and the frame 0).

    `vector` identifies a person and may only be kept in memory. See `core.people.similarity.FaceEmbedding`.
    """

    track: str
    frame: int
    quality: float
    vector: list[float]


@dataclass(frozen=True, slots=True)
class EmbeddingsDone:
    """All embeddings were sent; `recogniser` is the model that computed them."""

    recogniser: str
    views: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Result:
    """The complete document is at `output`."""

    output: str
    frames: int
    tracks: int
    doubts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PaintDone:
    """The covers are painted, see `PaintRequest`; `frames` are the pictures painted now, without those of before."""

    output: str
    frames: int
    seconds: float


@dataclass(frozen=True, slots=True)
class VerificationDone:
    """The complete verification (see `core.verification`) is at `output`."""

    output: str
    frames: int
    leaks: int
    doubts: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ErrorMessage:
    """The job has failed; nothing was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A lasting process has finished its job, whose last message came before, and waits for the next request."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """The picture of the face with that index in the request: 8-bit RGB, rows from the top, in base64."""

    number: int
    side: int
    pixels: str


@dataclass(frozen=True, slots=True)
class Finished:
    """A process has sent all its frames or pictures; `notes` are the warnings of the source."""

    frames: int
    notes: list[str]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing arrived in the time that the caller of `run_job` wanted to wait."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One analysed frame from a segment process; a row is an observation: tracklet, box, confidence, roll, votes."""

    frame: int
    cut: bool
    mixed: bool
    rows: list[list[float]]
    joins: list[list[int]]
    looked: bool
    looks: list[str] = field(default_factory=list)
    """The appearance of each observation as hexadecimal digits, empty if it has none; an empty list if none has one."""
    scores: list[float] = field(default_factory=list)
    """The face score (0..1) of each observation, -1 if it has none; an empty list if none has one."""
    sharpness: list[float] = field(default_factory=list)
    """The same for their sharpness."""


Message = (
    Started
    | Running
    | Progress
    | Warned
    | TrackEmbedding
    | Result
    | VerificationDone
    | PaintDone
    | EmbeddingsDone
    | ErrorMessage
    | Waiting
)
"""What `run_job` yields. The last message is a Result, a VerificationDone, a PaintDone, an EmbeddingsDone or an
ErrorMessage."""

_KINDS: dict[str, type] = {
    "analyse": AnalysisRequest,
    "prepare": PrepareRequest,
    "segment": SegmentRequest,
    "probe": ProbeRequest,
    "follow": TrackRequest,
    "embed": EmbedRequest,
    "references": ReferenceRequest,
    "view": TrackEmbedding,
    "embedded": EmbeddingsDone,
    "seen": BoxEmbedding,
    "verify": VerifyRequest,
    "paint": PaintRequest,
    "painted": PaintDone,
    "started": Started,
    "verified": VerificationDone,
    "thumbnails": ThumbnailsRequest,
    "thumbnail": Thumbnail,
    "running": Running,
    "progress": Progress,
    "warning": Warned,
    "result": Result,
    "error": ErrorMessage,
    "finished": Finished,
    "frame": Frame,
    "providers": Providers,
    "ready": Ready,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_REQUESTS = (
    AnalysisRequest,
    PrepareRequest,
    SegmentRequest,
    ProbeRequest,
    TrackRequest,
    EmbedRequest,
    ReferenceRequest,
    ThumbnailsRequest,
    VerifyRequest,
    PaintRequest,
)

M = TypeVar("M")


def to_line(message: Any) -> str:
    """One line, line feed included."""
    content = {"type": _NAMES[type(message)], **_list_values(message)}
    return json.dumps(content, separators=(",", ":"), allow_nan=False, default=_list_values) + "\n"


def _list_values(message: Any) -> dict[str, Any]:
    """The fields of a message by name. Unlike `asdict`, this copies no lists: a crowd's frame holds thousands."""
    return {part.name: getattr(message, part.name) for part in fields(message)}


def parse_line(line: str, allowed: tuple[type[M], ...]) -> M:
    """Parse a line. Raises ProtocolError if the message is incomplete, of a kind not allowed, or has a wrong type."""
    if len(line) > (LONGEST_REQUEST if set(allowed) & set(_REQUESTS) else LONGEST_LINE):
        raise ProtocolError("a line is too long")
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {line[:80]!r}") from error
    if not isinstance(content, dict):
        raise ProtocolError(f"not an object: {line[:80]!r}")
    kind = _KINDS.get(str(content.pop("type", None)))
    if kind is None or kind not in allowed:
        raise ProtocolError(f"unexpected message: {line[:80]!r}")
    message = _build(kind, content, _NAMES[kind])
    if content.get("protocol", PROTOCOL) != PROTOCOL:
        raise ProtocolError(f"protocol {content['protocol']} instead of {PROTOCOL}")
    return message


@cache
def _get_hints(kind: Hashable) -> dict[str, Any]:
    """The types of a message's fields, by its class. Python evaluates them from text, which takes longer than all the
    rest."""
    return get_type_hints(kind)


def _build(kind: type[M], content: dict[str, Any], name: str) -> M:
    """An object of that kind with this content. Raises ProtocolError if a value is missing or has the wrong type."""
    hints = _get_hints(cast(Hashable, kind))
    for part in fields(kind):  # type: ignore[arg-type]
        if part.name not in content and not _may_be_missing(part):
            raise ProtocolError(f"{name}: '{part.name}' is missing")
    values: dict[str, Any] = {}
    for key, value in content.items():
        hint = hints.get(key)
        if get_origin(hint) is UnionType:
            # What may be left out, KIND | None.
            if value is None:
                values[key] = None
                continue
            hint = get_args(hint)[0]
        if isinstance(hint, type) and is_dataclass(hint) and isinstance(value, dict):
            values[key] = _build(hint, value, f"{name}: {key}")
        elif hint is not None and _fits(value, hint):
            values[key] = hint(value) if _is_enum(hint) else value
        else:
            raise ProtocolError(f"{name}: '{key}' is wrong")
    return kind(**values)


def _may_be_missing(part: Field[Any]) -> bool:
    has_default = part.default is not MISSING or part.default_factory is not MISSING
    return has_default and part.name != "protocol"


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, StrEnum)


def _fits(value: Any, hint: Any) -> bool:
    if _is_enum(hint):
        return type(value) is str and value in list(hint)
    if get_origin(hint) is list:
        inner = get_args(hint)[0]
        return type(value) is list and len(value) <= _LONGEST_LIST and all(_fits(v, inner) for v in value)
    if hint is float:
        # Whole numbers may be too large for a float.
        return type(value) in (int, float) and abs(value) <= sys.float_info.max
    if hint is int:
        return type(value) is int and abs(value) < 1 << 53
    return type(value) is hint


def from_record(record: FrameRecord) -> Frame:
    rows = []
    for observation in record.observations:
        numbers = [
            observation.tracklet,
            *(round(v, 2) for v in observation.box.tolist()),
            round(observation.confidence, 3),
        ]
        rows.append([*numbers, *([] if observation.roll is None else [round(observation.roll, 3)]), observation.votes])
    looks = [observation.appearance.hex() for observation in record.observations]
    return Frame(
        record.source_frame,
        record.cut,
        record.mixed,
        rows,
        [list(pair) for pair in record.joins],
        record.is_detected_frame,
        looks if any(looks) else [],
        _list_known(one.face_score for one in record.observations),
        _list_known(one.sharpness for one in record.observations),
    )


def _list_known(values: Iterable[float]) -> list[float]:
    """The values with -1 in place of NaN; an empty list if all are NaN."""
    numbers = [-1.0 if math.isnan(value) else round(value, 3) for value in values]
    return numbers if any(number >= 0 for number in numbers) else []


def to_record(frame: Frame) -> FrameRecord:
    """Raises ProtocolError if an observation, its appearance or the list of scores has the wrong length."""
    rows = []
    if frame.looks and len(frame.looks) != len(frame.rows):
        raise ProtocolError("frame: the numbers of appearances and observations differ")
    if frame.scores and len(frame.scores) != len(frame.rows):
        raise ProtocolError("frame: the numbers of face scores and observations differ")
    if frame.sharpness and len(frame.sharpness) != len(frame.rows):
        raise ProtocolError("frame: the numbers of sharpness values and observations differ")
    looks, scores = frame.looks or [""] * len(frame.rows), frame.scores or [-1.0] * len(frame.rows)
    sharpness = frame.sharpness or [-1.0] * len(frame.rows)
    for numbers, look, score, sharp in zip(frame.rows, looks, scores, sharpness, strict=True):
        if len(numbers) not in (7, 8) or numbers[0] < 0 or not (numbers[1] < numbers[3] and numbers[2] < numbers[4]):
            raise ProtocolError("frame: an observation is invalid")
        if look and _APPEARANCE.fullmatch(look) is None:
            raise ProtocolError("frame: an appearance is invalid")
        roll = float(numbers[6]) if len(numbers) == 8 else None
        rows.append(
            Observation(
                int(numbers[0]),
                np.array(numbers[1:5], float),
                float(numbers[5]),
                roll,
                int(numbers[-1]),
                bytes.fromhex(look),
                score if score >= 0 else math.nan,
                sharp if sharp >= 0 else math.nan,
            )
        )
    if any(len(pair) != 2 for pair in frame.joins):
        raise ProtocolError("frame: a join is invalid")
    return FrameRecord(frame.frame, frame.cut, frame.mixed, rows, [(a, b) for a, b in frame.joins], frame.looked)
