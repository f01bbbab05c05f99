"""One shape of error: RFC 9457, with the codes and statuses drawn in the tree."""

from __future__ import annotations

import json
import re

import pytest

from animegan import errors
from animegan.errors import AnimeganError


def classes() -> list[type[AnimeganError]]:
    found, todo = [], [AnimeganError]
    while todo:
        found.append(todo.pop())
        todo += found[-1].__subclasses__()
    return found


def test_the_drawn_tree_is_the_hierarchy() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+) +\d* +(\w+)  ", errors.__doc__ or ""))
    assert drawn == {cls.__name__: cls.code for cls in classes() if cls is not AnimeganError}


@pytest.mark.parametrize("cls", classes())
def test_the_json_is_problem_details(cls: type[AnimeganError]) -> None:
    problem = json.loads(cls("It is 5 px. 宽度", limit_px=16).json())
    assert problem["type"].startswith("urn:animegan:problem:")
    assert problem["title"]
    assert 400 <= problem["status"] < 600
    assert problem["detail"] == "It is 5 px. 宽度"
    assert problem["limit_px"] == 16
    assert problem["retryable"] == (cls.status == 503)
    assert (f" {problem['status']} " in (errors.__doc__ or "")) or cls is AnimeganError
