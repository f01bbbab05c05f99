"""The notebook runs from its first cell to its last, against a real server, and what cells show can be shown."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from PIL import Image

from docs.pages import ROOT
from harness.pictures import encoded, photo
from harness.servers import Server

NOTEBOOK = json.loads((ROOT / "examples" / "quickstart.ipynb").read_text(encoding="utf-8"))


@pytest.mark.server
def test_the_notebook_runs(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANIMEGAN_URL", server.page)
    monkeypatch.setenv("ANIMEGAN_PHOTOS", str(tmp_path))
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(encoded(photo(96, 64)))
    names: dict[str, object] = {}
    outputs = []
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body[-1]
            if isinstance(last, ast.Expr):
                tree.body.pop()
            exec(compile(tree, "<a cell>", "exec"), names)
            if isinstance(last, ast.Expr):
                outputs.append(eval(compile(ast.Expression(last.value), "<a cell's value>", "eval"), names))
    assert repr(outputs[0]).startswith("Stylizer('gouache'")
    assert isinstance(outputs[1], Image.Image)
    assert any("<img " in value._repr_html_() for value in outputs if hasattr(value, "_repr_html_"))
    with Image.open(tmp_path / "anime.jpg") as anime:
        assert anime.size == (96, 64)


def test_it_is_kept_without_what_a_run_leaves() -> None:
    for cell in NOTEBOOK["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
