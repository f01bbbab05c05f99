"""The page, its files, and the API's documentation."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from animegan_gateway.http import assets

PAGE = Path(str(resources.files(__package__).joinpath("page")))
DOCS_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)  # Swagger UI sets styles inline


def install(app: FastAPI) -> None:
    """Add the page at the root, its files under page/, and Swagger UI at docs."""
    mimetypes.add_type("application/manifest+json", ".webmanifest")
    swagger = Path(str(resources.files(fastapi_offline).joinpath("static")))
    for address, asset in assets.load(PAGE).items():
        app.add_api_route(address, _asset(asset), include_in_schema=False)
    app.mount("/page", Files(directory=PAGE), name="page")
    app.mount("/swagger", Files(directory=swagger), name="swagger")
    docs = assets.Asset((PAGE / "docs" / "docs.html").read_bytes(), "text/html", assets.FRESH)
    app.add_api_route("/docs", _asset(docs, {"Content-Security-Policy": DOCS_POLICY}), include_in_schema=False)


class Files(StaticFiles):
    """Files that a browser revalidates before each use, as they change with the version and their names do not."""

    def file_response(self, *arguments: object, **options: object) -> Response:
        response = super().file_response(*arguments, **options)  # type: ignore[arg-type]
        response.headers["Cache-Control"] = assets.FRESH
        return response


def _asset(asset: assets.Asset, headers: dict[str, str] | None = None) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        return asset.response(request, headers)

    return answer
