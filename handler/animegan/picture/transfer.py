"""RGB images to and from uint8 tensors on a device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from animegan.picture.pixels import bands


def upload(pictures: Sequence[Image.Image], device: torch.device) -> torch.Tensor:
    """RGB images of one size as uint8 (N, H, W, 3) on `device`, copied a band of rows at a time.

    To CUDA each band travels from pinned memory, in the current stream, while the next is filled. PyTorch keeps what it
    has pinned, so it is bands and not pictures.
    """
    [size] = {picture.size for picture in pictures}
    batch = torch.empty((len(pictures), size[1], size[0], 3), dtype=torch.uint8, device=device)
    for index, picture in enumerate(pictures):
        for top, band in bands(picture):
            rows = batch[index, top : top + band.height]
            buffer = torch.empty(rows.shape, dtype=torch.uint8, pin_memory=True) if rows.is_cuda else rows
            np.copyto(buffer.numpy(), np.asarray(band))
            if rows.is_cuda:
                rows.copy_(buffer, non_blocking=True)
    return batch


def download(batch: torch.Tensor) -> list[Image.Image]:
    """uint8 (N, H, W, 3) on any device as RGB images. On CUDA it waits for the current stream, and for no other."""
    if batch.is_cuda:
        host_batch = torch.empty(batch.shape, dtype=torch.uint8, pin_memory=True).copy_(batch, non_blocking=True)
        wait(batch.device)
        batch = host_batch
    return [Image.fromarray(picture.numpy()) for picture in batch.contiguous()]


def wait(device: torch.device) -> None:
    """Wait for what the current stream of the device was given to do, and for no other stream."""
    if device.type == "cuda":
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # the thread sleeps; by default it would keep a CPU busy
        event.record(torch.cuda.current_stream(device))
        event.synchronize()
