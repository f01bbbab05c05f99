"""The documents, taken apart: their code, commands, tables and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts)
)

CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose(page: str) -> str:
    return CODE.sub("", text(page))


def code(language: str, *pages: str) -> list[str]:
    """The blocks of that language, each once."""
    return list(dict.fromkeys(body for page in pages for kind, body in CODE.findall(text(page)) if kind == language))


def commands(first: str, *pages: str) -> list[str]:
    """The lines of the shell blocks that begin with that word."""
    return [line for block in code("sh", *pages) for line in block.splitlines() if line.split()[0] == first]


def tables(page: str) -> Iterator[list[list[str]]]:
    """Each table's rows of cells, without its head."""
    for table in re.findall(r"(?:^\|.*\|\n)+", text(page), re.MULTILINE):
        yield [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()[2:]]


def table(page: str, entry: str) -> dict[str, list[str]]:
    """The table of which some row has `entry` as its first cell in code: the other cells, by the first."""
    [entry_rows] = [rows for rows in tables(page) if f"`{entry}`" in [row[0] for row in rows]]
    return {row[0].strip("`"): row[1:] for row in entry_rows}
