# SPDX-License-Identifier: GPL-3.0-or-later
"""A report on one covered film or picture: what was covered on what evidence, what an editor did, what was verified.

`collect_report` gathers everything as plain data, which `write_report` writes as JSON or as one HTML file that can be
printed and refers to nothing outside of itself. Faces appear in it as blocks only.
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
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..core.cover.obscured import draw_face
from ..core.document.editing import locked_frames
from ..core.review.queue import choose_clearest, list_review_entries
from ..core.types import Evidence, FaceBlurError, Track, TrackDocument, TrackKind, TrackStatus
from ..core.verification.leaks import Finding, FindingKind, Verification
from ..files.paths import PACKAGE_FOLDER, list_models
from ..sources import open_source
from .wording import VERDICTS, describe_finding_reason, describe_place, describe_status

SCHEMA, VERSION = "faceblur-report", 1
ENDINGS = (".html", ".json")

_PACKAGES = ("bpy", "numpy", "opencv-python-headless", "onnxruntime", "av")


def collect_report(
    source: Path,
    output: Path | None,
    document: TrackDocument,
    settings: Mapping[str, Any],
    verification: Verification | None = None,
    faces: Mapping[str, bytes] | None = None,
    output_name: str = "",
    notes: Iterable[str] = (),
    blender: str = "",
) -> dict[str, Any]:
    """Everything that a report says, as data for JSON.

    `faces` are obscured JPEGs by track name, by default those of the verification (`draw_faces` makes them without
    one); `blender` the version line of the Blender that rendered, where it is known. `source` is hashed whole; of a
    sequence, a folder, its fingerprint stands for it. Raises FaceBlurError where a file cannot be read.
    """
    if faces is None:
        faces = verification.faces if verification is not None else {}
    info = document.source
    doubts = list_review_entries(document)
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
            "blender": blender,
            "packages": _list_packages(),
        },
        "source": {
            **_describe_file(source, info.file_name),
            "kind": info.kind,
            "width": info.width,
            "height": info.height,
            "frames": info.frame_count,
            "frame_rate": str(info.frame_rate),
            "fingerprint": info.fingerprint,
        },
        "output": _describe_file(output, output_name or output.name) if output is not None else None,
        "settings": {**settings, "preset": document.preset, "expansion": document.margin},
        "models": [{**asdict(model), "licence": _get_licence(model.name)} for model in document.models],
        "faces": [_describe_track(track, faces.get(track.name, b"")) for track in document.tracks],
        "coverage": {evidence.value: totals.get(evidence.value, 0) for evidence in Evidence},
        "corrections": _list_corrections(document),
        "doubts": [
            {
                "start": d.start,
                "stop": d.stop,
                "track": d.track,
                "sentence": describe_place(d),
                "risk": round(d.risk, 3),
                "judged": VERDICTS[d.verdict] if d.verdict is not None else "",
                "reviewer": d.reviewer,
            }
            for d in doubts
        ],
        "doubts_judged": sum(d.verdict is not None for d in doubts),
        "doubts_left": sum(d.verdict is None for d in doubts),
        "verification": _describe_verification(verification) if verification is not None else None,
        "notes": list(dict.fromkeys([*info.warnings, *document.all_notes, *notes])),
    }


def draw_faces(source: Path, document: TrackDocument) -> dict[str, bytes]:
    """An obscured JPEG of each track's face. Decodes the source in this process. Raises FaceBlurError."""
    wanted: dict[int, list[Track]] = {}
    size = document.source.width, document.source.height
    for track in (track for track in document.tracks if track.samples):
        wanted.setdefault(choose_clearest(track.samples, size).source_frame, []).append(track)
    faces = {}
    with open_source(source) as opened:
        for frame, tracks in sorted(wanted.items()):
            for _, picture in opened.frames(frame, frame + 1):
                for track in tracks:
                    faces[track.name] = draw_face(picture, choose_clearest(track.samples, size).ellipse)
    return faces


def write_report(content: Mapping[str, Any], path: Path) -> None:
    """Write the report as `path`'s ending says, so that there is all of it or what was there before.

    Raises FaceBlurError for another ending than .html and .json, and where it cannot be written.
    """
    if path.suffix.lower() not in ENDINGS:
        raise FaceBlurError(f"{path.name}: a report is written as {' or '.join(ENDINGS)}.")
    text = json.dumps(content, ensure_ascii=False, indent=1) if path.suffix.lower() == ".json" else to_html(content)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".faceblur-", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        Path(name).replace(path)
    except OSError as error:
        raise FaceBlurError(f"The report cannot be written to {path}: {error.strerror}.") from error


def get_version() -> str:
    """This program's version, of its manifest."""
    for folder in (PACKAGE_FOLDER, PACKAGE_FOLDER.parent):
        with suppress(OSError, KeyError, ValueError):
            return str(tomllib.loads((folder / "blender_manifest.toml").read_text(encoding="utf-8"))["version"])
    return "unknown"


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


