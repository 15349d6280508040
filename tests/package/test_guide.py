# SPDX-License-Identifier: GPL-3.0-or-later
"""The guide in a zip: every page is present, every link has a target, and every question mark opens a heading."""

from __future__ import annotations

import re
import sys
import zipfile
from html.parser import HTMLParser

import pytest

from tools.guide import DOCS, ROOT

from .conftest import Build


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


Pages = dict[str, _Page]


@pytest.fixture(scope="module")
def names(build: Build) -> set[str]:
    with zipfile.ZipFile(build("macos-arm64", f"{sys.version_info[0]}.{sys.version_info[1]}")) as archive:
        return {name.removeprefix("docs/") for name in archive.namelist() if name.startswith("docs/")}


@pytest.fixture(scope="module")
def pages(build: Build, names: set[str]) -> Pages:
    with zipfile.ZipFile(build("macos-arm64", f"{sys.version_info[0]}.{sys.version_info[1]}")) as archive:
        return {name: _Page(archive.read(f"docs/{name}").decode()) for name in names if name.endswith(".html")}


def test_every_page_exists_and_every_link_has_a_target(pages: Pages, names: set[str]) -> None:
    assert set(pages) == {f"{path.stem}.html" for path in DOCS.glob("*.md")}
    within = 0
    for name, page in pages.items():
        for link in page.links:
            if link.startswith("https://"):
                continue
            target, _, anchor = link.partition("#")
            assert (target or name) in names, f"{name}: {link}"
            assert not anchor or anchor in pages[target or name].anchors, f"{name}: {link}"
            within += 1
    assert within > len(pages) ** 2


def test_question_marks_open_existing_headings(pages: Pages) -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "blender_faceblur" / "blender").rglob("*.py")]
    asked = {page for source in sources for page in re.findall(r'\bguide = "([\w#-]+)"', source)}
    assert {"editing", "editing#review", "people"} <= asked
    for page in asked:
        name, _, anchor = page.partition("#")
        assert f"{name}.html" in pages, page
        assert not anchor or anchor in pages[f"{name}.html"].anchors, page
