# SPDX-License-Identifier: GPL-3.0-or-later
"""Private folders for unfinished work, which never outlive the process that made them by more than one run."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from ..core.types import FaceBlurError
from .paths import temporary_folder

_PART_PREFIX = ".faceblur-"
_LOCK, _PARTS = "lock", "parts.json"


class Workplace:
    """A private (0700) folder of this process, and hidden parts beside the outputs; a context manager.

    The parts lie on the outputs' file systems, so that a finished file moves into place in one step. All are
    removed at the end. A lock held while the process lives tells the next run which folders a dead one left.
    """

    def __init__(self) -> None:
        self._root = temporary_folder()
        self.folder = self._root / f"job-{secrets.token_hex(8)}"
        self._parts: list[Path] = []
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Workplace:
        remove_leftovers(self._root)
        try:
            self.folder.mkdir(mode=0o700)
            self._lock = _take_lock(self.folder / _LOCK)
        except OSError as error:
            raise FaceBlurError(f"{self.folder} cannot be made: {error.strerror}.") from error
        if self._lock is None:
            raise FaceBlurError(f"{self.folder} is locked by another process.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._parts:
            _remove(part)
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def make_part_folder(self, beside: Path) -> Path:
        """A private folder in the folder of `beside`. Raises FaceBlurError where nothing can be written."""
        part = self.name_part(beside, "")
        try:
            part.mkdir(mode=0o700)
        except OSError as error:
            raise FaceBlurError(f"Nothing can be written into {beside.parent}: {error.strerror}.") from error
        return part

    def name_part(self, beside: Path, ending: str) -> Path:
        """A name for a file that is made in the folder of `beside`, since it must lie as deep as the finished one."""
        part = beside.parent / f"{_PART_PREFIX}{secrets.token_hex(8)}{ending}"
        # Written down before it is made: a crash in between leaves a name, not a part that nobody knows.
        self._parts.append(part)
        try:
            (self.folder / _PARTS).write_text(
                json.dumps([str(path.resolve()) for path in self._parts]), encoding="utf-8"
            )
        except OSError as error:
            raise FaceBlurError(f"{self.folder} cannot be written to: {error.strerror}.") from error
        return part

    def remove_part(self, part: Path) -> None:
        _remove(part)
        self._parts.remove(part)


def remove_leftovers(root: Path) -> int:
    """Remove the folders of processes that ended without doing so; how many there were."""
    count = 0
    for folder in root.glob("job-*"):
        try:
            lock = _take_lock(folder / _LOCK)
        except OSError:
            # Made a moment ago by a process that has no lock yet, or just removed by its own.
            continue
        if lock is None:
            continue
        for part in _read_parts(folder):
            _remove(part)
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)
        count += 1
    return count


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part, ignore_errors=True)
        return
    # Blender saves under a longer name first.
    for path in (part, *part.parent.glob(f"{part.name}.*")):
        with suppress(OSError):
            path.unlink()


def _read_parts(folder: Path) -> list[Path]:
    try:
        names = json.loads((folder / _PARTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    parts = [Path(name) for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return [part for part in parts if part.is_absolute() and part.name.startswith(_PART_PREFIX)]


def _take_lock(path: Path) -> IO[bytes] | None:
    """The open lock file, None when a living process holds it. The system lets go of it when its holder ends."""
    stream = open(path, "a+b")  # noqa: SIM115
    try:
        if sys.platform == "win32":
            import msvcrt

            stream.seek(0)
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        stream.close()
        return None
    return stream


def replace_file(part: Path, final: Path) -> None:
    """Move a finished file into place in one step, with its content on the disk before its name.

    Raises FaceBlurError; the file that was there before is then untouched.
    """
    try:
        with open(part, "rb+") as stream:
            os.fsync(stream.fileno())
        part.replace(final)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise FaceBlurError(f"{final} cannot be written: {error.strerror}.") from error
