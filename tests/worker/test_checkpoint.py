# SPDX-License-Identifier: GPL-3.0-or-later
"""A stopped analysis resumes, has the same result, and ignores damaged parts of its checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from blender_faceblur.core.document.tracks_file import read_document
from blender_faceblur.core.tracking.observations import Segment
from blender_faceblur.core.types import Evidence, FaceBlurError, Sample, TrackDocument
from blender_faceblur.files.paths import get_model_path
from blender_faceblur.sources import SourceGuard
from blender_faceblur.worker import checkpoint as checkpoint_module
from blender_faceblur.worker.checkpoint import Checkpoint, split_known
from blender_faceblur.worker.client import AnalysisOptions, build_request, run_job
from blender_faceblur.worker.protocol import Frame, Progress, Result, to_line


def make_frames(start: int, stop: int) -> list[Frame]:
    return [Frame(f, False, False, [[0, 1.0, 2.0, 30.0, 40.0, 0.5, 1]], [], True) for f in range(start, stop)]


def write(path: Path, parts: list[tuple[Segment, list[Frame]]]) -> None:
    checkpoint = Checkpoint(path, lambda: True)
    checkpoint.begin([(part, []) for part, _ in parts])
    for number, (_, frames) in enumerate(parts):
        for frame in frames:
            checkpoint.add(number, frame)
    checkpoint.close(finished=False)


def test_analysed_frames_are_restored(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.checkpoint"
    parts = [
        (Segment(0, 50), make_frames(0, 20)),
        (Segment(50, 100), make_frames(45, 63)),
        (Segment(100, 120), make_frames(95, 100)),
    ]
    write(path, parts)
    known = Checkpoint(path, lambda: True).read(0, 120)
    assert [part for part, _ in known] == [Segment(0, 20), Segment(50, 63)]
    assert known[1][1] == make_frames(45, 63)
    # The second run has another number of processes.
    assert [(part.start, part.stop, len(frames)) for part, frames in split_known([Segment(0, 120)], known)] == [
        (0, 20, 20),
        (20, 50, 0),
        (50, 63, 18),
        (63, 120, 0),
    ]
    assert [part for part, _ in split_known([Segment(0, 60), Segment(60, 120)], [])] == [
        Segment(0, 60),
        Segment(60, 120),
    ]


def test_known_parts_overlap_with_what_is_analysed_next(tmp_path: Path) -> None:
    path = tmp_path / "b.checkpoint"
    write(
        path,
        [
            (Segment(0, 50), make_frames(0, 20)),
            (Segment(50, 80), make_frames(46, 84)),
            (Segment(80, 84), make_frames(76, 83)),
            (Segment(84, 120), make_frames(80, 120)),
        ],
    )
    known = Checkpoint(path, lambda: True).read(4, 120)
    assert [part for part, _ in known] == [Segment(0, 16), Segment(50, 80), Segment(84, 120)]
    assert known[0][1] == make_frames(0, 20)
    write(path, known)
    assert Checkpoint(path, lambda: True).read(4, 120) == known


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty", "order", "box", "none"])
def test_damage_affects_only_the_lines_after_it(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "b.checkpoint"
    write(path, [(Segment(0, 50), make_frames(0, 20))])
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if damage == "cut":
        path.write_text("".join(lines)[:-25], encoding="utf-8")
    elif damage == "foreign":
        path.write_bytes(b"\xff\xfe\x00 nothing of ours")
    elif damage == "empty":
        path.write_text("")
    elif damage == "order":
        path.write_text("".join([lines[0], *lines[5:]]), encoding="utf-8")
    elif damage == "box":
        path.write_text("".join(lines[:11]) + lines[11].replace("30.0", "-9.0") + "".join(lines[12:]), encoding="utf-8")
    known = [(part.stop, len(frames)) for part, frames in Checkpoint(path, lambda: True).read(0, 120)]
    assert known == {"cut": [(19, 19)], "box": [(10, 10)], "none": [(20, 20)]}.get(damage, [])


def test_an_unwritable_checkpoint_does_not_stop_the_analysis(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    write(tmp_path / "file" / "b.checkpoint", [(Segment(0, 50), make_frames(0, 20))])
    assert Checkpoint(tmp_path / "file" / "b.checkpoint", lambda: True).read(0, 120) == []


def test_frames_of_a_changed_source_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no faces, or another film's. When the source is back, its faces would show."""
    monkeypatch.setattr(checkpoint_module, "CHECKPOINT", replace(checkpoint_module.CHECKPOINT, flush_every_s=-1.0))
    source, other, path = tmp_path / "source", tmp_path / "other", tmp_path / "b.checkpoint"
    source.write_bytes(b"source")
    other.write_bytes(b"other!")
    guard = SourceGuard(source)
    checkpoint = Checkpoint(path, guard.is_same_file)
    checkpoint.begin([(Segment(0, 50), [])])
    frames = make_frames(0, 20)
    for frame in frames[:10]:
        checkpoint.add(0, frame)
    stamp = source.stat().st_mtime_ns
    source.write_bytes(other.read_bytes())
    for frame in frames[10:15]:
        checkpoint.add(0, frame)
    source.write_bytes(b"source")
    os.utime(source, ns=(stamp, stamp))
    for frame in frames[15:]:
        checkpoint.add(0, frame)
    checkpoint.close(finished=False)
    assert [len(found) for _, found in Checkpoint(path, lambda: True).read(0, 120)] == [10]


