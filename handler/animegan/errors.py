"""Every error this project raises on purpose, and the one JSON shape in which a caller sees it.

    AnimeganError
    ├── BadImage           400  bad_image            empty, truncated or undecodable picture bytes
    ├── UnknownStyle       404  unknown_style        no such style
    │   └── StyleNotInstalled   style_not_installed  listed, but its weights are not on this machine
    ├── TooLarge           413  too_large            more bytes or pixels than the limit
    ├── ClipTooLong        413  clip_too_long        more frames, seconds or pixels than an animation may have
    ├── PictureTooLarge    413  picture_too_large    drawing it needs more memory than the budget, however it is done
    ├── UnsupportedImage   415  unsupported_image    not a picture, or a kind this build can't decode
    ├── BadOption          422  bad_option           an option that can't be read or is out of range
    ├── PictureTooSlow     422  picture_too_slow     drawing it takes longer than the limit
    ├── PictureTooSmall    422  picture_too_small    a side under 16 px, as sent or as fitted
    ├── BadWeights         422  bad_weights          a weights file that is not this generator's
    ├── BadLook            422  bad_look             a recipe that can't be used
    ├── BadSetting         500  bad_setting          an operator's setting that can't be used
    ├── InternalError      500  internal_error       a fault of ours; the log has the details
    ├── Interrupted        503  interrupted          nobody waited for the picture any more
    ├── OutOfMemory        503  out_of_memory        the picture did not fit now; may fit later
    ├── DownloadFailed     503  download_failed      the network, or what it delivered
    └── ServiceFailed      503  service_failed       a process that scripts/serve watches does not start or stay up

The JSON is RFC 9457's problem details. This module imports no torch, so that the gateway can use it.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import ClassVar

CONTENT_TYPE = "application/problem+json"


class AnimeganError(Exception):
    """Base of all errors. `detail` names the value, the limit and the way out, in one or two sentences.

    Keyword arguments become members of the JSON beside the standard ones (for example `limit_px=1024`).
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = HTTPStatus.INTERNAL_SERVER_ERROR
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False  # whether the same request can succeed later

    def __init__(self, detail: str, **members: str | int | float | None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members = members

    def problem(self) -> dict[str, str | int | float | bool | None]:
        """RFC 9457 problem details of this error."""
        return {
            "type": f"urn:animegan:problem:{self.code.replace('_', '-')}",
            "title": self.title,
            "status": int(self.status),
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
            **self.members,
        }

    def json(self) -> bytes:
        """The problem details as UTF-8 JSON."""
        return json.dumps(self.problem(), ensure_ascii=False).encode()


class BadImage(AnimeganError):
    code = "bad_image"
    status = HTTPStatus.BAD_REQUEST
    title = "The picture can't be decoded"


class UnknownStyle(AnimeganError):
    code = "unknown_style"
    status = HTTPStatus.NOT_FOUND
    title = "No such style"


class StyleNotInstalled(UnknownStyle):
    code = "style_not_installed"
    title = "The style is not installed"


class TooLarge(AnimeganError):
    code = "too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The picture is too large"


class ClipTooLong(AnimeganError):
    code = "clip_too_long"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The animation is too long"


class PictureTooLarge(AnimeganError):
    code = "picture_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The picture does not fit into memory"


class UnsupportedImage(AnimeganError):
    code = "unsupported_image"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "Not a picture that can be read here"


class BadOption(AnimeganError):
    code = "bad_option"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "An option can't be used"


class PictureTooSmall(AnimeganError):
    code = "picture_too_small"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "The picture is too small"


class PictureTooSlow(AnimeganError):
    code = "picture_too_slow"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "Drawing the picture takes too long"


class BadWeights(AnimeganError):
    code = "bad_weights"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "Not this generator's weights"


class BadLook(AnimeganError):
    code = "bad_look"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    title = "A recipe can't be used"


class BadSetting(AnimeganError):
    code = "bad_setting"
    title = "A setting can't be used"


class InternalError(AnimeganError):
    """A fault of ours as a caller sees it: without trace and path, which the log has."""


class Interrupted(AnimeganError):
    code = "interrupted"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Not drawn to its end"
    retryable = True


class OutOfMemory(AnimeganError):
    code = "out_of_memory"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Not enough memory now"
    retryable = True


class DownloadFailed(AnimeganError):
    code = "download_failed"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "A download failed"
    retryable = True


class ServiceFailed(AnimeganError):
    code = "service_failed"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "A service does not run"
    retryable = True
