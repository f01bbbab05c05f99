"""What TorchServe's callers send: form fields and raw bodies, JSON as TorchServe's and as KServe's clients write it.

| body | answer |
| --- | --- |
| a form, a raw picture | the picture |
| `{"data": Base64, "style": "cel"}` | the picture; as the first prediction below, where Accept asks for JSON alone |
| KServe's V1, `{"instances": [{"data": Base64}]}` | `{"predictions": [{"image": Base64, "content_type": …}]}` |
| KServe's V2, `{"inputs": [{"name": "image", "datatype": "BYTES", …}]}` | `{"outputs": [{"name": "anime", …}]}` |

V2 is the Open Inference Protocol (https://github.com/kserve/open-inference-protocol), with its extension for binary
data. Options are members beside the picture, V2's `parameters`, or inputs of their names.
"""

from __future__ import annotations

import base64
import json
import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ts.service import Service

from animegan.errors import AnimeganError, BadImage, BadOption, TooLarge
from animegan.options import (
    MOST_CHARACTERS,
    NAMES,
    contradiction,
    is_picture_name,
    merge,
    options_in_headers,
    prefers_json,
    sift,
)
from animegan.picture.encoded import decode_text
from animegan.pipeline.items import Item

JSON = "application/json"
BINARY = "application/octet-stream"
HEADER_LENGTH = "Inference-Header-Content-Length"  # V2's binary data follow so many bytes of JSON
MOST_PICTURES = 8  # of one request: a worker that is silent for long is ended, and it answers when all are drawn
MODEL, INPUT, OUTPUT = "animegan", "image", "anime"
_AGAIN = "\0"  # stands in the name of a field that came before


@dataclass(frozen=True)
class Photo:
    """A picture's file, and its options."""

    data: bytes
    options: Mapping[str, str]


@dataclass(frozen=True)
class Drawing:
    """A drawn picture's file."""

    data: bytes
    content_type: str


@dataclass(frozen=True)
class Answer:
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


class Form(ABC):
    """The form of a request's answer."""

    @abstractmethod
    def answer(self, drawings: Sequence[Drawing]) -> Answer: ...

    def refuse(self, error: AnimeganError) -> AnimeganError:
        """Return the error as callers of this form look for it."""
        return error


@dataclass(frozen=True)
class Request:
    """The photos of a request, the form of its answer, and the names of fields that nothing is made of."""

    photos: Sequence[Photo]
    form: Form
    ignored: Sequence[str] = ()


class File(Form):
    def answer(self, drawings: Sequence[Drawing]) -> Answer:
        [drawing] = drawings
        return Answer(drawing.data, drawing.content_type)


class JSONFile(Form):
    def answer(self, drawings: Sequence[Drawing]) -> Answer:
        [drawing] = drawings
        return Answer(json.dumps(_prediction(drawing)).encode(), JSON)


class KServe(Form):
    def refuse(self, error: AnimeganError) -> AnimeganError:
        """KServe's clients show the member `error`."""
        return type(error)(error.detail, **{**error.members, "error": error.detail})


class V1(KServe):
    def answer(self, drawings: Sequence[Drawing]) -> Answer:
        return Answer(json.dumps({"predictions": [*map(_prediction, drawings)]}).encode(), JSON)


@dataclass(frozen=True)
class V2(KServe):
    id: str
    version: str
    binary: bool

    def answer(self, drawings: Sequence[Drawing]) -> Answer:
        output: dict[str, Any] = {"name": OUTPUT, "shape": [len(drawings)], "datatype": "BYTES"}
        parameters: dict[str, Any] = {"content_type": ", ".join(drawing.content_type for drawing in drawings)}
        packed = b""
        if self.binary:
            packed = b"".join(struct.pack("<I", len(drawing.data)) + drawing.data for drawing in drawings)
            parameters["binary_data_size"] = len(packed)
        else:
            output["data"] = [base64.b64encode(drawing.data).decode() for drawing in drawings]
        body = {"model_name": MODEL, "model_version": self.version, **({"id": self.id} if self.id else {})}
        head = json.dumps({**body, "outputs": [{**output, "parameters": parameters}]}).encode()
        return Answer(head + packed, BINARY, {HEADER_LENGTH: str(len(head))}) if self.binary else Answer(head, JSON)


@dataclass
class Ask:
    """A request of the batch: how it is answered, and its pictures on their way through."""

    headers: Mapping[str, Any]
    form: Form = field(default_factory=File)
    items: list[Item] = field(default_factory=list)
    ignored: Sequence[str] = ()

    @property
    def error(self) -> AnimeganError | None:
        """Its first picture's that has one: either all of a request's pictures are drawn, or it is refused."""
        return next((item.error for item in self.items if item.error), None)


