"""The log: one JSON object a line, on standard error or in a file that is rotated. Nothing of a picture is in it.

What the file has no room for goes to standard error.
"""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path

import structlog

ROTATE_BYTES = 10_000_000
KEPT_FILES = 4


class _File(logging.handlers.RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as the library calls it
        if isinstance(sys.exc_info()[1], OSError):  # the library would print a traceback for each line
            sys.stderr.write(f"{self.format(record)}\n")
        else:
            super().handleError(record)


def configure(file: Path | None) -> None:
    """Send every logger of the process there."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # Without the values of variables: a picture's bytes and keys are among them.
            structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
    )
    handler: logging.Handler = logging.StreamHandler()
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = _File(file, maxBytes=ROTATE_BYTES, backupCount=KEPT_FILES)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("httpx2", "httpcore2", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
