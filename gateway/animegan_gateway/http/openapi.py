"""Requests, responses and errors of the API, as its OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, get_args

from fastapi import FastAPI

from animegan.errors import (
    BadImage,
    BadLook,
    BadOption,
    BadSetting,
    BadWeights,
    ClipTooLong,
    InternalError,
    Interrupted,
    OutOfMemory,
    PictureTooLarge,
    PictureTooSlow,
    PictureTooSmall,
    StyleNotInstalled,
    TooLarge,
    UnknownStyle,
    UnsupportedImage,
)
from animegan.options import BEST, FAST, MOST_CHARACTERS, ORIGINAL
from animegan.settings import SMALLEST_SIDE_PX, Color, DetailOption, Format, Frames, Mode, Tone
from animegan_gateway.errors import (
    Draining,
    DrawingFailed,
    IdempotencyMismatch,
    JobCancelled,
    JobExpired,
    JobNotFound,
    QueueFull,
    RateLimited,
    ShareFull,
    StorageFull,
    StoreUnavailable,
    Unauthorized,
    UploadTimeout,
    WorkerKilled,
)
from animegan_gateway.http.answers.json_picture import JSON, PictureView
from animegan_gateway.http.uploads.form import IMAGE
from animegan_gateway.queue.jobs import State
from animegan_service.errors import BadRequest, Forbidden

JPEG = "image/jpeg"
PICTURES = (JPEG, "image/png", "image/webp", "image/gif", "image/avif", "video/mp4")
EVENTS = {State.QUEUED: "position"}  # the others are named as their states

# Errors of any request, of one for a job, of a picture that was sent, of a request that brings one, and of one for the
# drawn picture: the gateway judges less of a picture than the engine does, so that what it lets through can fail later.
REQUEST_ERRORS = (Unauthorized, RateLimited, StoreUnavailable, InternalError)
JOB_ERRORS = (*REQUEST_ERRORS, JobNotFound, JobExpired)
_PICTURE_ERRORS = (
    BadImage,
    BadOption,
    ClipTooLong,
    PictureTooSmall,
    StyleNotInstalled,
    TooLarge,
    UnknownStyle,
    UnsupportedImage,
)
SUBMIT_ERRORS = (
    *REQUEST_ERRORS,
    *_PICTURE_ERRORS,
    BadRequest,
    Draining,
    Forbidden,
    IdempotencyMismatch,
    JobExpired,
    QueueFull,
    ShareFull,
    StorageFull,
    UploadTimeout,
)
DRAWING_ERRORS = (
    *_PICTURE_ERRORS,
    BadLook,
    BadSetting,
    BadWeights,
    DrawingFailed,
    InternalError,
    Interrupted,
    JobCancelled,
    OutOfMemory,
    PictureTooLarge,
    PictureTooSlow,
    WorkerKilled,
)
PICTURE: dict[str, Any] = {
    "description": "The picture; X-Animegan-… headers say what was done to it.",
    "content": {
        **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURES},
        JSON: {"schema": PictureView.model_json_schema()},  # where Accept asks for it
    },
}
EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": [EVENTS.get(state, state.value) for state in State]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobView"},
        },
        "retry": {"type": "integer", "description": "Milliseconds until a browser that was cut off asks again."},
    },
}
OPTIONS: dict[str, Any] = {
    "style": {
        "type": "string",
        "maxLength": MOST_CHARACTERS,
        "description": "A style's id; GET v1/styles lists them.",
        "examples": ["cel"],
    },
    "max_side": {
        "anyOf": [{"type": "integer", "minimum": SMALLEST_SIDE_PX}, {"const": ORIGINAL}],
        "description": "Limit on the longest side, in px; GET v1/session tells the largest.",
        "examples": [1024],
    },
    "max_pixels": {
        "type": "integer",
        "minimum": SMALLEST_SIDE_PX**2,
        "description": "Limit on the pixels, in place of `max_side`. With both, it holds for a picture more than twice "
        "as long as it is wide, and `max_side` for others.",
        "examples": [1048576],
    },
    "format": {"type": "string", "enum": [*get_args(Format)], "examples": ["png"]},
    "quality": {
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": 100}, {"enum": [FAST, BEST]}],
        "description": "Of JPEG, WebP and AVIF. `fast`: drawn by the small network, softer, as animations are "
        "anyway; `best`: by the large one.",
        "examples": [92],
    },
    "detail": {
        "type": "string",
        "enum": [*get_args(DetailOption)],
        "description": "How far the photo is shrunk before it is drawn; auto: by what it shows.",
        "examples": ["auto"],
    },
    "strength": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "0 is the photo, 1 the drawing.",
        "examples": [1],
    },
    "color": {
        "type": "string",
        "enum": [*get_args(Color)],
        "description": "The style's own, or the photo's.",
        "examples": ["style"],
    },
    "tone": {
        "type": "string",
        "enum": [*get_args(Tone)],
        "description": "The style's light and dark, or the photo's; auto: as suits its network.",
        "examples": ["auto"],
    },
    "mode": {
        "type": "string",
        "enum": [*get_args(Mode)],
        "description": "Whether faces are drawn again from close up; auto: where there surely are.",
        "examples": ["auto"],
    },
    "frames": {
        "type": "string",
        "enum": [*get_args(Frames)],
        "description": "Of an animation: all of its frames, or the first; a JPEG holds one.",
        "examples": ["all"],
    },
}
OPTION_PARAMETERS = [
    {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in OPTIONS.items()
]


def _body(image: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [IMAGE], "properties": {IMAGE: image, **OPTIONS}}


FORM = {
    "parameters": OPTION_PARAMETERS,
    "requestBody": {
        "required": True,
        "description": "The picture, and options: as fields or members beside it, in the query or as headers "
        "(X-Animegan-Style and so on). What is nobody's option, as csrf_token, is left out, and X-Animegan-Ignored "
        "names it.",
        "content": {
            "multipart/form-data": {
                "schema": _body(
                    {
                        "type": "string",
                        "contentMediaType": "application/octet-stream",
                        "description": "JPEG, PNG, WebP, HEIC, AVIF, GIF, BMP, TIFF, JPEG 2000, ICO, PBM, PGM or PPM; "
                        "`file` or `data` will do too.",
                    }
                ),
                "encoding": {IMAGE: {"contentType": "image/*"}},
            },
            JSON: {
                "schema": _body(
                    {"type": "string", "contentEncoding": "base64", "description": "In Base64, or as a data URL."}
                )
            },
            "image/*": {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}},
        },
    },
}


class App(FastAPI):
    """An app whose OpenAPI document has no error but problem details."""

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            schema = super().openapi()
            for path in schema["paths"].values():
                for operation in path.values():
                    if "HTTPValidationError" in str(operation["responses"].get("422")):
                        del operation["responses"]["422"]  # the path holds text alone, and any text is valid
            for name in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(name, None)
            for model in schema["components"]["schemas"].values():
                for example in model.get("examples", ()):  # FastAPI drops null members
                    example.update({name: example.get(name) for name in model["required"]})
        return self.openapi_schema or {}
