"""JPEG files written by a GPU's own encoder, nvJPEG, through torchvision: an optional package."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable

import torch
from torch import Tensor

from animegan.picture.transfer import wait

logger = logging.getLogger(__name__)

Encoder = Callable[[Tensor, int], bytes]  # uint8 (H, W, 3) on the device, and a quality from 1 to 100

_turn = threading.Lock()  # torchvision has one encoder, whose buffer the next picture overwrites


@functools.cache
def device_encoder(device: torch.device) -> Encoder | None:
    """Return an encoder of JPEG files on that device; None without CUDA, or without a torchvision that has nvJPEG.

    It raises `RuntimeError` where the device fails, and may be called from several threads. torchvision lets one choose
    the quality, which is libjpeg's and so Pillow's, and nothing else: chroma is at full resolution (4:4:4) always, and
    Huffman's tables are the standard's, as Pillow's are by default.
    """
    if device.type != "cuda":
        return None
    try:
        from torchvision.io import encode_jpeg  # noqa: PLC0415 - an optional package

        encode = functools.partial(_encode, encode_jpeg)
        encode(torch.zeros(16, 16, 3, dtype=torch.uint8, device=device), 90)
    except Exception as error:  # noqa: BLE001 - no torchvision, one of another PyTorch's, one without nvJPEG
        logger.debug("Pillow encodes: %s", error)
        return None
    return encode


def _encode(encode_jpeg: Callable[..., Tensor], pixels: Tensor, quality: int) -> bytes:
    planes = pixels.permute(2, 0, 1).contiguous()
    wait(pixels.device)  # torchvision encodes in a stream of its own, which does not wait for this one
    with _turn:
        return encode_jpeg(planes, quality=quality).cpu().numpy().tobytes()
