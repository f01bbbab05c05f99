"""Memory of decoding each kind of picture file, foretold and measured.

`scripts/benchmark decoding`. Pictures of 12 megapixels (HEIC and animations: 3) are decoded and fitted to 1024 px, each
in a process of its own; the peak is the kernel's, above what the process had before.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from animegan.clips.animation import FRAME_BYTES, KINDS, open_animation
from animegan.picture import images
from animegan.picture.sources import CLIPS
from benchmarks.common.resident import held_bytes, peak_bytes, reset_peak
from benchmarks.common.result import store, table
from harness.files.picture_files import heic
from harness.pictures import encoded, photo

LIMITS = images.Limits(1 << 30, 10**9)
SIZE, HEIC_SIZE = (4000, 3000), (2000, 1500)


def main() -> None:
    rows, figures = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name, data in sources().items():
            file = Path(folder) / "picture"
            file.write_bytes(data)
            header = images.inspect(data, LIMITS)
            pixels = header.size[0] * header.size[1]
            estimate = images.DECODED_BYTES[header.format] + header.held_bytes / pixels
            if header.motion:
                estimate = FRAME_BYTES
            command = [sys.executable, "-m", "benchmarks.pictures.decoding", str(file)]
            process = subprocess.run(command, check=True, capture_output=True, text=True)
            peak = int(process.stdout) / pixels
            rows.append((name, estimate, peak))
            figures[name] = {"foretold_bytes_a_pixel": estimate, "measured_bytes_a_pixel": peak}
    table(("kind", "foretold, bytes a pixel", "measured"), rows)
    store("decoding", {"kinds": figures})


def sources() -> Mapping[str, bytes]:
    """Return large files of each kind."""
    image = photo(96, 64).resize(SIZE)
    crops = [image.resize(HEIC_SIZE, box=(x, 0, SIZE[0] - 100 + x, SIZE[1])) for x in (20, 40, 60)]
    faint = [frame.copy() for frame in crops]
    for frame in faint:
        frame.putalpha(Image.linear_gradient("L").resize(HEIC_SIZE))
    clear, grey, small = image.convert("RGBA"), image.convert("L"), image.resize(HEIC_SIZE)
    return {
        "JPEG": encoded(image, "JPEG"),
        "JPEG, progressive": encoded(image, "JPEG", progressive=True, subsampling=0),
        "JPEG, progressive CMYK": encoded(image.convert("CMYK"), "JPEG", progressive=True),
        "PNG": encoded(image, "PNG", compress_level=1),
        "PNG, alpha": encoded(clear, "PNG", compress_level=1),
        "PNG, palette": encoded(image.quantize(), "PNG"),
        "WebP": encoded(image, "WEBP", method=0),
        "WebP, lossless with alpha": encoded(clear, "WEBP", lossless=True, method=0, quality=0),
        "GIF": encoded(image.quantize(), "GIF"),
        "BMP": encoded(image, "BMP"),
        "TIFF, LZW": encoded(image, "TIFF", compression="tiff_lzw"),
        "TIFF, CMYK": encoded(image.convert("CMYK"), "TIFF", compression="tiff_deflate"),
        "TIFF, float": encoded(grey.convert("F"), "TIFF"),
        "HEIC": heic(small, quality=30),
        "HEIC, alpha, 4:4:4": heic(small.convert("RGBA"), quality=30, chroma="444"),
        "AVIF": encoded(image, "AVIF", speed=10),
        "AVIF, alpha, 4:4:4": encoded(clear, "AVIF", speed=10, subsampling="4:4:4"),
        "JPEG 2000": encoded(image, "JPEG2000"),
        "JPEG 2000, alpha": encoded(clear, "JPEG2000"),
        "PPM": encoded(image, "PPM"),
        **{f"{kind}, animated": encoded(small, kind, save_all=True, append_images=crops) for kind in KINDS},
        **{f"{kind}, animated, alpha": encoded(faint[0], kind, save_all=True, append_images=faint) for kind in KINDS},
    }


def measure(file: Path) -> int:
    """Return the bytes that decoding the file takes at its peak, above what the process has."""
    small = encoded(Image.new("RGBA", (64, 64)), "PNG")
    images.decode(small, max_side=64, limits=LIMITS)
    data = file.read_bytes()
    before = held_bytes()
    reset_peak()
    header = images.inspect(data, LIMITS)
    if header.motion:
        for _ in open_animation(data, header, 1024, None, LIMITS, CLIPS).read():
            pass
    else:
        images.decode(data, max_side=1024, limits=LIMITS)
    return peak_bytes() - before


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(Path(sys.argv[1])))
    else:
        main()
