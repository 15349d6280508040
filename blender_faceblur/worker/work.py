# SPDX-License-Identifier: GPL-3.0-or-later
"""What worker processes do: one leads an analysis, its own children look at a segment of frames each."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from ..core.analysis import Detector, analyse_frames, build_document, decode_size, find_stride, split_range
from ..core.document import write_document
from ..core.following import Follower
from ..core.likeness import RECOGNIZER, assign_looks
from ..core.plates import make_regions
from ..core.rows import RowTable, Segment
from ..core.settings import EXPANSIONS, DetectorUse, find_preset
from ..core.types import FaceBlurError, ModelUse, SourceInfo, TrackDocument, TrackKind
from ..detectors import FaceDetector, find_detector
from ..detectors.looks import combine_looks
from ..detectors.providers import choose_providers, list_available
from ..storage import name_stored, read_stored, store
from .checkpoint import Checkpoint, split_known
from .embedding import embed_pictures, embed_tracks
from .ensemble import choose_usable, count_processes, list_used, open_sessions
from .follow import follow
from .opening import open_requested
from .process import WorkerProcess, listen
from .protocol import (
    AnalysisRequest,
    Embedded,
    EmbedRequest,
    ErrorMessage,
    FaceSeen,
    FaceView,
    Finished,
    FollowRequest,
    Frame,
    ProbeRequest,
    Progress,
    ProtocolError,
    Providers,
    ReferenceRequest,
    Result,
    Running,
    SegmentRequest,
    Stage,
    Started,
    ThumbnailsRequest,
    VerifyRequest,
    Warned,
    from_record,
    parse_line,
    to_line,
    to_record,
)
from .reporting import REPORTING
from .thumbnails import cut_faces
from .verify import verify
from .watching import Watch

Tell = Callable[[Any], None]


def serve(line: str, messages: TextIO) -> int:
    """Do what a request line asks; the exit code. Every foreseen failure is told as an ErrorMessage."""

    def tell(message: Any) -> None:
        messages.write(to_line(message))
        messages.flush()

    try:
        request: object = parse_line(line, tuple(_WORK))
        _WORK[type(request)](request, tell)
    except (FaceBlurError, ProtocolError) as error:
        tell(ErrorMessage(str(error)))
        return 1
    except MemoryError:
        tell(ErrorMessage("There is not enough memory for the analysis."))
        return 1
    return 0


def _look_at_segment(request: SegmentRequest, tell: Tell) -> None:
    preset = find_preset(request.preset)
    uses, _ = choose_usable(preset)
    with open_requested(request) as source, ExitStack() as opened:
        info = source.info
        if info.fingerprint != request.fingerprint:
            raise FaceBlurError(f"{info.file_name} has changed since the analysis began.")
        frame_size = (info.width, info.height)
        sessions = open_sessions(opened, uses, request.provider)
        detectors = combine_looks([(sessions[u.detector], u) for u in uses], frame_size)
        tell(Started(request.stop - request.start))
        warned = _warn_newly(sessions.values(), 0, tell)
        tell(Running(" and ".join(sorted({detector.provider for detector in sessions.values()}))))
        frames = source.frames(request.start, request.stop, decode_size(frame_size, uses))
        count = 0
        rate = float(info.frame_rate)
        seeing: Sequence[tuple[Detector, DetectorUse]] = detectors
        if request.recognise and not source.upright_turn:
            watch = Watch(frame_size, rate, tell)
            frames, seeing = watch.follow(frames), watch.join(detectors)
        stride = find_stride(preset.look_every_s, rate)
        for record in analyse_frames(frames, frame_size, rate, seeing, preset.strong, source.upright_turn, stride):
            tell(from_record(record))
            count += 1
            warned = _warn_newly(sessions.values(), warned, tell)
        tell(Finished(count, source.notes()))


def _warn_newly(detectors: Iterable[FaceDetector], known: int, tell: Tell) -> int:
    """Tell what the detectors have noted since there were `known` notes; how many there are now."""
    notes = [note for detector in detectors for note in detector.notes]
    if len(notes) > known:
        for text in dict.fromkeys(notes):
            tell(Warned(text))
    return len(notes)


def _lead(request: AnalysisRequest, tell: Tell) -> None:
    began = time.monotonic()
    preset = find_preset(request.preset)
    if not EXPANSIONS[0] <= request.expansion <= EXPANSIONS[1]:
        raise FaceBlurError(f"The expansion must lie between {EXPANSIONS[0]} and {EXPANSIONS[1]}.")
    uses, notes = choose_usable(preset)
    kinds = {find_detector(use.detector).finds for use in uses}
    if len(kinds) > 1:
        raise FaceBlurError("Faces and number plates are looked for in runs of their own.")
    providers = choose_providers(list_available(), request.provider, sys.platform)
    with open_requested(request) as source:
        info = source.info
    first, stop = _find_span(request, info)
    tell(Started(stop - first))
    for text in (*notes, *info.warnings):
        tell(Warned(text))
    models = list_used(uses, info)
    stored = _find_stored(request, info, providers[0], uses, models)
    if stored is not None:
        found = read_stored(stored, info)
        if found is not None:
            tell(Warned("This source was analysed before with the same settings; that analysis was taken."))
            _deliver(found, request, tell, began)
            return
    rate = float(info.frame_rate)
    own = [Segment(first + part.start, first + part.stop)
           for part in split_range(stop - first, rate, count_processes(preset, providers[0], request.processes))]
    checkpoint = Checkpoint(stored.with_suffix(".checkpoint")) if stored is not None else None
    parts = split_known(own, checkpoint.read() if checkpoint is not None else [])
    table = RowTable([part for part, _ in parts])
    if checkpoint is not None:
        checkpoint.begin(parts)
    seen: list[FaceSeen] = []
    try:
        said = _run_segments(request, info, parts, rate, table, checkpoint, tell, seen)
    finally:
        if checkpoint is not None:
            checkpoint.end(finished=not table.missing())
    for text in said:
        tell(Warned(text))
    tell(Progress(Stage.LINK, 0, 1, 0.0))
    document = build_document(table, info, preset, request.expansion, models, [*notes, *said])
    if kinds == {TrackKind.PLATE}:
        make_regions(document)
    if request.span:
        document.analysed = [(first, stop)]
    if request.recognise and seen and not any(known for _, known in parts):
        _tell_views(document, seen, tell)
    _deliver(document, request, tell, began)
    if stored is not None:
        store(stored, Path(request.output))


def _tell_views(document: TrackDocument, seen: list[FaceSeen], tell: Tell) -> None:
    """Tell the looks at faces that tracks were made of, and that these are all."""
    # Two processes look at the frames around their border.
    looks = {(name, seen[at].frame): seen[at]
             for name, at in assign_looks(document.tracks, [(s.frame, s.box) for s in seen])}
    for (name, frame), look in looks.items():
        tell(FaceView(name, frame, look.quality, look.vector))
    tell(Embedded(RECOGNIZER, len(looks), 0.0))


def _find_span(request: AnalysisRequest, info: SourceInfo) -> tuple[int, int]:
    if not request.span:
        return 0, info.frame_count
    if len(request.span) != 2 or not 0 <= request.span[0] < request.span[1] <= info.frame_count:
        raise FaceBlurError("The frames that are to be analysed are not in the film.")
    return request.span[0], request.span[1]


def _deliver(document: TrackDocument, request: AnalysisRequest, tell: Tell, began: float) -> None:
    try:
        write_document(document, Path(request.output))
    except OSError as error:
        raise FaceBlurError(f"The tracks cannot be written to {request.output}: {error.strerror}.") from error
    seconds = time.monotonic() - began
    tell(Result(request.output, document.source.frame_count, len(document.tracks), len(document.doubts), seconds))


def _find_stored(
    request: AnalysisRequest, info: SourceInfo, provider: str, uses: tuple[DetectorUse, ...], models: list[ModelUse]
) -> Path | None:
    """Where the analysis of this source with all that shapes it is kept; None where nothing may be kept."""
    if not request.storage:
        return None
    shape = [info.fingerprint, info.kind, str(info.frame_rate), info.frame_count, request.preset, request.expansion,
             request.span, provider, [asdict(model) for model in models], [asdict(use) for use in uses]]
    return name_stored(Path(request.storage), shape)


def _run_segments(
    request: AnalysisRequest, info: SourceInfo, parts: list[tuple[Segment, list[Frame]]], rate: float,
    table: RowTable, checkpoint: Checkpoint | None, tell: Tell, seen: list[FaceSeen],
) -> list[str]:
    """Fill the table: with what is known, and from one process for each other part. What their sources had to say.

    Looks at faces are added to `seen`.

    Raises FaceBlurError if any fails.
    """
    reach = Follower.reach_frames(rate)
    processes: dict[int, WorkerProcess] = {}
    try:
        for number, (part, frames) in enumerate(parts):
            for frame in frames:
                table.add(number, to_record(frame))
            if not frames:
                start, stop = max(0, part.start - reach), min(info.frame_count, part.stop + reach)
                processes[number] = WorkerProcess(to_line(SegmentRequest(
                    request.source, info.fingerprint, request.preset, start, stop, request.sys_path, request.files,
                    request.frame_rate, request.provider, request.recognise)))
        wanted = sum(part.stop - part.start for part, _ in parts)
        return _collect(processes, wanted, table, checkpoint, tell, seen)
    finally:
        for process in processes.values():
            process.kill()


def _collect(
    processes: dict[int, WorkerProcess], frame_count: int, table: RowTable, checkpoint: Checkpoint | None, tell: Tell,
    seen: list[FaceSeen] | None = None,
) -> list[str]:
    notes: dict[str, None] = {}
    warned: set[str] = set()
    began = told = time.monotonic()
    before = frame_count - table.missing()

    def tell_progress() -> None:
        done = frame_count - table.missing()
        tell(Progress(Stage.DETECT, done, frame_count, (done - before) / max(time.monotonic() - began, 1e-6)))

    for i, message in listen(processes, "Analysis process", (Started, Warned, Frame, FaceSeen)):
        if isinstance(message, Frame):
            if checkpoint is not None:
                checkpoint.add(i, message)
            try:
                table.add(i, to_record(message))
            except ValueError as error:
                raise FaceBlurError(f"Analysis process {i + 1} reported frames wrongly: {error}.") from error
        elif isinstance(message, FaceSeen):
            if seen is not None:
                seen.append(message)
        elif isinstance(message, Warned) and message.text not in warned:
            warned.add(message.text)
            tell(message)
        elif isinstance(message, Running):
            tell(message)
        elif isinstance(message, Finished):
            notes.update(dict.fromkeys(message.notes))
        if time.monotonic() - told >= REPORTING.progress_every_s:
            told = time.monotonic()
            tell_progress()
    tell_progress()
    if table.missing():
        raise FaceBlurError(f"{table.missing()} of {frame_count} frames were not analysed; nothing was written.")
    return list(notes)


def _probe(request: ProbeRequest, tell: Tell) -> None:
    tell(Providers(list_available()))


_WORK: dict[type, Callable[[Any, Tell], None]] = {
    AnalysisRequest: _lead,
    SegmentRequest: _look_at_segment,
    ProbeRequest: _probe,
    FollowRequest: follow,
    EmbedRequest: embed_tracks,
    ReferenceRequest: embed_pictures,
    ThumbnailsRequest: cut_faces,
    VerifyRequest: verify,
}
