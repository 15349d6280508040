# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes web pages from docs/*.md, which the extension contains so that its question marks work without a network.

It runs in a separate environment, because nothing else needs the Markdown package.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

EXTENSIONS = ("fenced_code", "sane_lists", "tables", "toc")
"""`toc` gives each heading the same anchor as on GitHub."""

TIMEOUT_S = 120

_STYLE = """
body { max-width: 52em; margin: 1.5em auto; padding: 0 1em; font: 16px/1.5 sans-serif; color: #222; background: #fff }
nav { font-size: 90%; border-bottom: 1px solid #ccc; padding-bottom: .5em }
img { max-width: 100% }
code, pre { background: #f2f2f2 }
pre { padding: .6em; overflow-x: auto }
table { border-collapse: collapse }
th, td { border: 1px solid #ccc; padding: .2em .5em; text-align: left }
@media (prefers-color-scheme: dark) {
body { color: #ddd; background: #1d1d1d } code, pre { background: #2b2b2b } a { color: #8ab4f8 }
}
"""


def list_files() -> list[str]:
    """The file names inside the guide's folder: pages and pictures."""
    pages = [f"{path.stem}.html" for path in DOCS.glob("*.md")]
    return sorted([*pages, *(f"pictures/{path.name}" for path in (DOCS / "pictures").glob("*.png"))])


def build_guide(folder: Path) -> None:
    """Write pages and pictures to `folder`, which is created. Raises FaceBlurError if Markdown cannot be installed."""
    from blender_faceblur.core.types import FaceBlurError

    from .environment import EnvironmentProblem, build_command, build_variables, ensure_tool

    try:
        command = build_command(ensure_tool(ROOT, "guide"), "tools.guide", [str(folder)])
    except EnvironmentProblem as problem:
        raise FaceBlurError(f"The guide's pages cannot be built: {problem}") from problem
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=build_variables(ROOT),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise FaceBlurError(f"The guide's pages cannot be built: {done.stderr.strip()[-300:]}")


def restore_bars(body: str) -> str:
    """HTML with plain bars in code: in a table, GitHub needs a backslash before them, which Markdown here keeps."""
    return re.sub(r"<code>[^<]*</code>", lambda match: match[0].replace("\\|", "|"), body)


def write_pages(folder: Path) -> None:
    """Write the pages, in the environment with the Markdown package."""
    import markdown

    (folder / "pictures").mkdir(parents=True)
    sources = {path.stem: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
    titles = {name: source.splitlines()[0].lstrip("# ") for name, source in sources.items()}
    links = " · ".join(f'<a href="{name}.html">{html.escape(title)}</a>' for name, title in titles.items())
    for name, source in sources.items():
        body = markdown.markdown(source, extensions=list(EXTENSIONS), output_format="html")
        body = restore_bars(body)
        body = re.sub(r'href="([\w-]+)\.md(#[\w-]+)?"', r'href="\1.html\2"', body)
        page = (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width">\n<title>Face Blur: {html.escape(titles[name])}'
            f"</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<nav>{links}</nav>\n{body}\n</body>\n</html>\n"
        )
        (folder / f"{name}.html").write_text(page, encoding="utf-8", newline="\n")
    for picture in sorted((DOCS / "pictures").glob("*.png")):
        shutil.copyfile(picture, folder / "pictures" / picture.name)


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
