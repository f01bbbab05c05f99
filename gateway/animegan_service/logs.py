"""The log: one JSON object a line, on standard error or in a file that is rotated. Nothing of a picture is in it.

What the file has no room for goes to standard error. The same error again and again is one line with a count.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
import time
from pathlib import Path

import structlog

ROTATE_BYTES = 10_000_000
KEPT_FILES = 4
REPEATS_S = 10.0


class _File(logging.handlers.RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - as the library calls it
        if isinstance(sys.exc_info()[1], OSError):  # the library would print a traceback for each line
            with contextlib.suppress(OSError):  # that is a file on the same disk
                sys.stderr.write(f"{self.format(record)}\n")
        else:
            super().handleError(record)


class Repeats(logging.Filter):
    """Passes a warning or an error with a cause once in `REPEATS_S`, and then tells how often it was left out.

    A cause is an exception, or what the event calls its `reason`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._repeats: dict[tuple[str, ...], tuple[float, int]] = {}  # when first, and how often since

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        for key in [each for each, (since, _) in [*self._repeats.items()] if now - since >= REPEATS_S]:
            _, count = self._repeats.pop(key, (now, 0))
            if count:
                structlog.get_logger(key[0]).warning("repeated", what=key[1], cause=key[2:], count=count)
        cause = _cause(record)
        if cause is None:
            return True
        since, count = self._repeats.get(cause, (now, -1))
        self._repeats[cause] = (since, count + 1)
        return count < 0


def _cause(record: logging.LogRecord) -> tuple[str, ...] | None:
    """Return logger, event and cause of what may be repeated."""
    event = record.msg if isinstance(record.msg, dict) else {"event": record.msg, "exc_info": record.exc_info}
    error = event.get("exc_info")
    if isinstance(error, tuple):
        error = error[1]
    if record.levelno < logging.WARNING or not (error or event.get("reason")):
        return None
    words = (event.get("reason") or type(error).__name__, str(error)[:200] if error else "")
    return (record.name, str(event["event"]), *map(str, words))


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
    handler.addFilter(Repeats())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("httpx2", "httpcore2", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
