"""A server with little memory to draw in: smaller bands, the same pictures, and refusals that name a way out."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import requests
from PIL import Image

from animegan import Stylizer
from harness.pictures import encoded, photo
from harness.servers import QUICK, Server, command, running_server

pytestmark = pytest.mark.server

MEMORY_MB = 90
HEAP_MB = 256
LITTLE = {
    "ANIMEGAN_MEMORY_MB": str(MEMORY_MB),
    "ANIMEGAN_JAVA_HEAP_MB": str(HEAP_MB),
    "ANIMEGAN_PRECISION": "fp32",
}  # bf16 takes half, where a CPU has it


@pytest.fixture(scope="module")
def tight() -> Iterator[Server]:
    with running_server(environment={**QUICK, **LITTLE}) as server:
        yield server


def predict(server: Server, style: str, data: bytes, max_side: int) -> requests.Response:
    options = {"style": style, "max_side": str(max_side), "format": "png"}
    return requests.post(f"{server.inference}/predictions/animegan", files={"data": data}, data=options, timeout=300)


@pytest.mark.parametrize(
    ("style", "sides", "plans"),
    [("classic", (100, 250, 400), {"bands"}), ("cel", (100, 400, 1200), {"whole", "bands"})],
)
def test_pictures_of_all_sizes_are_drawn_as_with_all_the_memory(
    style: str, sides: tuple[int, ...], plans: set[str], tight: Server
) -> None:
    stylizer, drawn_in = Stylizer(style, max_side=1200, precision="fp32"), set()
    for side in sides:
        answer = predict(tight, style, encoded(photo(side, side // 2), "PNG"), side)
        assert answer.ok, answer.text
        drawn_in.add(answer.headers["X-Animegan-Plan"])
        with Image.open(io.BytesIO(answer.content)) as picture:
            expected = np.asarray(stylizer.draw([photo(side, side // 2)])[0], dtype=int)
            difference = np.abs(np.asarray(picture, dtype=int) - expected)
        assert difference.mean() < 1
    assert drawn_in == plans


def test_java_has_the_heap_that_is_set(tight: Server) -> None:
    java = tight.java()
    assert java
    assert f"-Xmx{HEAP_MB}m" in command(java)


@pytest.mark.parametrize(("style", "plan"), [("classic", "recompute"), ("cel", "bands")])
def test_the_side_that_an_error_names_fits(style: str, plan: str, tight: Server) -> None:
    data = encoded(photo(1800, 1800))
    refusal = predict(tight, style, data, 1800)
    assert refusal.status_code == 413
    problem = refusal.json()
    assert problem["code"] == "picture_too_large"
    assert (problem["width_px"], problem["height_px"], problem["budget_mb"]) == (1800, 1800, MEMORY_MB)
    assert problem["need_mb"] > MEMORY_MB
    answer = predict(tight, style, data, problem["fits_side_px"])
    assert answer.ok, answer.text
    assert answer.headers["X-Animegan-Plan"] == plan
    assert answer.headers["X-Animegan-Fitted"] == "true"
