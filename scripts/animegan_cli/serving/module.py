"""A service that is a Python module with an HTTP server, to supervise: the gateway, the agent."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from animegan_cli.serving import processes
from animegan_cli.serving.torchserve import ANSWER_WITHIN_S, Address

SILENCE_S = 60.0
LAST_ANSWERS_S = 10.0  # beside its own grace


@dataclass
class Module:
    """One process, `python -m MODULE`; implements `supervisor.Service`.

    `grace_s` is what it may take to finish what is under way, and `log` where its log is, if it is a file.
    """

    name: str
    module: str
    address: Address
    grace_s: float
    log: str
    mark: str
    environment: Mapping[str, str]
    show: Callable[[str], None]

    _process: subprocess.Popen[str] | None = field(default=None, init=False)
    _reader: threading.Thread | None = field(default=None, init=False)
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=20), init=False)

    def start(self) -> None:
        self._lines.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.module],
            env={**self.environment, processes.MARK: self.mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def trouble(self) -> str | None:
        is_over = self._process is None or self._process.poll() is not None
        return "ended by itself" if is_over else None

    def ready(self) -> bool:
        """Return whether the process answers. If another service is away it still does: a restart would not help."""
        try:
            status, _ = self.address.get("/healthz", ANSWER_WITHIN_S)
        except OSError:
            return False
        return status == HTTPStatus.OK

    def patience_s(self) -> float:
        return SILENCE_S

    def end(self, hurried: Callable[[], bool]) -> None:
        processes.end(self.mark, grace_s=self.grace_s + LAST_ANSWERS_S, hurried=hurried)
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._reader is not None:
            self._reader.join(timeout=LAST_ANSWERS_S)

    def last_words(self) -> str:
        return "\n".join([*(f"    {line}" for line in self._lines), f"Its log: {self.log}"])

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Show the lines that the process prints: its log goes to a file, so they say why it can't start."""
        for line in process.stderr or ():
            self._lines.append(line.rstrip())
            self.show(line.rstrip())