def keep_repeated_fields() -> None:
    """Have TorchServe hand over every field of a form: of several with one name it keeps the last alone."""
    original = Service.retrieve_data_for_inference

    def retrieve(batch: Any) -> Any:
        for request in batch or ():
            names: Counter[str] = Counter()
            for parameter in request["parameters"]:
                name = parameter["name"]
                names[name] += 1
                parameter["name"] = name + _AGAIN * (names[name] - 1)
        return original(batch)

    Service.retrieve_data_for_inference = staticmethod(retrieve)


def read(fields: Mapping[str, Any], headers: Mapping[str, Any], version: str) -> Request:
    """Return what a request asks for. Raise `BadImage`, `BadOption` or `TooLarge`; `version` is the model's."""
    shared = options_in_headers((name, str(value)) for name, value in headers.items())
    pictures = [name for name in fields if is_picture_name(name.rstrip(_AGAIN))]
    if len(pictures) > 1:
        names = " and ".join(repr(name.rstrip(_AGAIN)[:MOST_CHARACTERS]) for name in pictures[:2])
        raise BadImage(
            f"There are {len(pictures)} pictures, in {names}. Send one, or up to {MOST_PICTURES} as instances in JSON."
        )
    options, ignored = sift(_texts({name: fields[name] for name in fields if name not in pictures}))
    shared = merge(shared, options)
    if not pictures:
        raise BadImage("The request holds no picture. Send one as the multipart field 'data', or as the body.")
    lower = {name.lower(): str(value) for name, value in headers.items()}
    content = fields[pictures[0]]
    if pictures[0] == "body" and (parsed := _json(content, lower)) is not None:
        try:
            request = _from_json(*parsed, lower, version)
        except (AttributeError, TypeError, ValueError) as error:  # a list where an object belongs, and the like
            raise BadImage("The JSON has none of the forms that are read here: see docs/http.md.") from error
        photos = [Photo(photo.data, merge(shared, photo.options)) for photo in request.photos]
        return Request(photos, request.form, [*ignored, *request.ignored])
    data = bytes(content) if isinstance(content, bytes | bytearray) else str(content).encode()
    return Request([Photo(data, shared)], _single_form(lower), ignored)


def refuse(fields: Mapping[str, Any], error: AnimeganError) -> AnimeganError:
    """Return the error of a request that can't be read, in the form that its caller understands."""
    body = fields.get("body", b"")
    start = bytes(body[:4096]) if isinstance(body, bytes | bytearray) else json.dumps(body)[:4096].encode()
    kserve = start.lstrip()[:1] == b"{" and (b'"inputs"' in start or b'"instances"' in start)
    return V1().refuse(error) if kserve else error


def _texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        excerpt = name.rstrip(_AGAIN)[:MOST_CHARACTERS]
        try:
            text = value.decode() if isinstance(value, bytes | bytearray) else str(value)
        except UnicodeDecodeError:
            raise BadOption(f"The option {excerpt!r} is not UTF-8 text. Send it as such.", option=excerpt) from None
        if name.endswith(_AGAIN):
            raise contradiction(excerpt, str(fields[name.rstrip(_AGAIN)]), text)
        yield name, text


def _json(content: Any, headers: Mapping[str, str]) -> tuple[Any, bytes] | None:
    """Return a body's JSON and the binary data behind it; None for a body that is no JSON object."""
    if isinstance(content, dict):
        return content, b""
    if not isinstance(content, bytes | bytearray) or content[:64].lstrip()[:1] != b"{":
        return None
    text = headers.get(HEADER_LENGTH.lower(), "")
    length = int(text) if text.isdecimal() else len(content)
    try:
        return json.loads(content[:length]), bytes(content[length:])
    except (ValueError, RecursionError) as error:
        raise BadImage(f"The body is no JSON: {str(error)[:MOST_CHARACTERS]}. Send it again.") from None


def _from_json(body: Mapping[str, Any], binary: bytes, headers: Mapping[str, str], version: str) -> Request:
    if "instances" in body:
        return _from_v1(body)
    if "inputs" in body:
        return _from_v2(body, binary, version)
    photo, ignored = _photo(body, "")
    return Request([photo], _single_form(headers), ignored)


def _from_v1(body: Mapping[str, Any]) -> Request:
    instances = _few(body["instances"], "instances")
    rest = {name: value for name, value in body.items() if name not in ("instances", "signature_name")}
    shared, ignored = sift(_members(rest))
    photos = []
    for at, instance in enumerate(instances):
        photo, others = _photo(instance if isinstance(instance, dict) else {INPUT: instance}, f"instances[{at}].")
        photos.append(Photo(photo.data, merge(shared, photo.options)))
        ignored += others
    return Request(photos, V1(), ignored)