_KINDS = {TrackKind.PLATE: TrackKind.REGION}
"""What reports call a kind, as they always have."""


def _describe_track(track: Track, picture: bytes) -> dict[str, Any]:
    evidence = Counter(s.evidence.value for s in track.samples)
    return {
        "name": track.name,
        "kind": _KINDS.get(track.kind, track.kind),
        "spans": [list(span) for span in track.spans()],
        "frames": len(track.samples),
        "covered": [list(span) for span in track.covered_spans()],
        "covered_frames": sum(stop - start for start, stop in track.covered_spans()),
        "off": [list(span) for span in track.off],
        "locked": track.locked,
        "locked_keys": len(locked_frames(track)),
        "evidence": dict(evidence),
        "picture": _encode(picture),
    }


def _list_corrections(document: TrackDocument) -> dict[str, Any]:
    def tell(track: Track) -> dict[str, Any]:
        return {"name": track.name, "spans": [list(span) for span in track.spans()], "reason": describe_status(track)}

    return {
        "locked_keys": {t.name: locked_frames(t) for t in document.tracks if locked_frames(t)},
        "locked": [t.name for t in document.tracks if t.locked],
        "off": {t.name: [list(span) for span in t.off] for t in document.tracks if t.off},
        "regions": [tell(t) for t in document.tracks if t.kind in (TrackKind.REGION, TrackKind.PLATE)],
        "deleted": [tell(t) for t in document.aside if t.status is TrackStatus.DELETED],
        "never": [tell(t) for t in document.aside if t.kind is TrackKind.NEVER],
        "aside": [
            tell(t) for t in document.aside if t.status is not TrackStatus.DELETED and t.kind is not TrackKind.NEVER
        ],
    }


def _describe_verification(verification: Verification) -> dict[str, Any]:
    content = asdict(verification)
    del content["faces"]
    for name, findings in (("leaks", verification.leaks), ("doubts", verification.doubts), ("kept", verification.kept)):
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


def describe_finding(finding: Finding | Mapping[str, Any]) -> str:
    """A finding in one line, with the frames of the film counted from 0 and the last one named."""
    one = finding if isinstance(finding, Mapping) else _describe_finding(finding)
    last = one["stop"] - 1
    frames = f"frame {one['start']}" if last == one["start"] else f"frames {one['start']} to {last}"
    who = f"{one['track']}: " if one["track"] else ""
    shown = f" ({round(100 * one['share'])} % of it shows in frame {one['worst']})"
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


