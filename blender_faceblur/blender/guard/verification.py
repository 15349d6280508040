# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a film that was rendered from a scene with the sources of its covered strips."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np

from ...core.cover.effects import EffectSettings
from ...core.document.tracks_file import write_document
from ...core.translation import translate
from ...core.types import FaceBlurError, TrackDocument
from ...core.verification.findings import Finding, Verification, from_json
from ...files.baked import recall_source
from ...files.workplace import Workplace
from ...sources import compute_fingerprint
from ...worker.client import VerifyOptions, build_verify_request
from ..common.footage import KINDS, Footage, compute_source_frame, get_footage, get_frame_rate
from ..common.jobs import JobProgress, Step
from ..cover.baked import BakedRecord, is_baked
from ..cover.covering import read_effect, read_group_effect
from ..cover.projection import get_projection
from ..cover.strips import get_mask
from ..masks.changes import sync_from_blender
from ..masks.faces import list_faces
from .checks import list_rendered


@dataclass(frozen=True, slots=True)
class CoveredPart:
    """A strip's part of the film, and how it shows its source; for the fields see `protocol.VerifyRequest`."""

    strip: str
    footage: Footage
    document: TrackDocument
    samples_per_face: float
    shown: list[tuple[int, int, int]]
    place: list[float]
    rate: Fraction


@dataclass(slots=True)
class FilmVerification:
    """The result of verifying a film, by strip."""

    film: Path
    first_frame: int
    parts: list[tuple[CoveredPart, Verification]] = field(default_factory=list)

    def list_findings(self) -> Iterator[tuple[int, str, bool, Finding]]:
        """Timeline frame, name of the strip, whether it is a leak, and the finding; leaks first."""
        for leaks in (True, False):
            for part, verification in self.parts:
                for finding in verification.leaks if leaks else verification.uncertain:
                    yield self.first_frame + finding.worst, part.strip, leaks, finding

    @property
    def leaks(self) -> int:
        return sum(len(verification.leaks) for _, verification in self.parts)

    @property
    def problems(self) -> list[str]:
        return list(dict.fromkeys(text for _, verification in self.parts for text in verification.problems))


def get_film(scene: bpy.types.Scene) -> Path:
    """The path that the scene's settings render the film to."""
    return Path(bpy.path.abspath(scene.render.frame_path(frame=scene.frame_start)))


def list_parts(scene: bpy.types.Scene) -> list[CoveredPart]:
    """The covered and baked strips that the scene's film shows.

    Raises FaceBlurError if there are none, or if one cannot be verified, except for those that `list_unverified` names.
    """
    strips = [strip for strip in _list_covered(scene) if not _explain_unknown_source(strip)]
    parts = [_get_part(scene, strip) for strip in strips]
    parts = [part for part in parts if part.shown]
    if not parts:
        raise FaceBlurError(next(iter(list_unverified(scene)), "The film shows no covered strip."))
    return parts


def list_unverified(scene: bpy.types.Scene) -> list[str]:
    """Warnings about parts of the film that are not verified: covered footage of other scenes, and baked strips whose
    source is not there."""
    others = {owner.name for owner, strip in list_rendered(scene) if owner != scene and _is_covered(strip)}
    return [
        *(text for strip in _list_covered(scene) if (text := _explain_unknown_source(strip))),
        *(
            translate(
                "The footage of the scene '{name}' was not verified. Render and verify that scene separately.",
                name=name,
            )
            for name in sorted(others)
        ),
    ]


def get_cover(strip: bpy.types.Strip) -> tuple[Footage, bpy.types.Mask, EffectSettings | None]:
    """The uncovered source of a covered or baked strip, its mask and its effect.

    What a baked strip shows has no faces to compare with, so it is verified like a covered one: against its source.
    Raises FaceBlurError if one of them is lost.
    """
    if not is_baked(strip):
        return get_footage(strip), get_mask(strip), read_effect(strip)
    record = BakedRecord.load(strip)
    known = recall_source(record.key)
    footage = Footage(known.path, known.files) if known is not None else None
    if footage is None or not footage.path.exists():
        raise FaceBlurError(
            translate(
                "The baked strip '{name}' was not verified, because its source is not where it was, or not known on "
                "this computer. Unbake it, choose the file, and bake it again.",
                name=strip.name,
            )
        )
    if compute_fingerprint(footage.path, footage.files) != record.source:
        raise FaceBlurError(
            translate("The baked strip '{name}' was not verified, because its source was changed.", name=strip.name)
        )
    if record.mask is None or record.group is None:
        raise FaceBlurError(
            translate(
                "The baked strip '{name}' was not verified, because it has lost its mask or effect.", name=strip.name
            )
        )
    return footage, record.mask, read_group_effect(record.group)


