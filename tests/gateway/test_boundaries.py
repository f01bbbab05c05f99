"""The gateway stays out of rooms that are not its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ROOMS = {
    "animegan_gateway.__main__": ("torch", "ts", "animegan_cli", "animegan_client"),
    "animegan_agent.__main__": ("torch", "ts", "animegan_cli", "animegan_client", "fastapi"),
    "animegan_client": ("torch", "animegan_gateway", "animegan_cli", "fastapi"),
}


@pytest.mark.slow
@pytest.mark.parametrize("module", ROOMS)
def test_it_imports_nothing_of_other_rooms(module: str) -> None:
    code = f"import sys, {module}; print(*({set(ROOMS[module])!r} & sys.modules.keys()))"
    process = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == []
