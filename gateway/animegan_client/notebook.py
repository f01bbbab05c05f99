"""The HTML of a picture in a notebook: the photo beside it, both small and embedded."""

from __future__ import annotations

import base64
from html import escape
from io import BytesIO

from PIL import Image, ImageOps, UnidentifiedImageError

SIDE_PX = 480  # of what is shown, at the most


def side_by_side(photo: bytes | None, picture: bytes, caption: str) -> str:
    """Return the HTML. A photo of a kind that Pillow does not read here is left out."""
    thumbnails = [thumbnail for file in (photo, picture) if file is not None and (thumbnail := _thumbnail(file))]
    images = "".join(f'<img src="data:image/jpeg;base64,{each}" style="max-width: 49%">' for each in thumbnails)
    return f"<figure>{images}<figcaption>{escape(caption)}</figcaption></figure>"


def _thumbnail(file: bytes) -> str:
    """Return a small JPEG in Base64; empty for what is no picture to Pillow."""
    try:
        with Image.open(BytesIO(file)) as image:
            image.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))
            upright = ImageOps.exif_transpose(image)
            upright.thumbnail((SIDE_PX, SIDE_PX))
            small = BytesIO()
            upright.convert("RGB").save(small, "JPEG", quality=85)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return ""
    return base64.b64encode(small.getvalue()).decode()
