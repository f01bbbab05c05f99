"""The `animegan` command in this process: for tests of what it does, not of signals, terminals, pipes and imports."""

from __future__ import annotations

import io
import os
import subprocess
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import torch

from animegan_cli.main import main


def run_command(*arguments: str | Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command with these words and this environment, its standard input empty."""
    words = ["animegan", *map(str, arguments)]
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    threads = torch.get_num_threads()
    with (
        mock.patch.dict(os.environ, environment, clear=True),
        mock.patch("sys.argv", words),
        Path(os.devnull).open() as nothing,
        mock.patch("sys.stdin", nothing),
        redirect_stdout(out),
        redirect_stderr(errors),
    ):
        status = _status(words)
    torch.set_num_threads(threads)
    return subprocess.CompletedProcess(words, status, _text(out), _text(errors))


def _status(words: list[str]) -> int:
    try:
        main()
    except SystemExit as end:
        status = end.code or 0
    else:
        status = 0
    assert isinstance(status, int), f"{words} ended with {status!r}"
    return status


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
