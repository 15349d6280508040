# SPDX-License-Identifier: GPL-3.0-or-later
"""The content of a report, which refers to nothing outside itself, and the effects of --verify and --report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blender_faceblur.batch import cli
from blender_faceblur.batch import run as batch
from blender_faceblur.batch.planning import plan_jobs
from blender_faceblur.batch.run import run_jobs
from blender_faceblur.batch.settings import BatchSettings
from blender_faceblur.core.cover.obscured import draw_face, draw_place
from blender_faceblur.core.document.tracks_file import write_document
from blender_faceblur.core.review.queue import list_review_entries, record_verdict
from blender_faceblur.core.types import (
    Ellipse,
    Evidence,
    FaceBlurError,
    ModelUse,
    ReviewItem,
    ReviewReason,
    Sample,
    Suppression,
    SuppressionReason,
    Track,
    TrackDocument,
    TrackKind,
    TrackStatus,
    Verdict,
)
from blender_faceblur.core.verification.findings import Finding, FindingKind, FindingReason, Verification
from blender_faceblur.files.paths import get_version
from blender_faceblur.reporting.progress import Outcome, Reporter, Totals
from blender_faceblur.reporting.report import (
    ReportSubject,
    WatchedSpans,
    collect_report,
    describe_finding,
    draw_faces,
    to_html,
    write_report,
)
from blender_faceblur.sources import open_source
from tests.core.test_batch import analyse, list_names, render, write_picture
from tests.core.test_delivery import write_film

NASTY = "<script src='http://x.y/z'>\n.mp4"


def make_document(source: Path) -> TrackDocument:
    def track(name: str, start: int, stop: int, **more: Any) -> Track:
        return Track(name, [Sample(f, Ellipse(30, 20, 9, 12), Evidence.FLOW, 0.5) for f in range(start, stop)], **more)

    face = track("Face <01>", 0, 8, off=[(2, 4)])
    face.samples[3] = Sample(3, Ellipse(30, 20, 9, 12), Evidence.LOCKED, 1.0)
    with open_source(source) as opened:
        info = opened.info
    return TrackDocument(
        info,
        "balanced",
        1.4,
        [ModelUse("centerface", "ab" * 32, 640, 0.25)],
        [],
        [face, track("Region 01", 5, 6, kind=TrackKind.REGION, locked=True)],
        [ReviewItem(0, 8, (1.0, 1.0, 9.0, 9.0), 0.4, ReviewReason.FAST_MOTION, "Face <01>")],
        ["a note"],
        [track("Face 02", 1, 3, status=TrackStatus.DELETED)],
    )


def make_verification(*leaks: Finding) -> Verification:
    return Verification(
        "a.blurred.mp4",
        "a.mp4",
        12,
        0.48,
        1,
        8,
        1,
        4,
        3,
        2,
        [ModelUse("centerface", "ab", 960, 0.2)],
        list(leaks),
        [],
        [],
        [],
        [],
        {"Face <01>": draw_face(np.zeros((48, 64, 3), np.uint8), Ellipse(30, 20, 9, 12))},
    )


LEAKED = Finding(
    FindingKind.LEAK,
    "Face <01>",
    3,
    5,
    2,
    4,
    (1.0, 2.0, 3.0, 4.0),
    0.97,
    1.0,
    FindingReason.NOT_COVERED,
    b"\xff\xd8\xff",
)


class Links(HTMLParser):
    """Collects the links, the tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "style", "action")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_report_holds_hashes_evidence_corrections_and_leaks(tmp_path: Path) -> None:
    source, output = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_film(source, rate=Fraction(25))
    output.write_bytes(b"film")
    content = collect_report(
        ReportSubject(
            source,
            output,
            make_document(source),
            {"effect": "mosaic"},
            make_verification(LEAKED),
            output_name=NASTY,
            notes=["<b>a note</b>"],
            blender="Blender 5.2.2",
        )
    )
    assert content["source"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert content["output"] == {"name": NASTY, "bytes": 4, "sha256": hashlib.sha256(b"film").hexdigest()}
    assert content["coverage"] == {"detected": 0, "flow": 8, "interpolated": 0, "held": 0, "locked": 1}
    assert content["faces"][0]["covered_frames"] == 6 and content["faces"][0]["off"] == [[2, 4]]
    corrections = content["corrections"]
    assert corrections["locked_keys"] == {"Face <01>": [3]} and corrections["locked"] == ["Region 01"]
    assert [track["name"] for track in corrections["deleted"]] == ["Face 02"]
    assert content["doubts_left"] == len(content["doubts"]) > 0
    assert content["models"][0]["licence"] == "MIT" and content["program"]["version"] == get_version() != "unknown"
    assert not content["verification"]["passed"] and content["verification"]["leaks"][0]["share"] == 0.97

    write_report(content, tmp_path / "new" / "r.json")
    assert json.loads((tmp_path / "new" / "r.json").read_text(encoding="utf-8")) == json.loads(json.dumps(content))
    write_report(content, tmp_path / "r.html")
    page = Links((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.links and all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert "script" not in page.tags and "b" not in page.tags
    for words in (
        content["source"]["sha256"],
        content["output"]["sha256"],
        "Face <01>",
        "Not passed",
        "Blender 5.2.2",
        "frames 3 to 4: Face <01>: not covered (97 % of the face shows in frame 4)",
        "locked keys",
        "Face 02",
    ):
        assert words in page.text
    with pytest.raises(FaceBlurError, match="must end in"):
        write_report(content, tmp_path / "r.pdf")


def test_a_report_without_verification_says_so(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    write_film(source, rate=Fraction(25))
    document = make_document(source)
    content = collect_report(ReportSubject(source, None, document, {}, faces=draw_faces(source, document)))
    assert content["output"] is None and content["verification"] is None
    assert "was not verified" in to_html(content) and to_html(content).count("data:image/jpeg") == 2


def test_the_report_names_the_reviewer(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    write_film(source, rate=Fraction(25))
    document = make_document(source)
    (place,) = list_review_entries(document)
    for reviewer, name in (("Ann <b>", "Ann &lt;b&gt;"), ("", "an unnamed reviewer")):
        record_verdict(document, place.key, Verdict.CONFIRMED, reviewer)
        content = collect_report(ReportSubject(source, None, document, {}))
        assert content["doubts"][0]["reviewer"] == reviewer
        assert f"Verdict: Fine (by {name})." in to_html(content)


def test_a_report_says_who_watched_what_and_what_nobody_did(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    write_film(source, rate=Fraction(25))
    document = make_document(source)
    assert "Watched" not in to_html(collect_report(ReportSubject(source, None, document, {})))
    watched = WatchedSpans([(0, 8), (10, 12)], [("", [(4, 6)]), ("Ann <b>", [(0, 5), (9, 11)]), ("Bo", [(20, 30)])])
    content = collect_report(ReportSubject(source, None, document, {}, watched=watched))
    assert content["watched"] == {
        "frames": 10,
        "watched_frames": 7,
        "unwatched": [[6, 8], [11, 12]],
        "by": [
            {"reviewer": "", "frames": 2, "spans": [[4, 6]]},
            {"reviewer": "Ann <b>", "frames": 6, "spans": [[0, 5], [10, 11]]},
        ],
    }
    page = to_html(content)
    for words in (
        '<p class="bad">7 of the 10 frames',
        "<th>Ann &lt;b&gt;</th><td>6 frames: frames 0 to 4, frame 10</td>",
        "<th>An unnamed reviewer</th><td>2 frames: frames 4 to 5</td>",
        "<th>Nobody</th><td>3 frames: frames 6 to 7, frame 11</td>",
    ):
        assert words in page
    whole = collect_report(ReportSubject(source, None, document, {}, watched=WatchedSpans([(0, 8)], [("", [(0, 9)])])))
    assert '<p class="good">8 of the 8 frames' in to_html(whole) and "Nobody" not in to_html(whole)


def test_what_is_shown_or_left_open_is_in_the_headline_and_no_correction_of_the_programs(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    write_film(source, rate=Fraction(25))
    document = make_document(source)
    samples = document.tracks[0].samples[:2]
    weak = Suppression(SuppressionReason.LOW_CONFIDENCE, 2)
    document.uncovered += [
        Track("Ignored 01", samples, status=TrackStatus.SUPPRESSED, suppression=weak),
        Track("Face 07", samples, status=TrackStatus.ALLOWED, allowed_person="Ann"),
    ]
    content = collect_report(ReportSubject(source, None, document, {}))
    page = to_html(content)
    head, _, rest = page.partition("<h2>Files</h2>")
    for words in (
        "switched off in some frames: Face &lt;01&gt;.",
        "visible on purpose: Face 07.",
        "takes them for no faces: 1.",
        f"nobody has reviewed: {content['doubts_left']}.",
    ):
        assert words in head and content["doubts_left"] > 0
    uncovered, _, corrections = rest.partition("<h2>Ignored: not covered</h2>")[2].partition("<h2>Corrections</h2>")
    assert "Ignored 01" in uncovered and "Face 07" not in uncovered
    assert "Face 07: not covered" in corrections and "Ignored 01" not in corrections.partition("<h2>")[0]
    document.tracks, document.uncovered, document.review_items = document.tracks[1:], [], []
    page = to_html(collect_report(ReportSubject(source, None, document, {})))
    assert "on purpose" not in page.partition("<h2>Files</h2>")[0]


def test_pictures_of_faces_are_blocks() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    assert np.median(np.abs(np.diff(picture.astype(int), axis=1)).mean(axis=(0, 2))) > 50
    face = cv2.imdecode(np.frombuffer(draw_face(picture, Ellipse(100, 100, 30, 40)), np.uint8), cv2.IMREAD_COLOR)
    # 40 * 1.35 * 2 pixels in blocks of 60 / 6 pixels make ten blocks across.
    assert face is not None and face.shape == (96, 96, 3)
    assert np.median(np.abs(np.diff(face.astype(int), axis=1)).mean(axis=(0, 2))) < 3
    place = cv2.imdecode(np.frombuffer(draw_place(picture, (80, 80, 140, 140)), np.uint8), cv2.IMREAD_COLOR)
    assert place is not None and place.shape == (180, 180, 3)
    inside = place[70:110, 70:110].astype(int)
    assert np.abs(np.diff(inside, axis=1)).mean() < 0.25 * np.abs(np.diff(place[:50].astype(int), axis=1)).mean()
    assert draw_face(picture, Ellipse(-300, 100, 30, 40)) == b"" == draw_place(picture, (-300, 0, -250, 60))


def test_a_finding_is_one_sentence() -> None:
    assert describe_finding(LEAKED) == "frames 3 to 4: Face <01>: not covered (97 % of the face shows in frame 4)"


@pytest.fixture
def film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "system temp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "system temp"))
    write_film(tmp_path / "a.mp4", rate=Fraction(25))
    yield tmp_path / "a.mp4"
    assert [path for path in (tmp_path / "system temp").rglob("*") if path.is_file()] == []


def run(source: Path, settings: BatchSettings, report: Path | None = None, *leaks: Finding) -> Outcome:
    seen: list[Path] = []

    def verify(source: Path, output: Path, tracks: Path, *rest: Any) -> Verification:
        assert output.is_file() and tracks.is_file()
        seen.append(output)
        return make_verification(*leaks)

    jobs = plan_jobs([source], None, False, report=report)
    (outcome,) = run_jobs(jobs, replace(settings, renderer="blender"), Reporter(), analyse, render, verify)
    assert len(seen) == bool(settings.verify_every)
    return outcome


def test_a_verification_sets_the_outcome_and_the_report(film: Path) -> None:
    outcome = run(film, BatchSettings(verify_every=3), film.with_name("r.html"))
    assert (outcome.status, outcome.verified, outcome.findings) == ("done", True, ())
    assert list_names(film.parent) == ["a.blurred.mp4", "a.mp4", "r.html"]
    page = film.with_name("r.html").read_text(encoding="utf-8")
    assert (
        "no leak was found" in page and hashlib.sha256(film.with_name("a.blurred.mp4").read_bytes()).hexdigest() in page
    )

    again = BatchSettings(verify_every=3, resume=True)
    leaking = run(film, again, film.with_name("r.html"), LEAKED)
    assert (leaking.status, leaking.verified) == ("skipped", False)
    assert leaking.findings == (f"leak: {describe_finding(LEAKED)}",)
    assert "Not passed" in film.with_name("r.html").read_text(encoding="utf-8")
    assert run(film, BatchSettings(resume=True)).verified is None


def test_an_error_in_the_verification_delivers_no_output(film: Path) -> None:
    def fail(*call: Any) -> Verification:
        raise FaceBlurError("The verification failed: no detectors")

    (outcome,) = run_jobs(
        plan_jobs([film], None, False),
        BatchSettings(verify_every=1, renderer="blender"),
        Reporter(),
        analyse,
        render,
        fail,
    )
    assert (outcome.status, outcome.verified) == ("failed", None) and "no detectors" in outcome.reason
    assert list_names(film.parent) == ["a.mp4"]


def test_each_input_gets_its_own_report(film: Path) -> None:
    write_picture(film.with_name("b.png"))
    jobs = plan_jobs([film.parent], None, False, report=film.parent / "reports")
    assert [
        outcome.status for outcome in run_jobs(jobs, BatchSettings(renderer="blender"), Reporter(), analyse, render)
    ] == ["done"] * 2
    assert list_names(film.parent / "reports") == ["a.report.html", "b.report.html"]


@pytest.mark.parametrize(
    ("verified", "status", "code"),
    [
        (True, "done", cli.ALL_WELL),
        (False, "done", cli.LEAKED),
        (None, "failed", cli.SOME_FAILED),
        (False, "skipped", cli.LEAKED),
    ],
)
def test_exit_codes(verified: bool | None, status: str, code: int, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[BatchSettings] = []

    def run(jobs: Any, settings: BatchSettings, reporter: Any) -> Totals:
        asked.append(settings)
        totals = Totals()
        totals.add(Outcome(film, "done"))
        totals.add(Outcome(film, status, verified=verified))
        return totals

    monkeypatch.setattr(cli, "run_batch", run)
    assert cli.main([str(film), "--verify", "--verify-every", "5"]) == code
    assert cli.main(["--verify", str(film)]) == code and cli.main([str(film)]) == code
    assert [settings.verify_every for settings in asked] == [5, 3, 0]


def test_wrong_report_names_and_step_numbers_are_refused(film: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([str(film), "--report", "r.pdf"]) == cli.USAGE
    assert ".html or .json" in capsys.readouterr().err
    for every in ("0", "-1", "x"):
        with pytest.raises(SystemExit) as ended:
            cli.main([str(film), "--verify-every", every])
        assert ended.value.code == cli.USAGE


def test_an_existing_output_is_verified(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks, output = film.with_name("t.json"), film.with_name("b.mp4")
    write_document(make_document(film), tracks)
    output.write_bytes(b"film")
    leaks = [LEAKED]
    monkeypatch.setattr(batch, "run_verification", lambda *call: make_verification(*leaks))
    command = ["verify", str(film), str(output), "--tracks", str(tracks), "--effect", "blur", "--quiet"]
    assert cli.main([*command, "--report", str(film.with_name("r.json"))]) == cli.LEAKED
    content = json.loads(film.with_name("r.json").read_text(encoding="utf-8"))
    assert content["settings"] == {"effect": "blur", "preset": "balanced", "expansion": 1.4}
    leaks.clear()
    assert cli.main(command) == cli.ALL_WELL
    assert cli.main([*command, "--report", str(output)]) == cli.SOME_FAILED
    assert cli.main([*command, "--report", str(output / "below a file.html")]) == cli.SOME_FAILED
    assert output.read_bytes() == b"film"
    assert cli.main([*command[:3], "--tracks", str(output), "--quiet"]) == cli.SOME_FAILED
