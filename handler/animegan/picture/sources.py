"""What a `Stylizer` takes as a picture, and gives back in the same kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from io import TextIOBase
from os import PathLike, fspath
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from animegan.clips.animation import Animation, is_animation, open_animation
from animegan.clips.limits import ClipLimits
from animegan.clips.video.reading import first_frame
from animegan.errors import UnsupportedImage
from animegan.picture import images
from animegan.picture.formats.films import is_video
from animegan.picture.pixels import Picture, Shrink

Array = NDArray[np.uint8]
File = str | PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
Source = Image.Image | File | Array | Tensor

CLIPS = ClipLimits(frames=10**6, seconds=math.inf, pixels=10**12)
LIMITS = images.Limits(max_bytes=2**31, max_pixels=178_000_000)  # of a file; the latter is where Pillow refuses
ADDRESSES = ("http://", "https://", "data:")
KINDS = "a PIL image, a path, bytes, a binary file, a NumPy array (H, W, 3 or 4) or a tensor (3 or 4, H, W)"


def read(
    source: Source, max_side: int | None, max_pixels: int | None, shrink: Shrink, *, motion: bool
) -> tuple[Picture | Animation, Callable[[Image.Image], Any]]:
    """Return the picture, fitted to the limits (see `sizes.fit`), and what makes a drawing the source's kind.

    `motion`: of a file that is an animation return that.

    Raise `TypeError` for what is none of `Source`, `ValueError` for an array of another shape or dtype or an address of
    the web, `OSError` for a path that can't be read, and as `images.decode` and `images.prepare`.
    """
    limits: dict[str, Any] = {"max_side": max_side, "max_pixels": max_pixels}
    if isinstance(source, Image.Image):
        return images.prepare(source, **limits, shrink=shrink), _same
    if isinstance(source, np.ndarray):
        return images.prepare(_from_array(source), **limits, shrink=shrink), _to_array(source.shape[2])
    if isinstance(source, Tensor):
        image, give_back = _from_tensor(source)
        return images.prepare(image, **limits, shrink=shrink), give_back
    data = _bytes(source)
    header = images.inspect(data, LIMITS)
    if motion and is_animation(header):
        return open_animation(data, header, **limits, limits=LIMITS, most=CLIPS), _same
    if is_video(header) and motion:
        raise UnsupportedImage(
            "This is a video, which becomes no picture. Draw it with stylize_video, or its first frame with "
            "frames='first'.",
            kind="video",
        )
    if is_video(header):
        return first_frame(data, header, **limits, limits=LIMITS, shrink=shrink), _same
    return images.decode(data, **limits, limits=LIMITS, shrink=shrink, header=header), _same


def _bytes(source: File) -> bytes:
    if isinstance(source, str | PathLike):
        return _file(fspath(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    if isinstance(source, TextIOBase):
        raise TypeError(f"A picture is bytes, and this {type(source).__name__} reads text. Open it as 'rb'.")
    data = source.read() if hasattr(source, "read") else None
    if not isinstance(data, bytes):
        several = " Several pictures are for stylize_all." if isinstance(source, list | tuple) else ""
        raise TypeError(f"A picture is {KINDS}, not {type(source).__name__}.{several}")
    return data


def _file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        if path.startswith(ADDRESSES):
            raise ValueError(
                f"{path[:80]!r} is an address, and none is fetched here. Load it, and give its bytes."
            ) from None
        raise


def _same(drawing: Image.Image) -> Image.Image:
    return drawing


def _from_array(array: NDArray[Any]) -> Image.Image:
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8:
        raise ValueError(
            f"The array is {array.dtype} {array.shape}. Give uint8 of the shape (H, W, 3 or 4), RGB first."
        )
    return Image.fromarray(np.ascontiguousarray(array))


def _to_array(channels: int) -> Callable[[Image.Image], Array]:
    mode = "RGBA" if channels == 4 else "RGB"
    return lambda drawing: np.array(drawing.convert(mode))


def _from_tensor(tensor: Tensor) -> tuple[Image.Image, Callable[[Image.Image], Tensor]]:
    """Return the image of a tensor (3 or 4, H, W), uint8 or floats in 0..1, and what makes such a tensor of another."""
    whole = tensor.dtype == torch.uint8
    if tensor.ndim != 3 or tensor.shape[0] not in (3, 4) or not (whole or tensor.is_floating_point()):
        raise ValueError(
            f"The tensor is {str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}. Give (3 or 4, H, W), RGB "
            "first, in uint8 or in floats from 0 to 1."
        )
    plain = tensor.detach().cpu()
    pixels = plain if whole else plain.float().mul(255).round().clamp(0, 255).to(torch.uint8)
    to_array = _to_array(tensor.shape[0])

    def give_back(drawing: Image.Image) -> Tensor:
        planes = torch.from_numpy(to_array(drawing)).permute(2, 0, 1).contiguous()
        return (planes if whole else planes.float().div(255)).to(tensor.device, tensor.dtype)

    return _from_array(pixels.permute(1, 2, 0).numpy()), give_back
