# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs deface's own command line, in deface's environment, and records what it covers: RECORD ARGUMENT...

Its drawing function is called unchanged. The boxes that reach it (scaled and cut at the picture's edge by deface) and a
small grey copy of each picture are written to RECORD as JSON.
"""

import json
import sys
from pathlib import Path
from typing import Any

import cv2  # type: ignore[import-not-found, unused-ignore]
from deface import deface  # type: ignore[import-not-found]

THUMBNAIL = (64, 36)


def main() -> None:
    boxes: list[list[list[int]]] = []
    thumbnails: list[list[int]] = []
    cover_frame, draw_face = deface.anonymize_frame, deface.draw_det

    def note_frame(dets: Any, frame: Any, *others: Any, **named: Any) -> None:
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
        thumbnails.append(cv2.resize(grey, THUMBNAIL, interpolation=cv2.INTER_AREA).ravel().tolist())
        boxes.append([])
        cover_frame(dets, frame, *others, **named)

    def note_face(frame: Any, score: Any, number: Any, x1: Any, y1: Any, x2: Any, y2: Any, **named: Any) -> None:
        boxes[-1].append([int(x1), int(y1), int(x2), int(y2)])
        draw_face(frame, score, number, x1, y1, x2, y2, **named)

    deface.anonymize_frame, deface.draw_det = note_frame, note_face
    record = Path(sys.argv[1])
    sys.argv = ["deface", *sys.argv[2:]]
    deface.main()
    record.write_text(json.dumps({"boxes": boxes, "thumbnails": thumbnails}), encoding="utf-8")


if __name__ == "__main__":
    main()
