"""What draws: the engine in this process, or a server, by its address."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import requests

from animegan.errors import BadOption, InternalError
from animegan.picture.images import Encoded
from animegan.report import Report
from animegan.settings import Settings
from animegan_cli.language import language
from animegan_cli.serving.processes import OPENMP
from animegan_client import Client

if TYPE_CHECKING:
    from animegan.pipeline.pipeline import Pipeline

THREADS = 2  # that decode and encode
_TIMEOUT_S = (5, 600)  # to connect, and between two bytes of an answer
_ASK_TIMEOUT_S = (5, 30)  # of a question that waits for no drawing


def local_engine(settings: Settings) -> Pipeline:
    """The engine in this process, which decodes and encodes beside the drawing. Raises `BadSetting`."""
    os.environ.update({**OPENMP, **os.environ})
    import torch  # noqa: PLC0415 - seconds that a run through a server does not have to spend

    from animegan.pipeline.pipeline import Pipeline  # noqa: PLC0415
    from animegan.resources import hardware  # noqa: PLC0415

    torch.set_num_threads(settings.cpu_threads or hardware.cpu_count())
    return Pipeline(settings, threads=THREADS)


def remote_engine(url: str, key: str) -> Client | Server:
    """The server at that address: a gateway, by its client, or TorchServe. `key` is the gateway's, where it wants one.

    Raises `BadOption` for what is no address or no key, `InternalError` where nobody answers.
    """
    if not url.startswith(("http://", "https://")):
        raise BadOption(f"--server {url} is no address of a server. Begin it with http:// or https://.")
    try:
        client = Client(url, key=key, language=language())
        answer = requests.get(f"{url.rstrip('/')}/v1/session", timeout=_ASK_TIMEOUT_S)
    except requests.RequestException as error:
        raise InternalError(f"No answer from {url}: {_cause(error)}. Is the server running?") from None
    except ValueError as error:
        raise BadOption(str(error)) from None
    return client if "X-Animegan-Request-Id" in answer.headers else Server(url)


class Server:
    """A TorchServe with the archive, by the address of its inference API."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/predictions/animegan"
        self._session = requests.Session()

    def stylize(self, data: bytes, options: Mapping[str, str], /) -> tuple[Encoded, Report]:
        """Send one picture. Raises `InternalError` with the server's own words where it gave any."""
        try:
            answer = self._session.post(self._url, files={"data": data}, data=options, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise InternalError(f"No answer from {self._url}: {_cause(error)}. Is the server running?") from None
        if not answer.ok:
            raise InternalError(_complaint(answer))
        try:
            return Encoded(answer.content, answer.headers["Content-Type"]), Report.from_headers(answer.headers)
        except (KeyError, ValueError):
            raise InternalError(f"{self._url} answered, but not as this project's server does.") from None


def _cause(error: requests.RequestException) -> str:
    return "it took too long" if isinstance(error, requests.Timeout) else "the connection failed"


def _complaint(answer: requests.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):  # TorchServe's own errors have another shape, or none
        return f"The server answered {answer.status_code} {answer.reason}".strip() + "."
