# SPDX-License-Identifier: GPL-3.0-or-later
"""Private folders for unfinished work. The next run removes the folders of a process that crashed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from ..core.types import FaceBlurError
from .paths import get_temporary_folder

_PART_PREFIX = ".faceblur-"
_LOCK, _PARTS = "lock", "parts.json"

_ATTEMPTS = 8
"""How many folders are tried. A process that removes leftovers can take a folder for one before it is locked."""


class Workplace:
    """A context manager for a private (0700) folder of this process, and for hidden part files beside the outputs.

    Parts lie on the file system of their output, so that a finished file moves into place in one step. The folder and
    the parts are removed at the end. The process holds a lock: an unlocked folder belongs to a process that crashed.
    """

    def __init__(self) -> None:
        self._root = get_temporary_folder()
        self.folder = self._choose_folder()
        self._parts: list[Path] = []
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Workplace:
        remove_leftovers(self._root)
        for _ in range(_ATTEMPTS):
            try:
                self.folder.mkdir(mode=0o700)
                self._lock = _take_lock(self.folder / _LOCK)
            except FileNotFoundError:
                self._lock = None
            except OSError as error:
                raise FaceBlurError(f"The folder {self.folder} cannot be created: {error.strerror}.") from error
            if self._lock is not None:
                return self
            self.folder = self._choose_folder()
        raise FaceBlurError(f"No folder of {self._root} can be locked: other processes remove each of them.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in self._parts:
            _remove(part)
        if self._lock is not None:
            self._lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _choose_folder(self) -> Path:
        return self._root / f"job-{secrets.token_hex(8)}"

    def make_part_folder(self, beside: Path) -> Path:
        """Create a private folder beside the file `beside`. Raises FaceBlurError where nothing can be written."""
        part = self.name_part(beside, "")
        try:
            part.mkdir(mode=0o700)
        except OSError as error:
            raise FaceBlurError(f"The folder {beside.parent} cannot be written to: {error.strerror}.") from error
        return part

    def name_part(self, beside: Path, ending: str) -> Path:
        """A path for an unfinished file beside `beside`, where its relative paths are those of the finished file."""
        part = beside.parent / f"{_PART_PREFIX}{secrets.token_hex(8)}{ending}"
        # Recorded before it is created: a crash in between leaves a name without a part, never an unknown part.
        self._parts.append(part)
        try:
            (self.folder / _PARTS).write_text(
                json.dumps([str(path.resolve()) for path in self._parts]), encoding="utf-8"
            )
        except OSError as error:
            raise FaceBlurError(f"The folder {self.folder} cannot be written to: {error.strerror}.") from error
        return part

    def remove_part(self, part: Path) -> None:
        _remove(part)
        self._parts.remove(part)


@contextmanager
def hold_folder(folder: Path, otherwise: Path) -> Iterator[Path]:
    """A folder that outlives this process, for this process alone; `otherwise` while another one holds it, or where it
    cannot be created. It is removed at the end if nothing is in it."""
    lock = None
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        lock = _take_lock(folder / _LOCK)
    if lock is None:
        yield otherwise
        return
    try:
        yield folder
    finally:
        lock.close()
        with suppress(OSError):
            if [path.name for path in folder.iterdir()] == [_LOCK]:
                (folder / _LOCK).unlink()
                folder.rmdir()


def holds_work(folder: Path) -> bool:
    """Whether anything is in a folder of `hold_folder`."""
    with suppress(OSError):
        return any(path.name != _LOCK for path in folder.iterdir())
    return False


def remove_leftovers(root: Path) -> int:
    """Remove the folders of processes that ended without removing them. Returns their number."""
    count = 0
    for folder in root.glob("job-*"):
        try:
            lock = _take_lock(folder / _LOCK)
        except OSError:
            # The folder was created just now and has no lock yet, or its own process has just removed it.
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
    # Blender saves to a longer name first.
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
    """The open, locked file; None when a running process holds the lock. The system releases it when a process ends."""
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
    """Move a finished file into place in one step, after its content is written to the disk.

    Raises FaceBlurError and leaves an earlier file unchanged where that fails.
    """
    _move_into_place(part, final, os.replace)


def place_file(part: Path, final: Path, overwrite: bool) -> None:
    """Like `replace_file`, but without `overwrite` it raises FaceBlurError where a file has the final name by now."""
    _move_into_place(part, final, os.replace if overwrite else _move_without_replacing)


def _move_into_place(part: Path, final: Path, move: Callable[[Path, Path], None]) -> None:
    try:
        with open(part, "rb+") as stream:
            os.fsync(stream.fileno())
        move(part, final)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        if isinstance(error, FileExistsError):
            raise FaceBlurError(f"{final} was made by another program in the meantime. It is not replaced.") from error
        raise FaceBlurError(f"{final} cannot be written: {error.strerror}.") from error


def _move_without_replacing(part: Path, final: Path) -> None:
    """Raises FileExistsError where anything has the final name, even if it appears during the call."""
    if sys.platform == "win32":
        # Unlike on other systems, it never replaces a file there.
        part.rename(final)
        return
    try:
        os.link(part, final)
    except FileExistsError:
        raise
    except OSError:
        # The file system has no hard links (FAT, some network shares). An empty file of ours reserves the name.
        os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            part.replace(final)
        except OSError:
            final.unlink()
            raise
    else:
        part.unlink()
