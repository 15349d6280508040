# SPDX-License-Identifier: GPL-3.0-or-later
"""A Blender user with nothing installed, and the complaints that Blender prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from blender_faceblur.files import paths

HOST = {"linux": "linux-x64", "win32": "windows-x64", "darwin": "macos-arm64"}[sys.platform]
FOREIGN = "windows-x64" if HOST != "windows-x64" else "linux-x64"
RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"

BLENDERS_HOME = re.compile(r"\.cache(/(thumbnails|mesa_shader_cache)(/.*)?)?")

COMPLAINT = re.compile("warning|error|traceback|violation|failed", re.IGNORECASE)
BLENDERS_COMPLAINTS = ("Could not get a list of mounted file-systems", "extensions/blender_org'")
"""On a system without /proc/mounts; from `extension remove` if the online repository was never fetched."""


def list_complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if COMPLAINT.search(line) and not any(known in line for known in BLENDERS_COMPLAINTS)
    ]


class Machine:
    """A user with an empty home, temporary folder and Blender user folder."""

    def __init__(self, folder: Path) -> None:
        self.folders = {name: folder / name for name in ("home", "temporary", "resources")}
        for path in self.folders.values():
            path.mkdir()
        temporary = str(self.folders["temporary"])
        self.variables = {
            **{
                name: value
                for name, value in os.environ.items()
                if name != paths.MODELS_VARIABLE and not name.startswith(("PYTHON", "ORT_"))
            },
            "HOME": str(self.folders["home"]),
            "USERPROFILE": str(self.folders["home"]),
            "TMPDIR": temporary,
            "TEMP": temporary,
            "TMP": temporary,
            "BLENDER_USER_RESOURCES": str(self.folders["resources"]),
            # These addresses do not answer on this machine, so any network access fails visibly.
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"),
        }

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.variables,
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
            cwd=self.folders["resources"].parent,
        )

    def list_outside(self) -> list[str]:
        """Files in the home and the temporary folder, except Blender's own."""
        home, temporary = self.folders["home"], self.folders["temporary"]
        return [
            str(path)
            for path in sorted([*home.rglob("*"), *temporary.rglob("*")])
            if not BLENDERS_HOME.fullmatch(path.relative_to(home).as_posix() if home in path.parents else "-")
        ]
