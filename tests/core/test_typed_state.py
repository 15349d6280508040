# SPDX-License-Identifier: GPL-3.0-or-later
"""No program logic reads text for people: the logic uses enums, and `reporting/wording.py` puts them into words.

The package's source is searched for four ways of reading such text:

- a phrase (a literal, or a constant that holds one) is compared, searched or cut;
- a field that holds text is compared with a literal, or read with a method of strings;
- a field that holds an enum is compared with a literal;
- a module that shows nothing imports from `wording`, or the text of `wording` is compared, tested or read.

Identifiers, file names and names of other programs are not text for people. `NAMES_ARE_DATA` lists where they are read.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import blender_faceblur
from blender_faceblur.core import types
from blender_faceblur.core.verification import findings

PACKAGE = Path(blender_faceblur.__file__).parent

TEXT_FIELDS = frozenset(
    {
        "name",
        "text",
        "why",
        "note",
        "notes",
        "sentence",
        "reason",
        "problem",
        "problems",
        "warnings",
        "people_notes",
        "all_notes",
        "findings",
        "title",
        "label",
    }
)
ENUM_FIELDS = frozenset({"status", "kind", "reason", "verdict", "suppression"})
VALUES = frozenset(
    str(value)
    for enum in (
        types.TrackKind,
        types.TrackStatus,
        types.SuppressionReason,
        types.ReviewReason,
        types.Verdict,
        findings.FindingKind,
        findings.FindingReason,
    )
    for value in enum
)

READING = frozenset(
    {
        "startswith",
        "endswith",
        "removeprefix",
        "removesuffix",
        "replace",
        "find",
        "rfind",
        "index",
        "partition",
        "rpartition",
        "split",
        "rsplit",
        "count",
        "casefold",
        "lower",
        "upper",
    }
)
OF_NAMES = frozenset({"startswith", "endswith", "removeprefix", "removesuffix", "replace", "find", "rfind", "index"})
"""The methods that count as reading a name. Other names than those of tracks may be split or compared without case."""
MATCHING = frozenset({"match", "fullmatch", "search", "findall", "finditer", "sub", "split", "compile"})

WORDING = "wording"
SHOWING = re.compile(
    r"reporting/\w+\.py|batch/cli\.py|blender/overlay/outlines\.py|blender/review/question\.py|"
    r"blender/\w+/(panels|operators)(/\w+)?\.py"
)
"""The modules that show text, and may therefore import from `wording`."""

OLD_SENTENCES = "migration.py"
"""The module that reads files of 0.1.0, which held sentences."""

NAMES_ARE_DATA = {
    ("naming.py", "choose_free_name"): "a name is sought that is free",
    ("node_groups.py", "explain_broken_group"): "a node group has nothing else to be known by",
    ("node_groups.py", "_passes_through"): "a socket's name",
    ("unchanged.py", "_skip_converted"): "Blender's names of a socket and of a setting",
    ("compositing.py", "ensure_picture_space"): "a version mark that files hold",
    ("protocol.py", "_may_be_missing"): "a field's name",
    ("people.py", "list_references"): "a file's name",
    ("workplace.py", "_read_parts"): "a file's name",
    ("streams.py", "list_losses"): "FFmpeg's name of a pixel format",
    ("picture_files.py", "_decode_exactly"): "FFmpeg's name of a pixel format",
    ("picture_files.py", "_unpack"): "FFmpeg's name of a pixel format",
}


def is_phrase(value: object) -> bool:
    """Whether a value is text for people: words with a space between them."""
    return isinstance(value, str) and re.search(r"[A-Za-z]{2,}:? [A-Za-z]", value.strip()) is not None


def list_strings(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def list_phrase_constants(tree: ast.Module) -> Iterator[str]:
    """The names of the module's constants that are phrases or collections of phrases."""
    for statement in tree.body:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else ([statement.target] if isinstance(statement, ast.AnnAssign) and statement.value is not None else [])
        )
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        for target in targets:
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=True))
            for name, own in pairs:
                plain = isinstance(own, ast.Constant | ast.Tuple | ast.List | ast.Set | ast.BinOp | ast.JoinedStr)
                if isinstance(name, ast.Name) and own is not None and plain and any(map(is_phrase, list_strings(own))):
                    yield name.id


