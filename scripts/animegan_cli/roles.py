"""What the commands need that replace this process by a server's."""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import NoReturn

from animegan.errors import BadSetting

# The packages that an extra of pyproject.toml brings, by the names under which they are imported.
EXTRAS = {
    "serve": ("ts", "model_archiver", "yaml", "opentelemetry"),
    "gateway": (
        *("fastapi", "fastapi_offline", "httptools", "httpx2", "itsdangerous", "limits", "obstore", "opentelemetry"),
        *("prometheus_client", "python_multipart", "redis", "structlog", "uvicorn"),
    ),
    "ray": ("ray", "pyarrow", "s3fs", "upath"),
}


def require(extra: str) -> None:
    """Raise `BadSetting` where a package of the extra is not installed."""
    for package in EXTRAS[extra]:
        if importlib.util.find_spec(package) is None:
            raise BadSetting(
                f"{package} is not installed. Install animegan-serve with its extra: animegan-serve[{extra}]."
            )


def become(module: str, arguments: list[str]) -> NoReturn:
    """Replace this process: what serves for months need not hold what the command has imported."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])  # noqa: S606 - no shell is meant
