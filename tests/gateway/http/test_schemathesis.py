"""The API is what its OpenAPI document says: Schemathesis against a running gateway finds nothing else."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import requests

from animegan.errors import AnimeganError
from animegan_gateway import errors
from animegan_gateway.http.answers.views import JobView, StylesView
from animegan_service import errors as service_errors
from harness.gateways import Gateway, running_gateway
from harness.servers import ROOT, Server

OWN = (errors.__name__, service_errors.__name__)
CONFIGURATION = """
max-stream-events = 1
request-timeout = 90

[checks.use_after_free]
enabled = false  # DELETE cancels, and a cancelled job can be read until it expires

[checks.positive_data_acceptance]
# 422: the largest max_side is a setting, and an Idempotency-Key belongs to one body
expected-statuses = ["2xx", 401, 403, 404, 409, 410, 422]
"""


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running_gateway(tmp_path_factory.mktemp("gateway"), None) as running:
        yield running


@pytest.fixture(scope="module")
def document(quiet: Gateway) -> dict[str, Any]:
    return dict(requests.get(f"{quiet.url}/openapi.json", timeout=30).json())


def operations(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.server
def test_schemathesis_finds_nothing_undocumented(server: Server, tmp_path: Path) -> None:
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    with running_gateway(tmp_path / "gateway", server, rate_per_minute=0) as gateway:
        process = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", f"--config-file={configuration}"),
                *("run", f"{gateway.url}/openapi.json", "--max-examples=5", "--seed=1", "--continue-on-failure"),
            ],
            env={
                **os.environ,
                "NO_COLOR": "1",
                "PYTHONPATH": os.pathsep.join(sys.path),
                "SCHEMATHESIS_HOOKS": "harness.browsing.schemathesis_hooks",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert '"level": "error"' not in gateway.log
    assert process.returncode == 0, process.stdout + process.stderr
    assert "Operations:       15 selected / 15 total" in process.stdout


@pytest.mark.slow
def test_the_document_is_openapi_3_1_with_every_address(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert operations(document).keys() == {
        *("POST /v1/jobs", "POST /v1/stylize", "PUT /v1/stylize"),
        *("GET /v1/jobs/{job_id}", "DELETE /v1/jobs/{job_id}"),
        *("GET /v1/jobs/{job_id}/events", "GET /v1/jobs/{job_id}/result"),
        *("GET /v1/queue", "GET /v1/styles", "GET /v1/styles/{style_id}/thumbnail"),
        *("GET /v1/session", "POST /v1/session", "DELETE /v1/session", "GET /healthz", "GET /readyz"),
    }
    for operation in operations(document).values():
        assert operation["summary"]


def subclasses(error: type[AnimeganError]) -> Iterator[type[AnimeganError]]:
    yield error
    yield from chain.from_iterable(map(subclasses, error.__subclasses__()))


def test_every_error_is_documented_with_an_example(document: dict[str, Any]) -> None:
    examples: dict[str, dict[str, Any]] = {}
    for operation in operations(document).values():
        for status, response in operation["responses"].items():
            for name, example in (
                response.get("content", {}).get("application/problem+json", {}).get("examples", {}).items()
            ):
                assert example["value"]["status"] == int(status)
                assert example["value"]["code"] == name
                assert f"`{name}`" in response["description"]
                examples[name] = example["value"]
    own = {error.code: error for error in subclasses(AnimeganError) if error.__module__ in OWN}
    of_any_address = {"not_found", "method_not_allowed", "too_many_connections"}
    assert own.keys() - examples.keys() - {"internal_error"} == of_any_address
    assert all(f"`{code}`" in document["info"]["description"] for code in of_any_address)
    assert own.keys() <= {*document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]}
    assert examples["queue_full"]["retry_after_s"] == 4
    assert "Retry-After" in operations(document)["POST /v1/jobs"]["responses"]["429"]["headers"]


def codes_of(folder: Path) -> set[str]:
    """The codes of the errors that the code of a folder makes."""
    by_name = {error.__name__: error.code for error in subclasses(AnimeganError)}
    calls = (
        node.func.id
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    )
    return {by_name[name] for name in calls if name in by_name}


@pytest.mark.parametrize("folder", ["handler", "gateway/animegan_gateway/drawing"])
@pytest.mark.parametrize("name", ["POST /v1/stylize", "PUT /v1/stylize", "GET /v1/jobs/{job_id}/result"])
def test_what_drawing_can_end_with_is_documented_where_it_is_answered(
    document: dict[str, Any], name: str, folder: str
) -> None:
    codes = codes_of(ROOT / folder)
    assert codes & {"picture_too_slow", "drawing_failed"}
    responses = operations(document)[name]["responses"].values()
    problems = [response.get("content", {}).get("application/problem+json", {}) for response in responses]
    assert codes <= {code for problem in problems for code in problem.get("examples", ())}


def test_no_error_is_anything_but_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        for status, response in operation["responses"].items():
            if status >= "400" and name != "GET /readyz":
                assert [*response["content"]] == ["application/problem+json"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


@pytest.mark.parametrize("view", [JobView, StylesView])
def test_an_answer_has_an_example_that_is_one(document: dict[str, Any], view: type[JobView | StylesView]) -> None:
    examples = document["components"]["schemas"][view.__name__]["examples"]
    assert examples
    for example in examples:
        assert view.model_validate(example).model_dump(mode="json") == example
