# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages survive the transfer between two processes; anything else is rejected."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from blender_faceblur.core.tracking.appearance import LENGTH
from blender_faceblur.core.tracking.tracker import FrameRecord, Observation
from blender_faceblur.worker.protocol import (
    LONGEST_LINE,
    LONGEST_REQUEST,
    AnalysisRequest,
    ErrorMessage,
    Finished,
    Frame,
    PrepareRequest,
    ProbeRequest,
    Progress,
    ProtocolError,
    Providers,
    Result,
    Running,
    SegmentRequest,
    SourceRef,
    Stage,
    Started,
    Thumbnail,
    ThumbnailsRequest,
    Warned,
    from_record,
    parse_line,
    to_line,
    to_record,
)

MESSAGES = [
    AnalysisRequest(SourceRef('/a/ä "b".mp4'), "/tmp/x.json", "balanced", 1.4, 2, sys_path=["/p"]),
    AnalysisRequest(SourceRef("/a", ["1 ü.png", "2.png"], [30000, 1001]), "/x", "fast", 1.4, provider="cpu"),
    SegmentRequest(SourceRef("C:\\film.mp4", fingerprint="ab"), "fast", 0, 10),
    SegmentRequest(SourceRef("/a", ["1.png", "2.png"], [24, 1], "ab"), "fast", 0, 10, "cpu"),
    ThumbnailsRequest(SourceRef("/a", fingerprint="ab"), [[3, 1.5, 2, 30, 40]], 64),
    Thumbnail(0, 1, "AAAA"),
    ProbeRequest(sys_path=["/p"]),
    PrepareRequest(sys_path=["/p"]),
    Providers(["CPUExecutionProvider"]),
    Running("CUDA"),
    Started(3),
    Progress(Stage.DETECT, 1, 2, 3.5),
    Warned("one\ntwo"),
    Result("/x", 1, 2, 3, 4.5),
    ErrorMessage("no"),
    Finished(9, ["a"]),
    Frame(3, True, False, [[1, 2.5, 3, 4, 5, 0.5, 1]], [[1, 2]], False),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_survive(message: Any) -> None:
    line = to_line(message)
    assert line.endswith("\n") and line.count("\n") == 1
    assert parse_line(line, (type(message),)) == message


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"type":"started"}',
        '{"type":"started","frames":"3","protocol":2}',
        '{"type":"started","frames":3,"protocol":99}',
        '{"type":"started","frames":true,"protocol":2}',
        '{"type":"started","frames":3,"protocol":2,"more":1}',
        '{"type":"started","frames":3.0,"protocol":2}',
        '{"type":"progress","stage":"detect","done":1,"total":2,"fps":NaN}',
        '{"type":["started"]}',
        '{"type":"progress","stage":"rest","done":1,"total":2,"fps":1}',
        '{"type":"progress","stage":1,"done":1,"total":2,"fps":1}',
        '{"type":"result","output":"x","frames":1,"tracks":1,"doubts":1,"seconds":1}',
        "[" * 50_000,
        '{"type":"started","frames":99999999999999999999,"protocol":2}',
        '{"type":"started","frames":3}',
    ],
)
def test_invalid_messages_are_rejected(line: str) -> None:
    with pytest.raises(ProtocolError):
        parse_line(line, (Started, Progress))


def test_a_stage_arrives_as_an_enum_member() -> None:
    assert parse_line(to_line(Progress(Stage.LINK, 0, 1, 0.0)), (Progress,)).stage is Stage.LINK


def test_an_endless_line_is_rejected() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        parse_line(json.dumps({"type": "warning", "text": "x" * LONGEST_LINE}), (Warned,))
    with pytest.raises(ProtocolError, match="too long"):
        parse_line(" " * LONGEST_REQUEST + "{}", (AnalysisRequest,))


def test_a_request_of_an_older_version_is_accepted() -> None:
    """Later fields have a default; the protocol's number is always required."""
    old = {
        "type": "analyse",
        "source": {"path": "a"},
        "output": "b",
        "preset": "fast",
        "margin": 1.4,
        "sys_path": [],
        "protocol": 2,
    }
    request = parse_line(json.dumps(old), (AnalysisRequest,))
    assert (request.source, request.provider, request.processes) == (SourceRef("a", [], [], ""), "auto", 0)
    changes: list[dict[str, Any]] = [
        {"source": {"path": "a", "files": "1.png"}},
        {"source": {"path": "a", "files": [1]}},
        {"source": {"path": "a", "frame_rate": [24.5]}},
        {"source": {"path": "a", "more": 1}},
        {"source": {"files": []}},
        {"source": "a"},
        {"provider": 1},
    ]
    for change in changes:
        with pytest.raises(ProtocolError):
            parse_line(json.dumps(old | change), (AnalysisRequest,))


def test_thousands_of_names_fit() -> None:
    names = [f"Aufnahme \u6620\u753b {number:08} {'x' * 180}.png" for number in range(20_000)]
    request = AnalysisRequest(SourceRef("/a", names), "/x", "fast", 1.4)
    line = to_line(request)
    assert len(line) > LONGEST_LINE
    assert parse_line(line, (AnalysisRequest, SegmentRequest)) == request


def test_records_survive() -> None:
    rows = [
        Observation(4, np.array([1.25, -2, 30, 40]), 0.5, 0.125, 2, bytes(range(LENGTH)), 0.625, 0.375),
        Observation(5, np.array([1.0, 2, 3, 4]), 0.25, None, 0),
    ]
    record = FrameRecord(7, True, False, rows, [(1, 2)])
    read = to_record(parse_line(to_line(from_record(record)), (Frame,)))
    assert (read.source_frame, read.cut, read.mixed, read.joins) == (7, True, False, [(1, 2)])
    for one, two in zip(read.observations, rows, strict=True):
        assert (one.tracklet, one.confidence, one.roll, one.votes, one.appearance) == (
            two.tracklet,
            two.confidence,
            two.roll,
            two.votes,
            two.appearance,
        )
        np.testing.assert_allclose(one.box, two.box)
        np.testing.assert_equal([one.face_score, one.sharpness], [two.face_score, two.sharpness])


@pytest.mark.parametrize("scores", [[0.5, 0.5], [0.5] * 3])
def test_face_scores_and_sharpness_belong_to_observations(scores: list[float]) -> None:
    with pytest.raises(ProtocolError, match="face scores"):
        to_record(Frame(0, False, False, [[1, 1, 1, 2, 2, 0.5, 1]], [], True, [], scores))
    with pytest.raises(ProtocolError, match="sharpness"):
        to_record(Frame(0, False, False, [[1, 1, 1, 2, 2, 0.5, 1]], [], True, [], [], scores))


@pytest.mark.parametrize("row", [[1, 2], [1, 5, 5, 4, 9, 0.5, 1], [-1, 1, 1, 2, 2, 0.5, 1], [1] * 9])
def test_invalid_observations_are_rejected(row: list[float]) -> None:
    with pytest.raises(ProtocolError):
        to_record(Frame(0, False, False, [row], [], True))


@pytest.mark.parametrize("looks", [["", ""], ["ab"], ["xy" * LENGTH]])
def test_invalid_appearances_are_rejected(looks: list[str]) -> None:
    with pytest.raises(ProtocolError, match="appearance"):
        to_record(Frame(0, False, False, [[1, 1, 1, 2, 2, 0.5, 1]], [], True, looks))
