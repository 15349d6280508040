# SPDX-License-Identifier: GPL-3.0-or-later
"""Messages survive the line between two processes; whatever else comes is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from blender_faceblur.core.following import FrameRecord, Row
from blender_faceblur.worker.protocol import (
    LONGEST_LINE,
    AnalysisRequest,
    ErrorMessage,
    Finished,
    Frame,
    Progress,
    ProtocolError,
    Result,
    SegmentRequest,
    Started,
    Warned,
    from_record,
    parse_line,
    to_line,
    to_record,
)

MESSAGES = [
    AnalysisRequest("/a/ä \"b\".mp4", "/tmp/x.json", "balanced", 1.4, ["/p"], 2),
    SegmentRequest("C:\\film.mp4", "ab", "fast", 0, 10, []),
    Started(3), Progress("detect", 1, 2, 3.5), Warned("one\ntwo"), Result("/x", 1, 2, 3, 4.5), ErrorMessage("no"),
    Finished(9, ["a"]), Frame(3, True, False, [[1, 2.5, 3, 4, 5, 0.5, 1]], [[1, 2]]),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_survive(message: Any) -> None:
    line = to_line(message)
    assert line.endswith("\n") and line.count("\n") == 1
    assert parse_line(line, (type(message),)) == message


@pytest.mark.parametrize("line", [
    "", "hello", "[]", "null", "{}", '{"type":"started"}', '{"type":"started","frames":"3","protocol":1}',
    '{"type":"started","frames":3,"protocol":99}', '{"type":"started","frames":true,"protocol":1}',
    '{"type":"started","frames":3,"protocol":1,"more":1}', '{"type":"started","frames":3.0,"protocol":1}',
    '{"type":"progress","stage":"detect","done":1,"total":2,"fps":NaN}', '{"type":["started"]}',
    '{"type":"result","output":"x","frames":1,"tracks":1,"doubts":1,"seconds":1}', "[" * 50_000,
    '{"type":"started","frames":99999999999999999999,"protocol":1}',
])
def test_what_is_no_message_is_refused(line: str) -> None:
    with pytest.raises(ProtocolError):
        parse_line(line, (Started, Progress))


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        parse_line(json.dumps({"type": "warning", "text": "x" * LONGEST_LINE}), (Warned,))


def test_records_survive() -> None:
    rows = [Row(4, np.array([1.25, -2, 30, 40]), 0.5, 0.125, 2), Row(5, np.array([1.0, 2, 3, 4]), 0.25, None, 0)]
    record = FrameRecord(7, True, False, rows, [(1, 2)])
    read = to_record(parse_line(to_line(from_record(record)), (Frame,)))
    assert (read.source_frame, read.cut, read.mixed, read.joins) == (7, True, False, [(1, 2)])
    for one, two in zip(read.rows, rows, strict=True):
        assert (one.chain, one.confidence, one.roll, one.voices) == (two.chain, two.confidence, two.roll, two.voices)
        np.testing.assert_allclose(one.box, two.box)


@pytest.mark.parametrize("row", [[1, 2], [1, 5, 5, 4, 9, 0.5, 1], [-1, 1, 1, 2, 2, 0.5, 1], [1] * 9])
def test_wrong_rows_are_refused(row: list[float]) -> None:
    with pytest.raises(ProtocolError):
        to_record(Frame(0, False, False, [row], []))