class Reader(ast.NodeVisitor):
    """Records the places that read text for people."""

    def __init__(self, where: str, constants: frozenset[str]) -> None:
        self._where, self._constants = where, constants
        self._wording: set[str] = set()
        self._functions = [""]
        self.faults: list[str] = []

    def _tell(self, node: ast.AST, what: str) -> None:
        self.faults.append(
            f"{self._where}:{getattr(node, 'lineno', 0)} in {self._functions[-1] or 'the module'}: "
            f"{what}: {ast.unparse(node)[:100]}"
        )

    def _has_phrase(self, node: ast.AST) -> bool:
        """Whether an operand is a phrase itself. Phrases inside a call do not count."""
        match node:
            case ast.Constant(value=value):
                return is_phrase(value)
            case ast.JoinedStr():
                return any(map(is_phrase, list_strings(node)))
            case ast.Attribute(value=ast.Name(id=owner)) if owner[:1].isupper():
                # A member of an enum, which may have the same name as a constant of another module.
                return False
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return name in self._constants
            case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
                return any(map(self._has_phrase, elements))
            case ast.Starred(value=inner):
                return self._has_phrase(inner)
            case ast.BinOp(left=left, right=right):
                return self._has_phrase(left) or self._has_phrase(right)
        return False

    def _is_worded(self, node: ast.AST) -> bool:
        match node:
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                return name in self._wording
        return False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(node.name)
        self.generic_visit(node)
        self._functions.pop()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if (node.module or "").split(".")[-1] == WORDING:
            self._wording |= {alias.asname or alias.name for alias in node.names}
            if SHOWING.fullmatch(self._where) is None:
                self._tell(node, "a module that shows nothing asks for wording")

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        read = any(isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops)
        if read and any(map(self._has_phrase, operands)) and not self._may_read():
            self._tell(node, "a phrase is compared")
        elif any(map(self._is_worded, operands)):
            self._tell(node, "wording is compared")
        elif read:
            fields = {
                one.attr
                for one in operands
                if isinstance(one, ast.Attribute) and not (isinstance(one.value, ast.Name) and one.value.id == "os")
            }
            literals = {
                text
                for one in operands
                if isinstance(one, ast.Constant | ast.Tuple | ast.List | ast.Set)
                for text in list_strings(one)
            }
            if fields & ENUM_FIELDS and literals & VALUES:
                self._tell(node, "an enum is compared with a literal")
            elif fields & TEXT_FIELDS - ENUM_FIELDS and {text for text in literals if text} and not self._may_read():
                self._tell(node, "a text is compared with a literal")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute):
            owner, method = node.func.value, node.func.attr
            is_regex = isinstance(owner, ast.Name) and owner.id == "re" and method in MATCHING
            if is_regex and any(map(self._has_phrase, node.args)):
                self._tell(node, "a phrase is searched for")
            elif (
                method in READING | MATCHING
                and not self._may_read()
                and any(map(self._has_phrase, [*([] if isinstance(owner, ast.JoinedStr) else [owner]), *node.args]))
            ):
                # An f-string may be the owner of the method: numbers are formatted and then grouped.
                self._tell(node, "a phrase is read")
            elif method in READING and self._is_worded(owner):
                self._tell(node, "wording is read")
            elif (
                isinstance(owner, ast.Attribute)
                and owner.attr in TEXT_FIELDS
                and method in (OF_NAMES if owner.attr == "name" else READING)
                and not self._may_read()
            ):
                self._tell(node, "a text is read")
        self.generic_visit(node)

    def _may_read(self) -> bool:
        name = self._where.rsplit("/", 1)[-1]
        return any((name, function) in NAMES_ARE_DATA for function in self._functions)

    def _visit_test(self, node: ast.If | ast.IfExp | ast.While) -> None:
        if self._is_worded(node.test):
            self._tell(node.test, "wording is tested")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not) and self._is_worded(node.operand):
            self._tell(node, "wording is tested")
        self.generic_visit(node)

    visit_If = visit_IfExp = visit_While = _visit_test  # noqa: N815 - the names that ast.NodeVisitor calls

    def visit_MatchValue(self, node: ast.MatchValue) -> None:
        if self._has_phrase(node.value):
            self._tell(node, "a phrase is matched")
        self.generic_visit(node)