def _photo(members: Mapping[str, Any], where: str) -> tuple[Photo, list[str]]:
    """Return the photo of a JSON object, and the names of what is ignored there."""
    names = [name for name in members if is_picture_name(name) or name in ("b64", "bytes")]
    if not names:
        there = where.removesuffix(".") or "The JSON"
        raise BadImage(f"{there} holds no picture. Send one in Base64, or as a data URL, as the member 'data'.")
    if len(names) > 1:
        raise BadImage(f"{where}{names[0]} and {where}{names[1]} are two pictures. Send each as an instance.")
    value = members[names[0]]
    if isinstance(value, dict) and value.keys() == {"b64"}:  # as TensorFlow Serving writes bytes
        value = value["b64"]
    options, ignored = sift(_members({name: value for name, value in members.items() if name != names[0]}))
    return Photo(b"".join(decode_text(where + names[0], value)), options), ignored


def _from_v2(body: Mapping[str, Any], binary: bytes, version: str) -> Request:
    request_parameters = body.get("parameters") or {}
    wants_binary = _is_true(request_parameters.get("binary_data_output"))
    for output in body.get("outputs") or ():
        wants_binary = wants_binary or _is_true((output.get("parameters") or {}).get("binary_data"))
    shared, ignored = sift(
        _members({name: value for name, value in request_parameters.items() if not name.startswith("binary_")})
    )
    pictures: list[bytes] = []
    for tensor in _few(body["inputs"], "inputs"):
        name, parameters = str(tensor.get("name", "")), tensor.get("parameters") or {}
        if size := parameters.get("binary_data_size"):
            packed, binary = binary[: int(size)], binary[int(size) :]
            elements = [*_unpack(name, packed)]
        else:
            elements = tensor.get("data") or []
        if name.lower() in NAMES:
            texts = [_element_text(name, element) for element in elements]
            if len(set(texts)) > 1:
                raise contradiction(name.lower(), texts[0], texts[1])
            shared = merge(shared, {name.lower(): text for text in texts})
        elif tensor.get("datatype") != "BYTES":
            raise BadImage(
                f"The input {name[:MOST_CHARACTERS]!r} has the datatype {str(tensor.get('datatype'))[:20]!r}. Send the "
                "picture's file as BYTES, of the shape [1]."
            )
        else:
            pictures += [
                element if isinstance(element, bytes) else b"".join(decode_text(name, element)) for element in elements
            ]
    if not pictures:
        raise BadImage(f"The inputs hold no picture. Send one as BYTES in the input {INPUT!r}.")
    photos = [Photo(data, shared) for data in _few(pictures, "inputs")]
    return Request(photos, V2(str(body.get("id") or "")[:MOST_CHARACTERS], version, wants_binary), ignored)


def _few(values: Any, name: str) -> Sequence[Any]:
    if not isinstance(values, list) or not values:
        raise BadImage(f"{name!r} is no list with something in it. Send a picture there.")
    if len(values) > MOST_PICTURES:
        raise TooLarge(
            f"{name!r} has {len(values)} pictures, over the limit of {MOST_PICTURES} in a request. Send several.",
            limit_pictures=MOST_PICTURES,
        )
    return values


def _unpack(name: str, packed: bytes) -> Iterator[bytes]:
    """Yield the elements of a BYTES tensor: each behind its length, little-endian in four bytes."""
    at = 0
    while at < len(packed):
        length = int.from_bytes(packed[at : at + 4], "little")
        at += 4 + length
        if at > len(packed):
            raise BadImage(f"The binary data of the input {name[:MOST_CHARACTERS]!r} are cut short. Send them again.")
        yield packed[at - length : at]


def _members(members: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield JSON members as fields. Raise `BadOption` for an option that is neither text nor a number."""
    for name, value in members.items():
        if value is not None:
            yield name, _element_text(name, value)


def _element_text(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float):
        return f"{value:.6f}".rstrip("0").rstrip(".")
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    if name.lower().replace("-", "_") in NAMES:
        excerpt = name[:MOST_CHARACTERS]
        raise BadOption(f"The option {excerpt!r} is neither text nor a number. Send it as one.", option=excerpt)
    return ""


def _is_true(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _single_form(headers: Mapping[str, str]) -> Form:
    return JSONFile() if prefers_json(headers.get("accept", "")) else File()


def _prediction(drawing: Drawing) -> dict[str, str]:
    return {"image": base64.b64encode(drawing.data).decode(), "content_type": drawing.content_type}