def test_a_stopped_analysis_resumes(tmp_path: Path) -> None:
    try:
        get_model_path("centerface")
    except FaceBlurError as error:
        pytest.skip(str(error))
    from tools.film import make_film

    film = tmp_path / "film.mp4"
    make_film(film, width=320, height=180, frame_rate=Fraction(25), seconds=90)
    output, folder = tmp_path / "tracks.json", tmp_path / "kept"
    request = build_request(film, output, AnalysisOptions("fast", storage=folder, processes=2))
    job = run_job(request)
    stopped_at = 0
    for message in job:
        if isinstance(message, Progress) and message.done > 400:
            stopped_at = message.done
            break
    # As when the process is killed: closing ends all of them at once.
    job.close()
    assert stopped_at and not output.exists() and len(list(folder.glob("*.checkpoint"))) == 1
    messages = list(run_job(request))
    done = [m.done for m in messages if isinstance(m, Progress) and m.stage == "detect"]
    assert isinstance(messages[-1], Result) and done[0] > 250, (
        "the analysis resumes near the point where the first one stopped"
    )
    assert not list(folder.glob("*.checkpoint")) and len(list(folder.glob("*.json"))) == 1
    resumed = read_document(output)
    fresh = list(run_job(build_request(film, output, AnalysisOptions("fast", processes=2))))
    assert isinstance(fresh[-1], Result)
    found, again = list_samples(resumed), list_samples(read_document(output))
    assert len(found) > 900
    for one, other in ((found, again), (again, found)):
        # The segments have other borders now, so ends of tracks may be extrapolated differently there.
        apart = [
            s
            for s in one
            if s.evidence is not Evidence.EXTRAPOLATED
            and not any(
                s.source_frame == o.source_frame
                and abs(s.ellipse.cx - o.ellipse.cx) < 0.5 * o.ellipse.rx
                and abs(s.ellipse.cy - o.ellipse.cy) < 0.5 * o.ellipse.ry
                for o in other
            )
        ]
        assert len(apart) < 0.02 * len(one)


def list_samples(document: TrackDocument) -> list[Sample]:
    return [sample for track in document.tracks for sample in track.samples]


def test_lines_are_small() -> None:
    """An hour of film with two faces a frame must not fill a disk."""
    assert len(to_line(make_frames(0, 1)[0])) < 200
