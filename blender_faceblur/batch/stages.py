# SPDX-License-Identifier: GPL-3.0-or-later
"""The long stages of a run, each in processes of its own: analysis, render, verification."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.types import FaceBlurError, Warn
from ..core.verification.findings import Verification, from_json
from ..files.paths import get_unfinished_analyses_folder
from ..files.workplace import Workplace, holds_work
from ..sources import MovieFacts
from ..worker.client import (
    AnalysisOptions,
    LastingWorker,
    VerifyOptions,
    build_request,
    build_verify_request,
    finish_job,
)
from ..worker.protocol import EmbeddingsDone, Message, PaintRequest, TrackEmbedding, Warned
from .rendering import OnProgress
from .settings import BatchSettings

_FEW_SAMPLES = 3.0


_KEPT_S = 30 * 86400.0
"""How long an unfinished analysis is kept to be resumed."""


Analyse = Callable[[Path, Path, BatchSettings, OnProgress, Warn], None]


Render = Callable[[dict[str, Any], Path, Path | None, OnProgress, Warn], dict[str, Any]]


Paint = Callable[[PaintRequest, OnProgress, Warn], None]
Verify = Callable[[Path, Path, Path, BatchSettings, OnProgress, Warn], Verification]
"""(source, output, tracks document, ...)"""


@dataclass(frozen=True, slots=True)
class Stages:
    """The functions for the long stages of a run. Tests and the export pass their own."""

    analyse: Analyse | None
    """None for an analysis that another run can resume."""
    render: Render
    verify: Verify
    paint: Paint


def run_analysis(
    source: Path,
    tracks: Path,
    settings: BatchSettings,
    on_progress: OnProgress,
    warn: Warn,
    storage: Path | None = None,
    worker: LastingWorker | None = None,
    expected_frames: int = 0,
    facts: MovieFacts | None = None,
) -> None:
    """Analyse a source in separate processes, and write the tracks document to `tracks`. Raises FaceBlurError.

    With `storage` (a folder), an unfinished analysis of the same source and settings is resumed. `expected_frames` and
    `facts`: see `AnalysisOptions`.
    """
    options = AnalysisOptions(
        settings.preset,
        settings.margin,
        settings.provider,
        storage=storage,
        recognise=settings.people is not None,
        expected_frames=expected_frames,
        facts=facts,
    )
    request = build_request(source, tracks, options)

    def hear(message: Message) -> None:
        match message:
            case TrackEmbedding() if settings.people is not None:
                settings.people.take(message)
            case EmbeddingsDone() if settings.people is not None:
                settings.people.end()
            case Warned():
                warn(message.text)

    finish_job(request, on_progress, hear, worker)


def run_painting(
    request: PaintRequest, on_progress: OnProgress, warn: Warn, worker: LastingWorker | None = None
) -> None:
    """Paint covers in a separate process. Raises FaceBlurError where that fails."""

    def hear(message: Message) -> None:
        if isinstance(message, Warned):
            warn(message.text)

    finish_job(request, on_progress, hear, worker)


def run_verification(
    source: Path,
    output: Path,
    tracks: Path,
    settings: BatchSettings,
    on_progress: OnProgress,
    warn: Warn,
    worker: LastingWorker | None = None,
) -> Verification:
    """Compare an output with its source in a separate process. Raises FaceBlurError where that fails."""
    with Workplace() as workplace:
        place = workplace.folder / "verification.json"
        # Effects without samples leave nothing of a face, so nearly all of its detail must be gone.
        samples = settings.samples_per_face if settings.effect in ("mosaic", "blur", "gaussian") else _FEW_SAMPLES
        request = build_verify_request(
            source,
            output,
            tracks,
            place,
            VerifyOptions(samples, settings.verify_every or 1, voice=settings.voice.value),
        )

        def hear(message: Message) -> None:
            if isinstance(message, Warned):
                warn(message.text)

        try:
            finish_job(request, on_progress, hear, worker)
        except FaceBlurError as error:
            raise FaceBlurError(f"The verification failed: {error}") from error
        return from_json(place.read_text(encoding="utf-8"))


def get_unfinished_path(source: Path) -> Path:
    """The folder in which the analysis of a source is kept until its output is finished."""
    return get_unfinished_analyses_folder() / hashlib.sha256(str(source.resolve()).encode()).hexdigest()[:32]


def forget_after_second_failure(folder: Path) -> None:
    """Keep a source's unfinished analysis in `folder` after one failure, and remove it after the second.

    A lack of memory or a crash may be over at the next try, but an input that fails twice would leave its analysis
    behind for good.
    """
    failed = folder / "failed"
    if failed.exists():
        shutil.rmtree(folder, ignore_errors=True)
    elif holds_work(folder):
        with suppress(OSError):
            failed.touch()


def forget_abandoned() -> None:
    """Remove unfinished analyses that were not resumed in time."""
    for folder in get_unfinished_analyses_folder().glob("*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _KEPT_S:
                shutil.rmtree(folder)
