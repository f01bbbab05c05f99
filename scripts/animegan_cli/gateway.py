"""The gateway as a service to supervise."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from animegan_cli import processes
from animegan_cli.torchserve import ANSWER_WITHIN_S, Address

SILENCE_S = 60.0
LAST_ANSWERS_S = 10.0  # beside the time that running pictures may take


@dataclass
class Gateway:
    """One gateway process; implements `supervisor.Service`. `drain_s` is its own setting, `logs` the log's folder."""

    name: ClassVar[str] = "Gateway"

    address: Address
    drain_s: float
    logs: Path
    mark: str
    environment: Mapping[str, str]
    show: Callable[[str], None]

    _process: subprocess.Popen[str] | None = field(default=None, init=False)
    _reader: threading.Thread | None = field(default=None, init=False)
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=20), init=False)

    def start(self) -> None:
        self._lines.clear()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "animegan_gateway"],
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
        ended = self._process is None or self._process.poll() is not None
        return "ended by itself" if ended else None

    def ready(self) -> bool:
        """Whether the process answers; a store that is away for a while is no reason to start it again."""
        connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=ANSWER_WITHIN_S)
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def patience_s(self) -> float:
        return SILENCE_S

    def end(self, hurried: Callable[[], bool]) -> None:
        processes.end(self.mark, grace_s=self.drain_s + LAST_ANSWERS_S, hurried=hurried)
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._reader is not None:
            self._reader.join(timeout=LAST_ANSWERS_S)

    def last_words(self) -> str:
        return "\n".join([*(f"    {line}" for line in self._lines), f"Its log: {self.logs / 'gateway.log'}"])

    def _read(self, process: subprocess.Popen[str]) -> None:
        """Its log goes to a file; what it says here is why it can't start."""
        for line in process.stderr or ():
            self._lines.append(line.rstrip())
            self.show(line.rstrip())
