"""TorchServe's own door for those who send JSON: TorchServe's users and KServe's, by both of its protocols."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
import requests
from PIL import Image

from animegan import __version__
from harness.pictures import encoded, photo
from harness.servers import Server

pytestmark = pytest.mark.server

PICTURE = encoded(photo(64, 48))
BASE64 = base64.b64encode(PICTURE).decode()


def post(server: Server, path: str, body: Any, **headers: str) -> requests.Response:
    return requests.post(f"{server.inference}/{path}", json=body, headers=headers, timeout=120)


def size(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.size


def test_a_picture_in_json(server: Server) -> None:
    answer = post(server, "predictions/animegan", {"data": BASE64, "style": "gouache", "max_side": 32})
    assert answer.ok, answer.text
    assert (size(answer.content), answer.headers["X-Animegan-Style"]) == ((32, 24), "gouache")


@pytest.mark.parametrize("path", ["v1/models/animegan:predict", "predictions/animegan"])
def test_kserves_first_protocol_draws_every_instance(server: Server, path: str) -> None:
    answer = post(server, path, {"instances": [{"data": BASE64}, {"data": BASE64, "max_side": 32}]})
    assert answer.ok, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    sizes = [size(base64.b64decode(each["image"])) for each in answer.json()["predictions"]]
    assert sizes == [(64, 48), (32, 24)]
    failed = post(server, path, {"instances": [{"data": BASE64}, {"data": "AAAA"}]})
    assert (failed.status_code, failed.json()["picture"]) == (415, 2)
    assert failed.json()["error"].startswith("Picture 2 of 2: ")


def test_kserves_second_protocol_with_readiness_and_metadata(server: Server) -> None:
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [BASE64]}
    answer = post(server, "v2/models/animegan/infer", {"id": "7", "inputs": [tensor], "parameters": {"max_side": 32}})
    assert answer.ok, answer.text
    body = answer.json()
    assert (body["id"], body["model_name"], body["model_version"]) == ("7", "animegan", __version__)
    [output] = body["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("anime", "BYTES", [1])
    assert size(base64.b64decode(output["data"][0])) == (32, 24)
    for path, member in (("v2/health/ready", "ready"), ("v2/health/live", "live"), ("v2", "name")):
        assert requests.get(f"{server.inference}/{path}", timeout=30).json()[member]


def test_kserves_binary_tensors(server: Server) -> None:
    packed = len(PICTURE).to_bytes(4, "little") + PICTURE
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(packed)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))}
    url = f"{server.inference}/v2/models/animegan/infer"
    answer = requests.post(url, data=head + packed, headers=headers, timeout=60)
    assert answer.ok, answer.text
    assert size(answer.content[int(answer.headers["Inference-Header-Content-Length"]) + 4 :]) == (64, 48)


def test_the_query_is_honoured_where_torchserve_hands_it_over(server: Server) -> None:
    url = f"{server.inference}/models/animegan/invoke?style=gouache"
    answer = requests.post(url, data=PICTURE, headers={"Content-Type": "image/jpeg"}, timeout=60)
    assert answer.headers["X-Animegan-Style"] == "gouache"


def test_two_pictures_in_a_form_are_refused(server: Server) -> None:
    files = [("data", ("a.jpg", PICTURE)), ("data", ("b.jpg", PICTURE))]
    answer = requests.post(f"{server.inference}/predictions/animegan", files=files, timeout=60)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_image")
    assert "2 pictures" in answer.json()["detail"]


def test_a_body_without_its_type_is_an_error_that_the_log_does_not_quote(server: Server) -> None:
    secret = b"\xff\xd8\xff=%zz a secret photo and its end"
    url = f"{server.inference}/predictions/animegan"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert requests.post(url, data=secret, headers=headers, timeout=60).status_code == 500
    log = server.log_text()
    assert "a secret photo" not in log
    assert "its end" not in log
    assert "A body that is no form." in log
