"""One shape of error: RFC 9457, with the codes and statuses drawn in the tree."""

from __future__ import annotations

import json
import re
from types import ModuleType

import pytest

from animegan import errors
from animegan.errors import AnimeganError
from animegan_gateway import errors as gateway_errors
from animegan_service import errors as service_errors

BASES = (gateway_errors.Busy, service_errors.ServiceError)
MODULES = (errors, service_errors, gateway_errors)


def classes(module: ModuleType) -> list[type[AnimeganError]]:
    """The errors of that module, the base apart."""
    subclasses, todo = [], AnimeganError.__subclasses__()
    while todo:
        subclasses.append(todo.pop())
        todo += subclasses[-1].__subclasses__()
    return [cls for cls in subclasses if cls.__module__ == module.__name__ and cls not in BASES]


@pytest.mark.parametrize("module", MODULES)
def test_the_drawn_tree_is_the_hierarchy(module: ModuleType) -> None:
    tree = dict(re.findall(r"[├└]── (\w+) +\d* +([a-z]\w+)  ", module.__doc__ or ""))
    assert tree == {cls.__name__: cls.code for cls in classes(module)}


@pytest.mark.parametrize("cls", [AnimeganError, *(cls for module in MODULES for cls in classes(module))])
def test_the_json_is_problem_details(cls: type[AnimeganError]) -> None:
    busy = {"retry_after_s": 3} if issubclass(cls, gateway_errors.Busy) else {}
    problem = json.loads(cls("It is 5 px. 宽度", limit_px=16, **busy).json())
    assert problem["type"].startswith("urn:animegan:problem:")
    assert problem["title"]
    assert 400 <= problem["status"] < 600
    assert problem["detail"] == ("It is 5 px. 宽度 Try again in 3 s." if busy else "It is 5 px. 宽度")
    assert problem["limit_px"] == 16
    text = "".join(str(module.__doc__) for module in MODULES)
    assert f" {problem['status']} " in text or cls is AnimeganError


@pytest.mark.parametrize("cls", [AnimeganError, *classes(errors)])
def test_a_retry_helps_where_the_server_was_not_available(cls: type[AnimeganError]) -> None:
    assert cls.retryable == (cls.status == 503)
