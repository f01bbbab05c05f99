"""Draw photos in styles side by side: `python -m animegan_cli.commands.contact_sheet OUT PHOTO...`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from animegan import Stylizer
from animegan.errors import AnimeganError
from animegan.picture import images
from animegan.settings import MAX_SIDE_PX
from animegan.styles import bundled_styles, get_style

CELL_PX = 400
GAP_PX = 8
CAPTION_PX = 32
QUALITY = 85  # below 90 the colours are stored at half the resolution: right for a page, not for a result


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parse(arguments)
    try:
        photos = [Image.open(file) for file in options.photos]
        sheet = draw(photos, options.style or bundled(), max_side=options.max_side, width=options.width)
        options.out.write_bytes(images.encode(sheet, None, format="jpeg", quality=QUALITY).data)
    except (AnimeganError, OSError) as error:
        print(f"contact_sheet: {error}", file=sys.stderr)
        return 1
    return 0


def bundled() -> list[str]:
    """Return the ids of the styles whose weights are in the repository."""
    return [style.id for style in bundled_styles().values() if style.weights]


def draw(photos: Sequence[Image.Image], styles: Sequence[str], *, max_side: int, width: int) -> Image.Image:
    """Return a sheet, RGB, with a row for each photo: the photo, then its drawing in each style.

    Pictures are drawn at `max_side` px and scaled to `width` px. Raises what `Stylizer` raises.
    """
    upright = [images.prepare(photo, max_side=max_side).rgb for photo in photos]
    columns = {"Photo": upright}
    for style in styles:
        stylizer = Stylizer(style, max_side=max_side, warmup_px=0)
        columns[get_style(style).title.en] = [stylizer.stylize(photo) for photo in upright]
    heights = [max(1, round(width * photo.height / photo.width)) for photo in upright]
    size = len(columns) * (width + GAP_PX) - GAP_PX, CAPTION_PX + sum(heights) + GAP_PX * (len(heights) - 1)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(CAPTION_PX // 2)
    for column, (title, pictures) in enumerate(columns.items()):
        x, y = column * (width + GAP_PX), CAPTION_PX
        pen.text((x + width / 2, CAPTION_PX / 2), title, "black", font, anchor="mm")
        for picture, height in zip(pictures, heights, strict=True):
            sheet.paste(picture.resize((width, height), Image.Resampling.LANCZOS), (x, y))
            y += height + GAP_PX
    return sheet


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="contact_sheet", description="One JPEG with a row for each photo: it, then itself in each style."
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="the JPEG to write")
    parser.add_argument("photos", type=Path, nargs="+", metavar="PHOTO")
    parser.add_argument("--style", action="append", metavar="ID", help="once for each column (default: all bundled)")
    parser.add_argument("--max-side", type=int, default=MAX_SIDE_PX, metavar="PX", help="size that is drawn")
    parser.add_argument("--width", type=int, default=CELL_PX, metavar="PX", help="size that is shown, of one picture")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
