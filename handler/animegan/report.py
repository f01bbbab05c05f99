"""A report of what was done to a picture, and its response headers. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from animegan.picture.formats.header import Flaw

_PREFIX = "X-Animegan-"
_FLAWS = f"{_PREFIX}Warning"
_TIMING = "Server-Timing"  # https://www.w3.org/TR/server-timing/

FLAWS: tuple[Flaw, ...] = get_args(Flaw)


@dataclass(frozen=True)
class Report:
    """`plan`: whole, bands or recompute. Sizes are (width, height) in px, `seconds` by phase: decode, faces, run,
    encode.

    Of `frames` the first is drawn, or all, as `drawn_frames` says. `flaws`: what is wrong with a file that was drawn
    all the same. `detail`: bold, medium or fine; None: the style draws a photo at its own size. `mode`: portrait or
    scene; `faces`: how many were found and looked after.
    """

    style: str
    license: str
    precision: str
    plan: str
    original_size: tuple[int, int]
    size: tuple[int, int]
    frames: int = 1
    seconds: Mapping[str, float] = field(default_factory=dict)
    flaws: tuple[Flaw, ...] = ()
    detail: str | None = None
    mode: Literal["portrait", "scene"] = "scene"
    faces: int = 0
    drawn_frames: int = 1

    @property
    def fitted(self) -> bool:
        """Return whether the picture was scaled down to the limit on its longest side."""
        return self.size != self.original_size

    def headers(self) -> dict[str, str]:
        """As response headers; ASCII, since TorchServe garbles anything else."""
        return {
            f"{_PREFIX}Style": self.style,
            f"{_PREFIX}License": self.license.encode("ascii", "replace").decode(),
            f"{_PREFIX}Precision": self.precision,
            f"{_PREFIX}Plan": self.plan,
            f"{_PREFIX}Original-Size": _size(self.original_size),
            f"{_PREFIX}Size": _size(self.size),
            f"{_PREFIX}Fitted": str(self.fitted).lower(),
            f"{_PREFIX}Frames": str(self.frames),
            f"{_PREFIX}Drawn-Frames": str(self.drawn_frames),
            **({_FLAWS: ", ".join(self.flaws)} if self.flaws else {}),
            **({f"{_PREFIX}Detail": self.detail} if self.detail else {}),
            f"{_PREFIX}Mode": self.mode,
            f"{_PREFIX}Faces": str(self.faces),
            _TIMING: ", ".join(f"{phase};dur={1000 * seconds:.1f}" for phase, seconds in self.seconds.items()),
        }

    @classmethod
    def header_names(cls) -> list[str]:
        """Return the names of all headers that `headers` may write."""
        all_there_is = cls("", "", "", "", (0, 0), (0, 0), flaws=FLAWS, detail="bold")
        return [*all_there_is.headers()]

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Report:
        """Read what `headers()` wrote; `headers` is a mapping that ignores case. Raises `KeyError` or `ValueError`."""
        timings = (entry.partition(";dur=") for entry in headers[_TIMING].split(", ") if entry)
        return cls(
            style=headers[f"{_PREFIX}Style"],
            license=headers[f"{_PREFIX}License"],
            precision=headers[f"{_PREFIX}Precision"],
            plan=headers[f"{_PREFIX}Plan"],
            original_size=_parse_size(headers[f"{_PREFIX}Original-Size"]),
            size=_parse_size(headers[f"{_PREFIX}Size"]),
            frames=int(headers[f"{_PREFIX}Frames"]),
            drawn_frames=int(headers.get(f"{_PREFIX}Drawn-Frames", 1)),
            flaws=tuple(flaw for flaw in FLAWS if flaw in headers.get(_FLAWS, "")),
            detail=headers.get(f"{_PREFIX}Detail"),
            mode="portrait" if headers.get(f"{_PREFIX}Mode") == "portrait" else "scene",
            faces=int(headers.get(f"{_PREFIX}Faces", 0)),
            seconds={phase: float(milliseconds) / 1000 for phase, _, milliseconds in timings},
        )


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)
