# SPDX-License-Identifier: GPL-3.0-or-later
"""A report on one covered film or picture: the covered faces with the evidence, the corrections and the verification.

`collect_report` gathers the content as plain data. `write_report` writes it as JSON, or as a single HTML file that can
be printed and refers to nothing outside itself. Faces appear only as blocks.
"""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.metadata
import json
import os
import platform
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.cover.obscured import draw_face
from ..core.document.editing import list_locked_frames
from ..core.review.groups import list_review_groups
from ..core.review.queue import choose_clearest
from ..core.translation import in_english
from ..core.types import Evidence, FaceBlurError, Track, TrackDocument, TrackKind, TrackStatus
from ..core.verification.findings import Finding, FindingKind, Verification, to_content
from ..files.paths import get_version, list_models
from ..files.workplace import place_file
from ..sources import open_source
from .wording import FINDING_KINDS, VERDICTS, describe_finding_reason, describe_place, describe_status

SCHEMA, VERSION = "faceblur-report", 1
ENDINGS = (".html", ".json")

_PACKAGES = ("bpy", "numpy", "opencv-python-headless", "onnxruntime", "av")


@dataclass(frozen=True, slots=True)
class WatchedSpans:
    """Which frames of a film somebody watched with their covers. All ranges are half-open, in source frames."""

    shown: list[tuple[int, int]]
    """The frames that need watching: those that the project shows."""
    watchers: list[tuple[str, list[tuple[int, int]]]]
    """What each person watched, also of other frames. The name is empty for somebody who gave none."""


@dataclass(frozen=True, slots=True)
class ReportSubject:
    """What a report is about."""

    source: Path
    """The file that was covered. It is hashed whole; for a sequence, which is a folder, only the fingerprint is
    listed."""
    output: Path | None
    """The covered file, if there is one."""
    document: TrackDocument
    settings: Mapping[str, Any]
    """The settings of the effect."""
    verification: Verification | None = None
    faces: Mapping[str, bytes] | None = None
    """Obscured JPEGs by track name; None for those of the verification. Without one, `draw_faces` makes them."""
    output_name: str = ""
    """The name of the output in the report, if it is not that of the file."""
    notes: Iterable[str] = ()
    blender: str = ""
    """The version line of the Blender that rendered, if known."""
    watched: WatchedSpans | None = None
    """What was watched in Blender's window; None for a film that was never in one."""


@in_english()
def collect_report(subject: ReportSubject) -> dict[str, Any]:
    """The content of a report, as data for JSON. Raises FaceBlurError where a file cannot be read."""
    document, output, verification = subject.document, subject.output, subject.verification
    faces = subject.faces
    if faces is None:
        faces = verification.faces if verification is not None else {}
    info = document.source
    entries = list_review_groups(document)
    totals = Counter(s.evidence.value for track in document.tracks for s in track.samples)
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "program": {
            "name": "Face Blur",
            "version": get_version(),
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "blender": subject.blender,
            "packages": _list_packages(),
        },
        "source": {
            **_describe_file(subject.source, info.file_name),
            "kind": info.kind,
            "width": info.width,
            "height": info.height,
            "frames": info.frame_count,
            "frame_rate": str(info.frame_rate),
            "fingerprint": info.fingerprint,
        },
        "output": _describe_file(output, subject.output_name or output.name) if output is not None else None,
        "settings": {**subject.settings, "preset": document.preset, "expansion": document.margin},
        "models": [{**asdict(model), "licence": _get_licence(model.name)} for model in document.models],
        "faces": [_describe_track(track, faces.get(track.name, b"")) for track in document.tracks],
        "coverage": {evidence.value: totals.get(evidence.value, 0) for evidence in Evidence},
        "corrections": _list_corrections(document),
        "doubts": [
            {
                "start": entry.start,
                "stop": entry.stop,
                "track": entry.track,
                "sentence": describe_place(entry),
                "items": [
                    {"start": one.start, "stop": one.stop, "track": one.track, "reason": one.item.reason.value}
                    for one in (entry, *entry.members)
                ],
                "risk": round(entry.risk, 3),
                "judged": VERDICTS[entry.verdict] if entry.verdict is not None else "",
                "reviewer": entry.reviewer,
            }
            for entry in entries
        ],
        "doubts_judged": sum(entry.verdict is not None for entry in entries),
        "doubts_left": sum(entry.verdict is None for entry in entries),
        "watched": _describe_watched(subject.watched) if subject.watched is not None else None,
        "verification": _describe_verification(verification) if verification is not None else None,
        "notes": list(dict.fromkeys([*info.warnings, *document.all_notes, *subject.notes])),
    }


