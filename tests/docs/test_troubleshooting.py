"""Every line that the troubleshooting page quotes is one that the programs can print."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^```text\n(.*?)\n```$", PAGE, flags=re.MULTILINE | re.DOTALL)

VARIES = "\x00"
"""Stands for what differs from case to case, in a quoted line as in a source."""
ERRORS = {"InputError", "BackendError", "Refused"}
MOST_UNSAID = 0.25
"""Share of a quoted line's letters that may stand where the source has a value of its own."""


def text_of(node: ast.expr | None) -> str:
    """The text that an expression stands for, as far as the source says it."""
    match node:
        case None:
            return ""
        case ast.Constant(value=str(text)):
            return re.sub(r"%[-.\d]*[sdg]", VARIES, text)
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left) + text_of(right)
        case _:
            return VARIES


def of_python(path: Path) -> Iterator[str]:
    """Texts of a module, and the whole line of every error that it raises."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            yield text_of(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in ERRORS:
            given = {keyword.arg: text_of(keyword.value) for keyword in node.keywords}
            what = text_of(node.args[0]) if node.args else VARIES
            where, fix = given.get("where", ""), given.get("fix", "")
            yield (where and f"{where}: ") + what + (fix and f"; {fix}")


def of_c(path: Path) -> Iterator[str]:
    """Literals of a C source, those that stand side by side as one."""
    source = path.read_text(encoding="utf-8")
    for literal in re.findall(
        r'"(?:[^"\\\n]|\\.)*"(?:\s+(?:PRI\w+\s+)?"(?:[^"\\\n]|\\.)*")*', source
    ):
        text = "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', literal))
        yield re.sub(r"%[-.\d]*(?:ll|l|z)?[sdiugx]", VARIES, text)


def of_shell(path: Path) -> Iterator[str]:
    """What a script says."""
    for text in re.findall(r'\bsay "((?:\$\([^)]*\)|[^"])*)"', path.read_text(encoding="utf-8")):
        yield re.sub(r"\$\([^)]*\)|\$\{[^}]*\}|\$\w+|\$\*", VARIES, text)


@functools.cache
def printed() -> tuple[tuple[int, str], ...]:
    """Every text of the sources that may be part of a line, behind the number of its letters."""
    found: set[str] = set()
    for folder in ("flexnfv", "envs", "policies", "hw_backend", "train"):
        for path in (ROOT / folder).rglob("*.py"):  # links are not followed
            found.update(of_python(path))
    for path in (ROOT / "hw_backend" / "dataplane").rglob("*.c"):
        found.update(of_c(path))
    for path in (ROOT / ".ci").iterdir():
        found.update(of_shell(path))
    return tuple((letters(text), " ".join(text.split())) for text in found)


def letters(text: str) -> int:
    return sum(char.isalpha() for char in text)


def could_print(source: str, line: str) -> bool:
    """Whether a text of the sources may become the line."""
    pattern = ".*".join(re.escape(part) for part in source.split(VARIES))
    # Whoever passes an error on may have put in front where it was found.
    return re.fullmatch(rf"(?:{VARIES}[:,]? ?)*(?:{pattern})", line) is not None


def source_of(quoted: str) -> str | None:
    """The text that a quoted line comes from."""
    line = re.sub(r"<[^<>]+>", VARIES, quoted)
    least, most = (1 - MOST_UNSAID) * letters(line), letters(line)
    return next(
        (text for said, text in printed() if least <= said <= most and could_print(text, line)),
        None,
    )


def test_the_page_quotes_lines() -> None:
    assert len(QUOTED) > 40
    assert len(set(QUOTED)) == len(QUOTED)


@pytest.mark.parametrize("quoted", QUOTED)
def test_a_quoted_line_is_one_that_is_printed(quoted: str) -> None:
    assert source_of(quoted), "no source prints this line (any more): mend docs/troubleshooting.md"


def test_a_line_that_nobody_prints_is_found_out() -> None:
    assert source_of("unknown <kind> '<name>'; <hint>")
    assert not source_of("unknown <kind> '<name>' in this place; <hint>")
    assert not source_of(
        "not root and only <number> big pages (run: sudo sysctl -w vm.big=<number>)"
    )