def to_html(content: Mapping[str, Any]) -> str:
    """The report as one HTML page without scripts and without outside links."""
    source, verification, program = content["source"], content["verification"], content["program"]
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        (
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">"
        ),
        f"<title>Face Blur report: {_text(source['name'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Face Blur report: {_text(source['name'])}</h1>",
        _format_verdict(content),
        _table(
            [
                ("Made", content["made"]),
                ("Program", f"{program['name']} {program['version']}, Python {program['python']}, {program['system']}"),
                ("Blender", program["blender"] or program["packages"].get("bpy", "not known")),
                ("Packages", ", ".join(f"{name} {version}" for name, version in program["packages"].items())),
            ]
        ),
        "<h2>Files</h2>",
        _table(
            [
                (
                    "Source",
                    (
                        f"{source['name']}, {source['width']} x {source['height']} pixels, {source['frames']} frames "
                        f"at {source['frame_rate']} a second"
                    ),
                ),
                ("its SHA-256", source["sha256"] or "-"),
                ("its fingerprint", source["fingerprint"]),
                ("Output", content["output"]["name"] if content["output"] else "none was written"),
                ("its SHA-256", content["output"]["sha256"] if content["output"] else "-"),
            ]
        ),
        "<h2>Settings</h2>",
        _table([(key.replace("_", " "), value) for key, value in content["settings"].items()]),
        "<h2>Detectors</h2>",
        _table(
            [
                (
                    f"{m['name']}, {m['input_long_side']} pixels, from {m['threshold']}",
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
        "<h2>Corrections</h2>",
        _show_corrections(content["corrections"]),
        f"<h2>Doubtful places: {content['doubts_judged']} judged, {content['doubts_left']} left</h2>",
        _table(
            [
                (
                    _format_range(d["start"], d["stop"]) + (f", {d['track']}" if d["track"] else ""),
                    d["sentence"]
                    + (
                        f" Judged: {d['judged']} (by {d['reviewer'] or 'somebody not named'})."
                        if d["judged"]
                        else " Not judged."
                    ),
                )
                for d in content["doubts"]
            ]
        ),
    ]
    if content["notes"]:
        parts += ["<h2>Notes</h2><ul>", *(f"<li>{_text(note)}</li>" for note in content["notes"]), "</ul>"]
    parts += [
        "<p>Frames are counted from 0. Faces are shown as blocks. No detector finds every face.</p>",
        '<p class="sign"><span>Reviewed by</span><span>Date</span></p></body></html>\n',
    ]
    return "\n".join(parts)


def _text(value: object) -> str:
    return html.escape("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in str(value)))


def _table(rows: Iterable[tuple[str, object]]) -> str:
    lines = [f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows]
    return f"<table>{''.join(lines)}</table>" if lines else "<p>None.</p>"


def _picture(data: str) -> str:
    return f'<img alt="" src="data:image/jpeg;base64,{_text(data)}">' if data else ""


def _format_range(start: int, stop: int) -> str:
    return f"frame {start}" if stop - start == 1 else f"frames {start} to {stop - 1}"


def _format_verdict(content: Mapping[str, Any]) -> str:
    verification = content["verification"]
    if verification is None:
        return "<p>The finished film was not verified.</p>"
    if verification["passed"]:
        return (
            f'<p class="good">Verified: no leak was found. {len(verification["doubts"])} doubtful places in the '
            "film.</p>"
        )
    return (
        f'<p class="bad">Not passed: {len(verification["leaks"])} leaks, {len(verification["problems"])} '
        "problems with the file.</p>"
    )


def _show_verification(verification: Mapping[str, Any] | None) -> str:
    if verification is None:
        return "<p>Not made.</p>"
    looked = f"{verification['looked']} of {verification['frames']} frames" + (
        f" (every {verification['every']}.)" if verification["every"] > 1 else ""
    )
    parts = [
        _table(
            [
                (
                    "Frames, seconds, sound streams",
                    f"{verification['frames']}, {verification['seconds_long']:.3f}, {verification['sound_streams']}",
                ),
                (
                    "Expected faces compared",
                    (
                        f"{verification['compared']} (each face in each frame), {verification['flat']} of "
                        "them too flat or too dark to tell"
                    ),
                ),
                ("Looked for others in", looked),
                (
                    "Detectors",
                    ", ".join(dict.fromkeys(f"{m['name']} {m['sha256'][:12]}" for m in verification["models"])),
                ),
                ("Too weak to be listed", verification["weak"]),
            ]
        )
    ]
    for name, title in (("problems", "Problems with the file"), ("notes", "Notes")):
        if verification[name]:
            lines = "".join(f"<li>{_text(line)}</li>" for line in verification[name])
            parts.append(f"<h3>{title}</h3><ul>{lines}</ul>")
    for name, title in (("leaks", "Leaks, worst first"), ("doubts", "Doubts"), ("kept", "Shown on purpose")):
        if verification[name]:
            rows = "".join(
                f"<tr><td>{_picture(f['picture'])}</td><td>{_text(describe_finding(f))}</td></tr>"
                for f in verification[name]
            )
            parts.append(f"<h3>{title}</h3><table>{rows}</table>")
    return "".join(parts)


def _show_faces(faces: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for face in faces:
        evidence = ", ".join(f"{name} {count}" for name, count in face["evidence"].items())
        more = ("; locked" if face["locked"] else "") + (
            f"; off in {', '.join(_format_range(*span) for span in face['off'])}" if face["off"] else ""
        )
        rows.append(
            f"<tr><td>{_picture(face['picture'])}</td><th>{_text(face['name'])}</th><td>"
            f"{_text(', '.join(_format_range(*span) for span in face['spans']))}</td><td>"
            f"{_text(face['covered_frames'])} of {_text(face['frames'])} frames covered: {_text(evidence)}"
            f"{_text(more)}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>" if rows else "<p>None.</p>"


_MEANINGS = {
    "detected": "found by a detector",
    "flow": "followed by the movement of the picture",
    "interpolated": "guessed between two frames",
    "held": "held beyond its last sight",
    "locked": "set by an editor",
}


def _show_coverage(coverage: Mapping[str, int]) -> str:
    total = max(sum(coverage.values()), 1)
    return _table(
        [
            (f"{name} ({_MEANINGS.get(name, '')})", f"{count} faces in frames, {100 * count / total:.1f} %")
            for name, count in coverage.items()
        ]
    )


def _show_corrections(corrections: Mapping[str, Any]) -> str:
    def spans(track: Mapping[str, Any]) -> str:
        return ", ".join(_format_range(*span) for span in track["spans"])

    rows = [
        (f"{name}: locked keys", ", ".join(map(str, frames))) for name, frames in corrections["locked_keys"].items()
    ]
    rows += [(f"{name}: locked", "no later analysis changes it") for name in corrections["locked"]]
    rows += [
        (f"{name}: switched off", ", ".join(_format_range(*span) for span in off))
        for name, off in corrections["off"].items()
    ]
    for kind, words in (
        ("regions", "drawn region"),
        ("deleted", "deleted"),
        ("never", "never blurred"),
        ("aside", "not covered"),
    ):
        rows += [
            (f"{track['name']}: {words}", spans(track) + (f" ({track['reason']})" if kind == "aside" else ""))
            for track in corrections[kind]
        ]
    return _table(rows)
