# SPDX-License-Identifier: GPL-3.0-or-later
"""The Flamenco job type, run by a script that plays the manager: its tasks and order, and what our command is given."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from blender_faceblur.batch.options import build_parser
from tools.lint import ROOT

# What the job compilers' documentation promises to scripts (flamenco.blender.org/usage/job-types).
MANAGER = """
const path = require("node:path").posix;
const tasks = [];
const author = {
    Task: (name, type) => ({ name, type, commands: [], dependencies: [],
        addCommand(command) { this.commands.push(command); },
        addDependency(task) { this.dependencies.push(task.name); } }),
    Command: (name, parameters) => ({ name, parameters }),
};
const job = { name: "wedding", settings: {}, addTask: task => tasks.push(task) };
"""
SETTINGS = {"film": "/shared/wedding.mp4", "output": "/shared/wedding.blurred.mp4", "storage": "/shared/work"}


@pytest.fixture(scope="module")
def compiled() -> dict[str, Any]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("There is no node to run the Flamenco job type.")
    script = (ROOT / "tools" / "flamenco" / "face_blur.js").read_text(encoding="utf-8")
    ending = f"""
for (const one of JOB_TYPE.settings) if ("default" in one) job.settings[one.key] = one.default;
Object.assign(job.settings, {json.dumps({**SETTINGS, "segments": 3})});
compileJob(job);
console.log(JSON.stringify({{ type: JOB_TYPE, tasks }}));
"""
    done = subprocess.run([node, "-e", MANAGER + script + ending], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_every_setting_has_a_type_that_flamenco_knows(compiled: dict[str, Any]) -> None:
    for one in compiled["type"]["settings"]:
        assert one["type"] in ("string", "int32", "float", "bool") and one["description"]
        assert one.get("required") or "default" in one


def test_painting_waits_for_the_analysis_and_joining_for_all_pieces(compiled: dict[str, Any]) -> None:
    tasks = {task["name"]: task for task in compiled["tasks"]}
    painting = [f"paint {number} of 3" for number in (1, 2, 3)]
    assert list(tasks) == ["analyse", *painting, "join"]
    assert tasks["analyse"]["dependencies"] == []
    assert all(tasks[name]["dependencies"] == ["analyse"] for name in painting)
    assert tasks["join"]["dependencies"] == painting


def test_our_command_takes_the_arguments_of_every_task(compiled: dict[str, Any]) -> None:
    parsed = []
    for task in compiled["tasks"]:
        (command,) = task["commands"]
        assert command["name"] == "exec" and command["parameters"]["exe"] == "faceblur"
        parsed.append(build_parser().parse_args(command["parameters"]["args"]))
    analyse, *paint, join = parsed
    assert analyse.no_render and analyse.save_tracks == join.tracks and join.verify
    assert [one.segment for one in paint] == [(1, 3), (2, 3), (3, 3)]
    assert {(one.tracks, one.pieces, one.effect, one.output) for one in (*paint, join)} == {
        (
            Path("/shared/work/wedding.tracks.json"),
            Path("/shared/work/wedding.pieces"),
            "solid",
            Path(SETTINGS["output"]),
        )
    }
