"""What this process holds in memory, as Linux counts it (proc(5)). Imports no torch, which would be part of it."""

from __future__ import annotations

from pathlib import Path


def held_bytes() -> int:
    """Return what it holds now."""
    return _bytes("VmRSS")


def peak_bytes() -> int:
    """Return the most that it has held since `reset_peak`."""
    return _bytes("VmHWM")


def reset_peak() -> None:
    """Have the peak begin anew at what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def _bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
