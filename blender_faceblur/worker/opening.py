# SPDX-License-Identifier: GPL-3.0-or-later
"""Open the source that a request names."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Protocol

from ..core.types import FaceBlurError
from ..sources import FrameSource, open_source


class SourceRequest(Protocol):
    """What a request says of its source."""

    @property
    def source(self) -> str: ...

    @property
    def files(self) -> list[str]: ...

    @property
    def frame_rate(self) -> list[int]: ...


def open_requested(request: SourceRequest, fingerprint: str = "") -> FrameSource:
    """Raises FaceBlurError for what cannot be opened, or where it is not what has that `fingerprint`."""
    rate = request.frame_rate
    if rate and (len(rate) != 2 or min(rate) < 1):
        raise FaceBlurError("The frame rate is not a fraction above zero.")
    source = open_source(Path(request.source), request.files, Fraction(*rate) if rate else None)
    if fingerprint and source.info.fingerprint != fingerprint:
        source.close()
        raise FaceBlurError(f"{source.info.file_name} has changed since it was analysed.")
    return source
