"""TorchServe's mortal inference and management APIs hold through this server, as its documentation has them."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import requests
from PIL import Image

from animegan import __version__
from harness.pictures import encoded, photo
from harness.servers import Server

pytestmark = pytest.mark.server

PICTURE = encoded(photo(64, 48))


def open_picture(answer: requests.Response) -> Image.Image:
    assert answer.status_code == 200, answer.text
    return Image.open(io.BytesIO(answer.content)).convert("RGB")


def describe(server: Server, path: str = "models/animegan") -> dict[str, Any]:
    answer = requests.get(f"{server.management}/{path}", timeout=30)
    assert answer.status_code == 200
    (model,) = answer.json()
    return dict(model)


def test_ping(mortal: Server) -> None:
    answer = requests.get(f"{mortal.inference}/ping", timeout=30)
    assert (answer.status_code, answer.json()) == (200, {"status": "Healthy"})


def test_the_apis_describe_themselves(mortal: Server) -> None:
    for api, path in ((mortal.inference, "/predictions/{model_name}"), (mortal.management, "/models/{model_name}")):
        answer = requests.options(api, timeout=30)
        assert answer.status_code == 200
        assert path in answer.json()["paths"]


@pytest.mark.parametrize("path", ["predictions/animegan", f"predictions/animegan/{__version__}"])
def test_predictions_by_name_and_by_version(mortal: Server, path: str) -> None:
    post = requests.post(f"{mortal.inference}/{path}", files={"data": PICTURE}, timeout=120)
    assert open_picture(post).size == (64, 48)
    raw = {"Content-Type": "image/jpeg"}
    put = requests.put(f"{mortal.inference}/{path}", data=PICTURE, headers=raw, timeout=120)
    assert open_picture(put).tobytes() == open_picture(post).tobytes()


@pytest.mark.parametrize("path", ["predictions/other", "predictions/animegan/9.9"])
def test_a_model_and_a_version_that_are_not_there(mortal: Server, path: str) -> None:
    answer = requests.post(f"{mortal.inference}/{path}", files={"data": PICTURE}, timeout=30)
    assert answer.status_code == 404
    assert answer.json()["type"] in ("ModelNotFoundException", "ModelVersionNotFoundException")


def test_models_are_listed(mortal: Server) -> None:
    models = requests.get(f"{mortal.management}/models", timeout=30).json()
    assert models == {"models": [{"modelName": "animegan", "modelUrl": "animegan.mar"}]}


@pytest.mark.parametrize("path", ["models/animegan", f"models/animegan/{__version__}", "models/animegan/all"])
def test_the_model_is_described(mortal: Server, path: str) -> None:
    model = describe(mortal, path)
    assert (model["modelName"], model["modelVersion"]) == ("animegan", __version__)
    (worker,) = model["workers"]
    assert worker["status"] == "READY"
    assert worker["pid"] > 0
    assert model["jobQueueStatus"] == {"remainingCapacity": 32, "pendingRequests": 0}


def test_a_model_that_is_not_there_is_not_described(mortal: Server) -> None:
    answer = requests.get(f"{mortal.management}/models/other", timeout=30)
    assert (answer.status_code, answer.json()["type"]) == (404, "ModelNotFoundException")


def test_it_is_scaled_by_name_and_by_version(mortal: Server) -> None:
    for workers, path in ((2, f"models/animegan/{__version__}"), (1, "models/animegan")):
        query: dict[str, str | int] = {"min_worker": workers, "max_worker": workers, "synchronous": "true"}
        answer = requests.put(f"{mortal.management}/{path}", params=query, timeout=120)
        assert answer.status_code == 200
        assert answer.json()["status"].startswith(f"Workers scaled to {workers} for model: animegan")
        assert len(describe(mortal)["workers"]) == workers
        assert requests.post(f"{mortal.inference}/predictions/animegan", files={"data": PICTURE}, timeout=120).ok


def test_the_default_version_is_set(mortal: Server) -> None:
    answer = requests.put(f"{mortal.management}/models/animegan/{__version__}/set-default", timeout=30)
    assert answer.status_code == 200
    missing = requests.put(f"{mortal.management}/models/animegan/9.9/set-default", timeout=30)
    assert missing.status_code == 404


def test_metrics_are_in_prometheus_form(mortal: Server) -> None:
    text = requests.get(f"{mortal.metrics}/metrics", timeout=30).text
    assert re.search(r'^ts_inference_requests_total\{model_name="animegan",.*\} [1-9]', text, re.MULTILINE)
    one = requests.get(f"{mortal.metrics}/metrics", params={"name[]": "ts_inference_requests_total"}, timeout=30).text
    assert {line.split("{")[0] for line in one.splitlines() if not line.startswith("#")} == {
        "ts_inference_requests_total"
    }
