"""TorchServe's adapter, with TorchServe's own context and metrics around it."""

from __future__ import annotations

import base64
import io
import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torch import Tensor
from ts.metrics.metric_type_enum import MetricTypes
from ts.model_loader import TsModelLoader
from ts.service import Service

from animegan.errors import BadSetting
from animegan.networks.plan import Plan
from animegan_handler import METRICS as METRIC_TYPES
from animegan_handler import AnimeganHandler, progress_writer
from harness.engine.contexts import METRICS, make_context
from harness.pictures import encoded, photo

GOOD = encoded(photo(40, 32))


@pytest.fixture(scope="module")
def handler() -> AnimeganHandler:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANIMEGAN_WARMUP_PX", "0")
        patch.setenv("ANIMEGAN_CPU_THREADS", "2")
        instance = AnimeganHandler()
        instance.initialize(make_context([]))
    return instance


def ask(
    handler: AnimeganHandler, *requests: tuple[Mapping[str, Any], dict[str, Any]]
) -> list[tuple[int, dict[str, str], bytes]]:
    context = make_context([headers for _, headers in requests])
    bodies = handler.handle([fields for fields, _ in requests], context)
    return [
        (context.get_response_status(index)[0], context.get_response_headers(index), body)
        for index, body in enumerate(bodies)
    ]


def test_torchserve_finds_the_one_class() -> None:
    entry, initialize = TsModelLoader()._get_class_entry_point(__import__("animegan_handler"))
    assert entry.__self__.__class__ is AnimeganHandler
    assert initialize.__self__ is entry.__self__


@pytest.mark.slow
def test_options_are_fields_and_headers_in_any_case(handler: AnimeganHandler) -> None:
    headers = {"X-ANIMEGAN-Max-Side": "20", "x-animegan-format": "webp", "X-Animegan-Style": "gouache", "Accept": "*/*"}
    [(status, reply, body)] = ask(handler, ({"data": GOOD, "max_side": b"20"}, headers))
    assert status == 200
    assert reply["X-Animegan-Size"] == "20x16"
    assert reply["X-Animegan-Original-Size"] == "40x32"
    assert reply["X-Animegan-Fitted"] == "true"
    assert reply["X-Animegan-Style"] == "gouache"
    assert reply["content-type"] == "image/webp"
    assert reply["Server-Timing"].startswith("decode;dur=")
    assert Image.open(io.BytesIO(body)).size == (20, 16)


