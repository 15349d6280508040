# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a source is still the same after long work: what was analysed must be what is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.types import FaceBlurError
from .base import fingerprint
from .sequence import check_names, fingerprint_files


class SourceGuard:
    """Remembers a film, a picture or the pictures `files` in the folder `path` as they are when it is created.

    `check` compares the file's status and its fingerprint. The fingerprint of a large file covers only samples, and the
    status alone may stay the same on file systems with coarse times. The inode number is not compared: some network
    and FUSE file systems change it while a file is idle. Raises FaceBlurError where a file cannot be read, or where a
    name leads out of the folder.
    """

    def __init__(self, path: Path, files: Sequence[str] = ()) -> None:
        check_names(files)
        self._path, self._files = path, tuple(files)
        # The status is read first: a change between the two readings is then found by the next check.
        self._stamps = self._read_stamps()
        self.fingerprint = self._compute_fingerprint()

    def check(self, stage: str) -> None:
        """Raise FaceBlurError if the source has changed. `stage` is the work since the last check: "the render"."""
        try:
            same = self._read_stamps() == self._stamps and self._compute_fingerprint() == self.fingerprint
        except FaceBlurError:
            same = False
        if not same:
            raise FaceBlurError(f"{self._path.name} changed during {stage}. Start again.")

    def is_same_file(self) -> bool:
        """Whether the file's status is unchanged: cheap enough for every second of a long work.

        The system sets the time of the last change, so a source that was changed and restored is not the same.
        """
        try:
            return self._read_stamps() == self._stamps
        except FaceBlurError:
            return False

    def _compute_fingerprint(self) -> str:
        if len(self._files) > 1:
            return fingerprint_files(self._path, self._files)
        return fingerprint(self._path.joinpath(*self._files))

    def _read_stamps(self) -> list[tuple[int, int, int]]:
        """Size, time of the last change of the content, and of the status, of each file.

        The last is set by the system (except on Windows, where it is the time of creation) and so also shows that
        another file was moved here or that the time of the content was set back.
        """
        stamps = []
        for file in map(self._path.joinpath, dict.fromkeys(self._files)) if self._files else (self._path,):
            try:
                status = file.stat()
            except OSError as error:
                raise FaceBlurError(f"{file}: the file cannot be read ({error.strerror})") from None
            stamps.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        return stamps
