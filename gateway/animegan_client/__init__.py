"""The Python client of AnimeGAN Serve: photo in, anime picture out, through a gateway.

>>> from animegan_client import Client
>>> with Client("http://127.0.0.1:8000") as client:
...     client.stylize("photo.jpg", style="cel").save("anime.jpg")
"""

from animegan_client.answers import Job, Picture, Size, Style
from animegan_client.async_client import AsyncClient
from animegan_client.client import Client
from animegan_client.errors import (
    ClientError,
    JobCancelled,
    JobExpired,
    JobFailed,
    Problem,
    ServerError,
    UnexpectedAnswer,
    Unreachable,
    WaitTimeout,
)
from animegan_client.folder import Outcome

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Job",
    "JobCancelled",
    "JobExpired",
    "JobFailed",
    "Outcome",
    "Picture",
    "Problem",
    "ServerError",
    "Size",
    "Style",
    "UnexpectedAnswer",
    "Unreachable",
    "WaitTimeout",
]