def draw_faces(source: Path, document: TrackDocument) -> dict[str, bytes]:
    """An obscured JPEG of each track's face, by track name. Decodes the source in this process. Raises
    FaceBlurError."""
    wanted: dict[int, list[Track]] = {}
    size = document.source.width, document.source.height
    for track in (track for track in document.tracks if track.samples):
        wanted.setdefault(choose_clearest(track.samples, size).source_frame, []).append(track)
    faces = {}
    with open_source(source) as opened:
        for frame, tracks in sorted(wanted.items()):
            for _, picture in opened.read_frames(frame, frame + 1):
                for track in tracks:
                    faces[track.name] = draw_face(picture, choose_clearest(track.samples, size).ellipse)
    return faces


def write_report(content: Mapping[str, Any], path: Path, overwrite: bool = True) -> None:
    """Write the report in one step, as HTML or JSON by the suffix of `path`.

    Raises FaceBlurError for any other suffix, and where the report cannot be written; an earlier file then stays.
    Without `overwrite` an earlier file is such a case.
    """
    if path.suffix.lower() not in ENDINGS:
        raise FaceBlurError(f"{path.name}: the name of a report must end in {' or '.join(ENDINGS)}.")
    text = json.dumps(content, ensure_ascii=False, indent=1) if path.suffix.lower() == ".json" else to_html(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".faceblur-", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        place_file(Path(name), path, overwrite)
    except OSError as error:
        raise FaceBlurError(f"The report cannot be written to {path}: {error.strerror}.") from error


def _list_packages() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _describe_file(path: Path, name: str) -> dict[str, Any]:
    if path.is_dir():
        return {"name": name, "bytes": None, "sha256": None}
    try:
        with open(path, "rb") as stream:
            return {
                "name": name,
                "bytes": os.fstat(stream.fileno()).st_size,
                "sha256": hashlib.file_digest(stream, "sha256").hexdigest(),
            }
    except OSError as error:
        raise FaceBlurError(f"{path} cannot be read: {error.strerror}.") from error


def _get_licence(name: str) -> str:
    model = list_models().get(name)
    return model.licence if model is not None else ""


_KINDS = {TrackKind.PLATE: TrackKind.REGION, TrackKind.TEXT: TrackKind.REGION}
"""Kinds that have another name in reports, as in all earlier versions."""


def _describe_track(track: Track, picture: bytes) -> dict[str, Any]:
    evidence = Counter(s.evidence.value for s in track.samples)
    return {
        "name": track.name,
        "kind": _KINDS.get(track.kind, track.kind),
        "spans": [list(span) for span in track.list_spans()],
        "frames": len(track.samples),
        "covered": [list(span) for span in track.list_covered_spans()],
        "covered_frames": sum(stop - start for start, stop in track.list_covered_spans()),
        "off": [list(span) for span in track.off],
        "locked": track.locked,
        "locked_keys": len(list_locked_frames(track)),
        "evidence": dict(evidence),
        "picture": _encode(picture),
    }


def _list_corrections(document: TrackDocument) -> dict[str, Any]:
    def describe(track: Track) -> dict[str, Any]:
        return {
            "name": track.name,
            "spans": [list(span) for span in track.list_spans()],
            "status": track.status.value,
            "reason": describe_status(track),
        }

    return {
        "locked_keys": {t.name: list_locked_frames(t) for t in document.tracks if list_locked_frames(t)},
        "locked": [t.name for t in document.tracks if t.locked],
        "off": {t.name: [list(span) for span in t.off] for t in document.tracks if t.off},
        "regions": [describe(t) for t in document.tracks if t.kind in (TrackKind.REGION, *_KINDS)],
        "deleted": [describe(t) for t in document.uncovered if t.status is TrackStatus.DELETED],
        "never": [describe(t) for t in document.uncovered if t.kind is TrackKind.NEVER],
        "aside": [
            describe(t)
            for t in document.uncovered
            if t.status is not TrackStatus.DELETED and t.kind is not TrackKind.NEVER
        ],
    }


def _describe_watched(watched: WatchedSpans) -> dict[str, Any]:
    shown = {frame for start, stop in watched.shown for frame in range(start, stop)}
    by, seen = [], set()
    for name, spans in watched.watchers:
        frames = shown.intersection(frame for start, stop in spans for frame in range(start, stop))
        if frames:
            by.append({"reviewer": name, "frames": len(frames), "spans": _list_ranges(frames)})
            seen |= frames
    return {
        "frames": len(shown),
        "watched_frames": len(seen),
        "unwatched": _list_ranges(shown - seen),
        "by": by,
    }


def _list_ranges(frames: set[int]) -> list[list[int]]:
    """The half-open ranges of consecutive frames."""
    ranges: list[list[int]] = []
    for frame in sorted(frames):
        if ranges and ranges[-1][1] == frame:
            ranges[-1][1] = frame + 1
        else:
            ranges.append([frame, frame + 1])
    return ranges


def _describe_verification(verification: Verification) -> dict[str, Any]:
    content = to_content(verification)
    del content["faces"]
    for name, findings in (
        ("leaks", verification.leaks),
        ("doubts", verification.uncertain),
        ("kept", verification.shown_on_purpose),
    ):
        content[name] = [_describe_finding(finding) for finding in findings]
    return {"passed": verification.passed, **content}


def _describe_finding(finding: Finding) -> dict[str, Any]:
    content = asdict(finding)
    del content["subject"]
    return {
        **content,
        "box": [round(value, 1) for value in finding.box],
        "reason": describe_finding_reason(finding),
        "picture": _encode(finding.picture),
    }


def _encode(picture: bytes) -> str:
    return base64.b64encode(picture).decode("ascii")


@in_english()
def list_findings(verification: Verification) -> list[str]:
    """The problems, leaks and findings to review of a verification, one line each."""
    return [
        *(f"problem: {text}" for text in verification.problems),
        *(
            f"{FINDING_KINDS[finding.kind]}: {describe_finding(finding)}"
            for finding in (*verification.leaks, *verification.uncertain)
        ),
    ]


def describe_finding(finding: Finding | Mapping[str, Any]) -> str:
    """A finding in one line. Frames of the film count from 0; the last frame is included."""
    one = finding if isinstance(finding, Mapping) else _describe_finding(finding)
    last = one["stop"] - 1
    frames = f"frame {one['start']}" if last == one["start"] else f"frames {one['start']} to {last}"
    who = f"{one['track']}: " if one["track"] else ""
    shown = f" ({round(100 * one['share'])} % of the face shows in frame {one['worst']})"
    return f"{frames}: {who}{one['reason']}" + ("" if one["kind"] == FindingKind.KEPT else shown)


_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 60em; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 1.8em; border-bottom: 1px solid #bbb; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; vertical-align: top; padding: .25em .6em;
border-bottom: 1px solid #ddd; } code { font-size: .85em; word-break: break-all; }
.good { color: #14632a; } .bad { color: #a31616; font-weight: bold; } img { display: block; }
.sign { margin-top: 3em; } .sign span { display: inline-block; border-top: 1px solid #222; width: 18em;
margin: 1em 2em 0 0; } tr, img { break-inside: avoid; } @media print { body { margin: 0; max-width: none; } }
"""


@in_english()
def to_html(content: Mapping[str, Any]) -> str:
    """The report as one HTML page without scripts and external links."""
    source, verification, program = content["source"], content["verification"], content["program"]
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        (
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">"
        ),
        f"<title>Face Blur report: {_escape(source['name'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Face Blur report: {_escape(source['name'])}</h1>",
        _format_verdict(content),
        *_format_shown(content),
        _build_table(
            [
                ("Made", content["made"]),
                ("Program", f"{program['name']} {program['version']}, Python {program['python']}, {program['system']}"),
                ("Blender", program["blender"] or program["packages"].get("bpy", "not used")),
                ("Packages", ", ".join(f"{name} {version}" for name, version in program["packages"].items())),
            ]
        ),
        "<h2>Files</h2>",
        _build_table(
            [
                (
                    "Source",
                    (
                        f"{source['name']}, {source['width']} x {source['height']} pixels, {source['frames']} frames "
                        f"at {source['frame_rate']} per second"
                    ),
                ),
                ("SHA-256 of the source", source["sha256"] or "-"),
                ("Fingerprint of the source", source["fingerprint"]),
                ("Output", content["output"]["name"] if content["output"] else "no output was written"),
                ("SHA-256 of the output", content["output"]["sha256"] if content["output"] else "-"),
            ]
        ),
        "<h2>Settings</h2>",
        _build_table([(key.replace("_", " "), value) for key, value in content["settings"].items()]),
        "<h2>Detectors</h2>",
        _build_table(
            [
                (
                    f"{m['name']}, {m['input_long_side']} pixels, threshold {m['threshold']}",
                    f"{m['sha256']} ({m['licence']})",
                )
                for m in content["models"]
            ]
        ),
        "<h2>Verification</h2>",
        _show_verification(verification),
        f"<h2>Faces ({len(content['faces'])})</h2>",
        _show_faces(content["faces"]),
        "<h2>Evidence</h2>",
        _show_coverage(content["coverage"]),
        "<h2>Ignored: not covered</h2>",
        _build_table(
            (track["name"], f"{', '.join(_format_range(*span) for span in track['spans'])} ({track['reason']})")
            for track in _list_suppressed(content)
        ),
        "<h2>Corrections</h2>",
        _show_corrections(content["corrections"]),
        f"<h2>Places to review: {content['doubts_judged']} reviewed, {content['doubts_left']} open</h2>",
        _build_table(
            [
                (
                    _format_range(entry["start"], entry["stop"]) + (f", {entry['track']}" if entry["track"] else ""),
                    entry["sentence"]
                    + (
                        f" Verdict: {entry['judged']} (by {entry['reviewer'] or 'an unnamed reviewer'})."
                        if entry["judged"]
                        else " Not reviewed."
                    ),
                )
                for entry in content["doubts"]
            ]
        ),
    ]
    if content["watched"] is not None:
        parts += [_show_watched(content["watched"])]
    if content["notes"]:
        parts += ["<h2>Notes</h2><ul>", *(f"<li>{_escape(note)}</li>" for note in content["notes"]), "</ul>"]
    parts += [
        "<p>Frames are counted from 0. Faces are shown as blocks. No detector finds every face.</p>",
        '<p class="sign"><span>Reviewed by</span><span>Date</span></p></body></html>\n',
    ]
    return "\n".join(parts)


def _escape(value: object) -> str:
    return html.escape("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(value)))


def _build_table(rows: Iterable[tuple[str, object]]) -> str:
    lines = [f"<tr><th>{_escape(name)}</th><td>{_escape(value)}</td></tr>" for name, value in rows]
    return f"<table>{''.join(lines)}</table>" if lines else "<p>None.</p>"


def _build_picture(data: str) -> str:
    return f'<img alt="" src="data:image/jpeg;base64,{_escape(data)}">' if data else ""


def _format_range(start: int, stop: int) -> str:
    return f"frame {start}" if stop - start == 1 else f"frames {start} to {stop - 1}"


def _format_verdict(content: Mapping[str, Any]) -> str:
    verification = content["verification"]
    if verification is None:
        return "<p>The finished film was not verified.</p>"
    if verification["passed"]:
        return (
            f'<p class="good">Verified: no leak was found in the {verification["looked"]} of {verification["frames"]} '
            f"frames that were searched. Findings to review: {len(verification['doubts'])}.</p>"
        )
    return (
        f'<p class="bad">Not passed. Leaks: {len(verification["leaks"])}. Problems with the file: '
        f"{len(verification['problems'])}.</p>"
    )


def _format_shown(content: Mapping[str, Any]) -> list[str]:
    """What the film shows although it may be a face, and what was left open: a reader must not miss it."""
    off, aside, left = content["corrections"]["off"], content["corrections"]["aside"], content["doubts_left"]
    allowed = [track for track in aside if track["status"] == TrackStatus.ALLOWED]
    weak = _list_suppressed(content)
    sentences = [
        sentence
        for number, sentence in (
            (len(off), f"Faces that are switched off in some frames: {', '.join(off)}."),
            (len(allowed), f"Faces that stay visible on purpose: {', '.join(track['name'] for track in allowed)}."),
            (len(weak), f"Ignored tracks, which are not covered, as the program takes them for no faces: {len(weak)}."),
            (left, f"Places to review that nobody has reviewed: {left}."),
        )
        if number
    ]
    return [f"<p>{_escape(' '.join(sentences))}</p>"] if sentences else []


def _show_verification(verification: Mapping[str, Any] | None) -> str:
    if verification is None:
        return "<p>The finished film was not verified.</p>"
    searched = f"{verification['looked']} of {verification['frames']} frames" + (
        f" (one frame in {verification['every']})" if verification["every"] > 1 else ""
    )
    parts = [
        _build_table(
            [
                (
                    "Frames, seconds, sound streams",
                    f"{verification['frames']}, {verification['seconds_long']:.3f}, {verification['sound_streams']}",
                ),
                (
                    "Expected faces compared",
                    (
                        f"{verification['compared']} (each face in each frame); {verification['flat']} of "
                        "them are too flat or too dark to tell"
                    ),
                ),
                ("Searched for unexpected faces in", searched),
                (
                    "Detectors",
                    ", ".join(dict.fromkeys(f"{m['name']} {m['sha256'][:12]}" for m in verification["models"])),
                ),
                ("Detections too weak to be listed", verification["weak"]),
            ]
        )
    ]
    for name, title in (("problems", "Problems with the file"), ("notes", "Notes")):
        if verification[name]:
            lines = "".join(f"<li>{_escape(line)}</li>" for line in verification[name])
            parts.append(f"<h3>{title}</h3><ul>{lines}</ul>")
    for name, title in (("leaks", "Leaks, worst first"), ("doubts", "To review"), ("kept", "Shown on purpose")):
        if verification[name]:
            rows = "".join(
                f"<tr><td>{_build_picture(f['picture'])}</td><td>{_escape(describe_finding(f))}</td></tr>"
                for f in verification[name]
            )
            parts.append(f"<h3>{title}</h3><table>{rows}</table>")
    return "".join(parts)


def _show_faces(faces: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for face in faces:
        evidence = ", ".join(f"{_NAMES.get(name, name)} {count}" for name, count in face["evidence"].items())
        more = ("; locked" if face["locked"] else "") + (
            f"; off in {', '.join(_format_range(*span) for span in face['off'])}" if face["off"] else ""
        )
        rows.append(
            f"<tr><td>{_build_picture(face['picture'])}</td><th>{_escape(face['name'])}</th><td>"
            f"{_escape(', '.join(_format_range(*span) for span in face['spans']))}</td><td>"
            f"{_escape(face['covered_frames'])} of {_escape(face['frames'])} frames covered: {_escape(evidence)}"
            f"{_escape(more)}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>" if rows else "<p>None.</p>"


def _show_watched(watched: Mapping[str, Any]) -> str:
    def format_spans(spans: Iterable[Sequence[int]]) -> str:
        return ", ".join(_format_range(*span) for span in spans)

    seen, frames = watched["watched_frames"], watched["frames"]
    rows = [
        (one["reviewer"] or "An unnamed reviewer", f"{one['frames']} frames: {format_spans(one['spans'])}")
        for one in watched["by"]
    ]
    if watched["unwatched"]:
        rows.append(("Nobody", f"{frames - seen} frames: {format_spans(watched['unwatched'])}"))
    style = "good" if seen == frames else "bad"
    return (
        f'<h2>Watched</h2><p class="{style}">{seen} of the {frames} frames in the project were watched with the covers '
        f"that they have now, by somebody who played them.</p>{_build_table(rows)}"
    )


_MEANINGS = {
    "detected": "found by a detector",
    "flow": "tracked by optical flow",
    "interpolated": "interpolated between two frames",
    "held": "extrapolated from the nearest detection",
    "locked": "set by an editor",
}
_NAMES = {Evidence.FLOW.value: "optical flow", Evidence.EXTRAPOLATED.value: "extrapolated"}
"""Names for evidence whose value in files is not a word for people."""


def _show_coverage(coverage: Mapping[str, int]) -> str:
    total = max(sum(coverage.values()), 1)
    return _build_table(
        [
            (
                f"{_NAMES.get(name, name)} ({_MEANINGS.get(name, '')})",
                f"{count} faces in frames, {100 * count / total:.1f} %",
            )
            for name, count in coverage.items()
        ]
    )


def _list_suppressed(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The tracks that the program, and no editor, left uncovered. In the data they are among the corrections."""
    return [track for track in content["corrections"]["aside"] if track["status"] == TrackStatus.SUPPRESSED]


def _show_corrections(corrections: Mapping[str, Any]) -> str:
    def format_spans(track: Mapping[str, Any]) -> str:
        return ", ".join(_format_range(*span) for span in track["spans"])

    rows = [
        (f"{name}: locked keys", ", ".join(map(str, frames))) for name, frames in corrections["locked_keys"].items()
    ]
    rows += [(f"{name}: locked", "a later analysis does not change it") for name in corrections["locked"]]
    rows += [
        (f"{name}: switched off", ", ".join(_format_range(*span) for span in off))
        for name, off in corrections["off"].items()
    ]
    for kind, label in (
        ("regions", "drawn region"),
        ("deleted", "deleted"),
        ("never", "never blurred"),
        ("aside", "not covered"),
    ):
        rows += [
            (f"{track['name']}: {label}", format_spans(track) + (f" ({track['reason']})" if kind == "aside" else ""))
            for track in corrections[kind]
            if track["status"] != TrackStatus.SUPPRESSED
        ]
    return _build_table(rows)
