# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation: each link between files has a target, and the website cannot be built with one that has none."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tools import site
from tools.lint import ROOT

WRITTEN = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_links_between_files_have_a_target(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target = link.partition("#")[0]
        if target and not link.startswith("https://"):
            assert (page.parent / target).exists(), link


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_a_list_begins_after_an_empty_line(page: Path) -> None:
    """Otherwise it is a part of the paragraph on the website and in the guide, though not on GitHub."""
    item = re.compile(r"- |\d+\. ")
    for block in page.read_text(encoding="utf-8").split("\n\n"):
        lines = block.strip("\n").splitlines()
        begins = [number for number, line in enumerate(lines) if item.match(line)]
        if begins and not item.match(lines[0]):
            assert lines[begins[0] - 1].startswith(("#", " ", "-", "<")), lines[begins[0]]


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    assert site.build_site(tmp_path / "site") == 0
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages < {path.stem for path in (tmp_path / "site").glob("*.html")}
    for page in (tmp_path / "site").glob("*.html"):
        loaded = re.findall(r'<(?:script|img)[^>]+src="([^"]+)"', page.read_text(encoding="utf-8"))
        loaded += re.findall(r'<link[^>]+stylesheet"? href="([^"]+)"', page.read_text(encoding="utf-8"))
        assert "\\|" not in re.sub(r"<script.*?</script>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        assert loaded and not [link for link in loaded if "//" in link]


def test_a_link_that_leads_nowhere_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("tools", "docs"):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / "docs", tmp_path / "docs", dirs_exist_ok=True)
    shutil.copyfile(site.CONFIGURATION, tmp_path / "tools" / "site.yml")
    monkeypatch.setattr(site, "CONFIGURATION", tmp_path / "tools" / "site.yml")
    assert site.build_site(tmp_path / "whole") == 0
    index = tmp_path / "docs" / "index.md"
    index.write_text(index.read_text(encoding="utf-8") + "\n[x](editing.md#nowhere)\n", encoding="utf-8")
    assert site.build_site(tmp_path / "broken") == 1