def test_a_raw_body_is_a_picture(handler: AnimeganHandler) -> None:
    [(status, reply, _)] = ask(handler, ({"body": bytearray(GOOD)}, {"Content-Type": "image/jpeg"}))
    assert (status, reply["content-type"]) == (200, "image/jpeg")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({}, 400, "bad_image"),
        ({"style": b"cel"}, 400, "bad_image"),
        ({"data": b""}, 400, "bad_image"),
        ({"body": {"a": 1}}, 400, "bad_image"),
        ({"data": GOOD, "data\0": GOOD}, 400, "bad_image"),
        ({"data": GOOD, "file": GOOD}, 400, "bad_image"),
        ({"data": GOOD, "style": b"cel", "style\0": b"ink"}, 422, "bad_option"),
        ({"data": "text that TorchServe decoded"}, 415, "unsupported_image"),
        ({"data": GOOD, "size": b"3"}, 422, "bad_option"),
        ({"data": GOOD, "style": b"\xff\xfe"}, 422, "bad_option"),
        ({"data": GOOD, "style": b"../../etc/passwd"}, 404, "unknown_style"),
        ({"data": GOOD, "quality": b"1;drop"}, 422, "bad_option"),
        ({"data": GOOD, "style": b"\1" * 5_000_000}, 422, "bad_option"),
        ({"data": GOOD, "o" * 5_000_000: b"1"}, 422, "bad_option"),
        ({"data": GOOD, "MAX_SIDE": b"7"}, 422, "bad_option"),
    ],
)
def test_bad_requests(handler: AnimeganHandler, fields: dict[str, Any], status: int, code: str) -> None:
    [(outcome, headers, body)] = ask(handler, (fields, {}))
    problem = json.loads(body)
    assert (outcome, problem["status"], problem["code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert len(body) < 1000


BASE64 = base64.b64encode(GOOD).decode()
TENSOR = {"name": "image", "shape": [2], "datatype": "BYTES", "data": [BASE64, BASE64]}


def in_json(body: object, headers: dict[str, str] | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    return {"body": json.dumps(body).encode()}, {"Content-Type": "application/json", **(headers or {})}


@pytest.mark.parametrize(
    ("request_", "status", "word"),
    [
        (({"data": GOOD, "max_side": b"20"}, {"x-animegan-max-side": "16"}), 422, "twice"),
        (({"data": GOOD}, {"x-animegan-size": "16"}), 422, "x-animegan-size"),
        (({"body": b'{"data": '}, {}), 400, "no JSON"),
        (in_json({"data": "https://example.org/a.jpg"}), 400, "fetches none"),
        (in_json({"style": "cel"}), 400, "no picture"),
        (in_json({"instances": []}), 400, "instances"),
        (in_json({"instances": [{"data": BASE64}] * 9}), 413, "limit of 8"),
        (in_json({"instances": [{"data": BASE64, "image": BASE64}]}), 400, "two pictures"),
        (in_json({"instances": [{"data": BASE64}, {"data": "dGV4dA=="}]}), 415, "Picture 2 of 2"),
        (in_json({"instances": [{"data": BASE64, "stlye": "cel"}]}), 422, "'style' meant"),
        (in_json({"inputs": [1]}), 400, "none of the forms"),
        (in_json({"inputs": [{**TENSOR, "datatype": "FP32"}]}), 400, "as BYTES"),
        (({"body": b'{"inputs": [{"name": "image", "datatype": "BYTES", "parameters": {"binary_data_size": 9}}]}12345'},
          {"Inference-Header-Content-Length": "91"}), 400, "cut short"),
    ],
)  # fmt: skip
def test_requests_of_no_form(
    handler: AnimeganHandler, request_: tuple[dict[str, Any], dict[str, str]], status: int, word: str
) -> None:
    [(outcome, _, body)] = ask(handler, request_)
    problem = json.loads(body)
    assert outcome == status
    assert word in problem["detail"]
    if b'"inst' in request_[0].get("body", b"") or b'"inputs' in request_[0].get("body", b""):
        assert problem["error"] == problem["detail"]  # which KServe's clients show


def test_both_pictures_of_a_request_are_drawn(handler: AnimeganHandler) -> None:
    instances = [{"data": BASE64, "max_side": 20}, {"image": {"b64": BASE64}}]
    v2 = {"inputs": [TENSOR], "parameters": {"max_side": 20}, "id": "7"}
    answers = ask(handler, in_json({"instances": instances, "style": "cel"}), ({"data": GOOD}, {}), in_json(v2))
    assert [status for status, _, _ in answers] == [200, 200, 200]
    predictions = json.loads(answers[0][2])["predictions"]
    assert [size_of(base64.b64decode(each["image"])) for each in predictions] == [(20, 16), (40, 32)]
    answer = json.loads(answers[2][2])
    [output] = answer["outputs"]
    assert (answer["id"], output["name"], output["shape"], output["datatype"]) == ("7", "anime", [2], "BYTES")
    assert [size_of(base64.b64decode(each)) for each in output["data"]] == [(20, 16), (20, 16)]


def test_binary_tensors(handler: AnimeganHandler) -> None:
    packed = len(GOOD).to_bytes(4, "little") + GOOD
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(packed)}}
    style = {"name": "style", "shape": [1], "datatype": "BYTES", "data": ["gouache"]}
    head = json.dumps({"inputs": [tensor, style], "parameters": {"binary_data_output": True}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    [(status, reply, body)] = ask(handler, ({"body": head + packed}, headers))
    assert (status, reply["X-Animegan-Style"]) == (200, "gouache")
    length = int(reply["Inference-Header-Content-Length"])
    assert json.loads(body[:length])["outputs"][0]["parameters"]["binary_data_size"] == len(body) - length
    assert size_of(body[length + 4 :]) == (40, 32)


def test_one_picture_in_json_is_answered_as_accept_says(handler: AnimeganHandler) -> None:
    body = {"data": BASE64, "csrf_token": "1"}
    picture, as_json = ask(handler, in_json(body), in_json(body, {"Accept": "application/json"}))
    assert size_of(picture[2]) == size_of(base64.b64decode(json.loads(as_json[2])["image"])) == (40, 32)
    assert picture[1]["X-Animegan-Ignored"] == "csrf_token"


def test_torchserve_hands_over_fields_of_one_name(handler: AnimeganHandler) -> None:
    """The handler sees to that when it is initialized."""
    parameters = [{"name": "data", "value": value, "contentType": ""} for value in (b"1", b"2")]
    _, [fields], _ = Service.retrieve_data_for_inference([{"requestId": b"1", "parameters": parameters}])
    assert fields == {"data": b"1", "data\0": b"2"}


def size_of(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as picture:
        return picture.size


def test_an_operators_trouble_shows_no_path(handler: AnimeganHandler, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("ANIMEGAN_HOME", str(tmp_path))
    (tmp_path / "styles").mkdir()
    entry = json.loads((METRICS.parents[1] / "model_store" / "styles.json").read_text())[0]
    entry |= {"id": "mine", "weights": "mine.safetensors"}
    (tmp_path / "styles" / "mine.json").write_text(json.dumps(entry))
    (tmp_path / "styles" / "mine.safetensors").write_bytes(b"damaged")
    [(status, _, body)] = ask(handler, ({"data": GOOD, "style": b"mine"}, {}))
    assert (status, json.loads(body)["code"]) == (500, "internal_error")
    assert str(tmp_path) not in body.decode()


def test_a_batch_of_good_and_bad(handler: AnimeganHandler) -> None:
    answers = ask(
        handler,
        ({"data": GOOD}, {}),
        ({"data": b"text"}, {"describe": "true", "explain": "True"}),
        ({"data": encoded(photo(64, 48), "PNG"), "style": b"gouache", "format": b"png"}, {}),
        ({"data": GOOD[:200]}, {}),
    )
    assert [status for status, _, _ in answers] == [200, 415, 200, 400]
    assert Image.open(io.BytesIO(answers[2][2])).size == (64, 48)


def test_describe_does_not_hijack_the_batch(handler: AnimeganHandler) -> None:
    answers = ask(handler, ({"data": GOOD}, {"describe": "true", "explain": "true"}), ({"data": GOOD}, {}))
    assert [(status, headers["content-type"]) for status, headers, _ in answers] == [(200, "image/jpeg")] * 2


def test_metrics_are_emitted_and_callers_invent_no_series(
    handler: AnimeganHandler, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ask(handler, ({"data": GOOD, "max_side": b"20"}, {}), ({"data": GOOD, "style": b"x|#type:evil"}, {}))
    lines = [line for line in caplog.messages if line.startswith("[METRICS]animegan_")]
    assert "[METRICS]animegan_pictures_total.Count:1|#style:cel,result:ok,plan:whole|" in "".join(lines)
    assert any("#style:none,result:unknown_style,plan:none|" in line for line in lines)
    assert any(line.startswith("[METRICS]animegan_fitted_pictures_total.Count:1|") for line in lines)
    assert any("#phase:run|" in line for line in lines)
    assert not any("evil" in line for line in lines)


def test_every_metric_begins_with_the_worker(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """But those whose labels a picture makes, so that a rate misses no first time."""
    monkeypatch.setenv("ANIMEGAN_WARMUP_PX", "0")
    with caplog.at_level(logging.INFO):
        AnimeganHandler().initialize(make_context([]))
    metrics = set(re.findall(r"\[METRICS\](\w+)\.\w+:\d", "".join(caplog.messages)))
    assert METRIC_TYPES.keys() - metrics == {"animegan_pictures_total", "animegan_phase_seconds"}


@pytest.mark.slow
def test_memory_that_ran_out_is_counted(
    handler: AnimeganHandler, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, plans = handler.pipeline.stylizer("cel")._drawing.network, []
    really = network.draw

    def first_fails(pictures: Tensor, plan: Plan) -> Tensor:
        plans.append(plan)
        if len(plans) == 1:
            raise MemoryError
        return really(pictures, plan)

    monkeypatch.setattr(network, "draw", first_fails)
    large = encoded(photo(420, 300))
    with caplog.at_level(logging.INFO):
        [(status, reply, _)] = ask(handler, ({"data": large}, {}))
    assert (status, reply["X-Animegan-Plan"]) == (200, "bands")
    assert "animegan_out_of_memory_recoveries_total.Count:1|" in caplog.text
    assert "result:ok,plan:bands|" in caplog.text
    peaks = re.findall(r"animegan_peak_memory_bytes\.Bytes:(\d+)\|#memory:host,device:cpu\|", caplog.text)
    assert all(int(peak) > 2**27 for peak in peaks)
    assert len(peaks) == 1


def test_a_metric_that_is_not_declared_ends_the_worker_at_the_start() -> None:
    context = make_context([])
    del context.metrics.cache[MetricTypes.GAUGE]["animegan_batch_pictures"]
    with pytest.raises(BadSetting, match="no gauge animegan_batch_pictures"):
        AnimeganHandler().initialize(context)


def test_a_bad_setting_ends_the_worker_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANIMEGAN_PRECISION", "int4")
    with pytest.raises(Exception, match="ANIMEGAN_PRECISION='int4'"):
        AnimeganHandler().initialize(make_context([]))


def request_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines that the handler itself logged."""
    return [record.getMessage() for record in caplog.records if record.name == "animegan_handler"]


def test_a_request_id_comes_back_and_is_logged(handler: AnimeganHandler, caplog: pytest.LogCaptureFixture) -> None:
    requests = [({"data": GOOD}, {"x-animegan-request-id": "abc-1"}), ({"data": b"no"}, {"X-Animegan-Request-Id": "2"})]
    with caplog.at_level(logging.INFO):
        answers = ask(handler, *requests)
    assert [headers["X-Animegan-Request-Id"] for _, headers, _ in answers] == ["abc-1", "2"]
    assert request_lines(caplog) == ["request abc-1: ok", "request 2: unsupported_image"]


@pytest.mark.parametrize("value", ["", "a b", "x" * 65, "a\nb", "ü"])
def test_what_is_no_request_id_goes_nowhere(
    handler: AnimeganHandler, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    with caplog.at_level(logging.INFO):
        [(status, headers, _)] = ask(handler, ({"data": GOOD}, {"X-Animegan-Request-Id": value}))
    assert status == 200
    assert "X-Animegan-Request-Id" not in headers
    assert not request_lines(caplog)


def test_how_much_is_drawn_stands_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "shared" / "attempt.1.progress"
    tell = progress_writer(file, place=1, count=2)
    tell(0.9)  # at once, so that it is not written
    assert not file.exists()
    monkeypatch.setattr("animegan_handler.PROGRESS_EVERY_S", 0.0)
    tell = progress_writer(file, place=1, count=2)
    tell(0.5)
    assert file.read_text() == "0.7500"
    assert [entry.name for entry in file.parent.iterdir()] == [file.name]