def _is_covered(strip: bpy.types.Strip) -> bool:
    return get_mask(strip) is not None or is_baked(strip)


def _list_covered(scene: bpy.types.Scene) -> list[bpy.types.Strip]:
    return [
        strip
        for strip in scene.sequence_editor.strips_all
        if strip.type in KINDS and not strip.mute and _is_covered(strip)
    ]


def _explain_unknown_source(strip: bpy.types.Strip) -> str:
    """Why a baked strip cannot be compared with its source; empty for all others."""
    if is_baked(strip):
        try:
            get_cover(strip)
        except FaceBlurError as error:
            return str(error)
    return ""


def _get_part(scene: bpy.types.Scene, strip: bpy.types.Strip) -> CoveredPart:
    footage, mask, effect = get_cover(strip)
    if effect is not None and effect.inverse:
        raise FaceBlurError(
            translate("'{name}' cannot be verified, as its inverse cover shows the faces.", name=strip.name)
        )
    document = sync_from_blender(mask)
    hidden = {face.track for face in list_faces(mask) if face.track and mask.layers[face.name].hide_render}
    for track in document.tracks:
        if track.name in hidden:
            # An editor has switched it off, so it is meant to show.
            track.off = [(0, document.source.frame_count)]
    render = scene.render
    part = render.resolution_percentage / 100
    size = round(render.resolution_x * part), round(render.resolution_y * part)
    matrix = (
        np.array([[part, 0, size[0] / 2], [0, -part, size[1] / 2], [0, 0, 1]]) @ get_projection(scene, strip).matrix
    )
    return CoveredPart(
        strip.name,
        footage,
        document,
        effect.samples_across if effect is not None else 6.0,
        _compute_shown(scene, strip, document.source.frame_count),
        matrix[:2].ravel().tolist(),
        Fraction(get_frame_rate(scene)).limit_denominator(1001),
    )


def _compute_shown(scene: bpy.types.Scene, strip: bpy.types.Strip, frame_count: int) -> list[tuple[int, int, int]]:
    """Runs of consecutive frames: first film frame, first source frame, length."""
    runs: list[tuple[int, int, int]] = []
    for number, frame in enumerate(range(scene.frame_start, scene.frame_end + 1, scene.frame_step)):
        source = compute_source_frame(strip, frame, frame_count)
        if source is None:
            continue
        if runs and runs[-1][0] + runs[-1][2] == number and runs[-1][1] + runs[-1][2] == source:
            runs[-1] = (*runs[-1][:2], runs[-1][2] + 1)
        else:
            runs.append((number, source, 1))
    return runs


def verify_film(
    film: Path, first_frame: int, parts: list[CoveredPart], wait_s: float | None = None, every: int = 3
) -> Generator[Step | None, None, FilmVerification]:
    """Compare the film with each part's source, and run detectors on the film frames that are multiples of `every`.

    With `wait_s` it yields None whenever nothing has happened for that long. Closing the generator ends all processes.
    """
    verified, progress = FilmVerification(film, first_frame), JobProgress(len(parts), wait_s)
    with Workplace() as workplace:
        for number, part in enumerate(parts, 1):
            tracks, output = (workplace.folder / f"{what}-{number}.json" for what in ("tracks", "verified"))
            write_document(part.document, tracks)
            source = part.footage.to_source_ref(part.rate)
            options = VerifyOptions(part.samples_per_face, every, part.shown, part.place)
            request = build_verify_request(source, film, tracks, output, options)
            yield from progress.run(request, part.strip, number)
            verified.parts.append((part, from_json(output.read_text(encoding="utf-8"))))
    return verified