def list_faults(source: str, where: str, constants: frozenset[str] = frozenset()) -> list[str]:
    """The places in a module's source that read text for people. `constants` are phrases of other modules."""
    tree = ast.parse(source)
    reader = Reader(where, constants | frozenset(list_phrase_constants(tree)))
    reader.visit(tree)
    return reader.faults


def list_sources() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name != OLD_SENTENCES)


def test_no_program_logic_reads_text_for_people() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in list_sources()}
    assert len(sources) > 100
    constants = frozenset(name for source in sources.values() for name in list_phrase_constants(ast.parse(source)))
    faults = [
        fault
        for path, source in sources.items()
        for fault in list_faults(source, path.relative_to(PACKAGE).as_posix(), constants)
    ]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "planted",
    [
        # Code of 0.1.0.
        'DELETED = "deleted by the editor"\ndeleted = [t for t in old.aside if t.aside == DELETED]',
        'KEPT = "kept clear: "\nchosen = track.aside.startswith((KEPT, "in the region"))',
        'KEPT = "kept clear: "\nperson = track.aside.removeprefix(KEPT)',
        'KEPT_CLEAR = "kept clear: "\nkept = track.allowed_person == core.people.KEPT_CLEAR',
        'DELETED = "deleted by the editor"\ndef is_chosen(aside):\n    return aside == DELETED',
        'names[track.name] = track.name.replace("Face", "Plate")',
        'if track.name.startswith("Ignored"):\n    pass',
        "kind = next(kind for kind in KINDS if doubt.reason.startswith(kind.reason))",
        '_NOTE, _OTHER = "Kept clear: Ann", ""\nnotes = [n for n in document.notes if not n.startswith(_NOTE)]',
        'if track.kind == "face":\n    pass',
        'if "never" != track.kind:\n    pass',
        # Code that could be written.
        'if doubt.reason in ("low_confidence", "unknown"):\n    pass',
        'if "found weakly in" in reason:\n    pass',
        'if fault.text == "muted":\n    pass',
        'if finding.sentence.endswith("?"):\n    pass',
        'import re\nif re.search("found weakly", told):\n    pass',
        'if told == f"kept clear: {name}":\n    pass',
        'match told:\n    case "not covered at all":\n        pass',
        "from .wording import describe_status",
    ],
)
def test_a_planted_reader_is_found(planted: str) -> None:
    assert list_faults(planted, "core/planted.py")


@pytest.mark.parametrize(
    "planted",
    [
        "if describe_status(track):\n    pass",
        "covered = not describe_status(track) if track else 1",
        "if describe_status(track) == other:\n    pass",
        "word = 1 if not describe_status(track) else 2",
        'if describe_status(track).startswith("x"):\n    pass',
    ],
)
def test_logic_that_reads_wording_is_found_in_modules_that_show_it(planted: str) -> None:
    start = "from ...core.wording import describe_status\n"
    assert list_faults(start + "row.label(text=describe_status(track))", "blender/review/panels.py") == []
    assert list_faults(start + planted, "blender/review/panels.py")


@pytest.mark.parametrize(
    "sound",
    [
        "if track.status is TrackStatus.DELETED:\n    pass",
        'DELETED = "deleted by the editor"\nif track.status == TrackStatus.DELETED:\n    pass',
        "if track.name == other.name or track.name in taken:\n    pass",
        'if source.kind == "movie":\n    pass',
        'if path.suffix == ".blend" and line.startswith("{"):\n    pass',
        'raise FaceBlurError(f"There is no track {name} here.")',
        "if doubt.reason in _WHOLE or doubt.reason == ReviewReason.ENDS:\n    pass",
        "notes = list(dict.fromkeys([*document.notes, *more.notes]))",
    ],
)
def test_sound_code_has_no_faults(sound: str) -> None:
    assert list_faults(sound, "core/sound.py") == []


def test_exceptions_are_still_needed() -> None:
    """Every function with an exception still reads names."""
    read: set[tuple[str, str]] = set()

    class Allowed(Reader):
        def _may_read(self) -> bool:
            name = self._where.rsplit("/", 1)[-1]
            read.update((name, function) for function in self._functions)
            return True

    for path in list_sources():
        Allowed(path.relative_to(PACKAGE).as_posix(), frozenset()).visit(ast.parse(path.read_text(encoding="utf-8")))
    assert set(NAMES_ARE_DATA) <= read
