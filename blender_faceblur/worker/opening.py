# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the source that a request names."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from ..core.types import FaceBlurError
from ..sources import FrameSource, MovieFacts, MovieSource, open_source
from .protocol import SourceRef


def open_requested(wanted: SourceRef, since: str = "it was analysed", facts: MovieFacts | None = None) -> FrameSource:
    """Open a source, which takes little time if it is the film that `facts` describe.

    Raises FaceBlurError if it cannot be opened, or has changed since its fingerprint was taken (`since` says when, in
    words for the user), or if Blender has to show it and cannot.
    """
    source: FrameSource
    if facts is None:
        source = open_source(Path(wanted.path), wanted.files, read_rate(wanted))
    else:
        source = MovieSource(Path(wanted.path).joinpath(*wanted.files), facts=facts)
    if wanted.fingerprint and source.info.fingerprint != wanted.fingerprint:
        source.close()
        raise FaceBlurError(f"{source.info.file_name} has changed since {since}. Analyse it again.")
    if wanted.for_blender and source.blender_problem:
        source.close()
        raise FaceBlurError(source.blender_problem)
    return source


def read_rate(wanted: SourceRef) -> Fraction | None:
    """The frame rate that a request names; None if it names none. Raises FaceBlurError if that is no rate."""
    rate = wanted.frame_rate
    if rate and (len(rate) != 2 or min(rate) < 1):
        raise FaceBlurError("The frame rate must be a fraction above zero.")
    return Fraction(*rate) if rate else None
