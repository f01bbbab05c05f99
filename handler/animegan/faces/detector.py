"""Finds the faces in a photo: proposals on ever smaller copies, refined twice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from animegan.errors import BadWeights
from animegan.faces.networks import Cascade, Output, Refinement, build, normalise
from animegan.networks.weights import load_weights
from animegan.picture.sizes import Size, fit
from animegan.settings import Mode
from animegan.styles import bundled_dir

WEIGHTS = "faces.safetensors"
SHA256 = "ad803f8918bf98fc7f210efc9a444f0625bff2c8fe8611ea9a8e44cc87face5a"
LOOK_PX = 720  # longest side of the copy in which faces are looked for
LEAST_PX = 20  # side of the smallest face in that copy
PROPOSAL_PX, REFINEMENT_PX, OUTPUT_PX = 12, 24, 48  # what the networks take
SHRINK = 0.709  # from one copy to the next: half the area
MOST_PROPOSALS = 512  # that are refined, the surest
BORDER = 0.06  # of the longest side, black around the photo, so that half a face at its edge has room for a box

LEAST_SURE = (0.6, 0.7, 0.9)  # scores of the three networks
LEAST_LIKELY = (0.5, 0.6, 0.7)  # where a portrait is said to be one
_RESTORE = "Restore the checkout's model_store, or install the package again."
TURNS = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270, Image.Transpose.ROTATE_180)


@dataclass(frozen=True)
class Face:
    """A face, in px of the photo: its box's centre and side, and by how many degrees it leans to the right.

    `points` are the eyes, the tip of the nose and the corners of the mouth, x and y each.
    """

    x: float
    y: float
    side: float
    lean_deg: float
    score: float
    points: tuple[tuple[float, float], ...]


def find(photo: Image.Image, mode: Mode) -> tuple[Face, ...]:
    """Return the faces in an RGB photo, the largest first.

    `auto`: those that are surely faces. `portrait`: also those that may be none, and where there are none upright, in
    the photo turned to its sides and upside down. `scene`: none.
    """
    if mode == "scene":
        return ()
    detector = load()
    if mode == "auto":
        return tuple(detector.find(photo, LEAST_SURE))
    faces = detector.find(photo, LEAST_LIKELY)
    for turn in TURNS:
        if not faces:
            faces = [_turned_back(face, turn, photo) for face in detector.find(photo.transpose(turn), LEAST_LIKELY)]
    return tuple(faces)


def _turned_back(face: Face, turn: Image.Transpose, photo: Image.Image) -> Face:
    """Return a face of the turned photo, in the photo."""

    def back(x: float, y: float) -> tuple[float, float]:
        if turn == Image.Transpose.ROTATE_90:  # counter-clockwise
            return photo.width - y, x
        return (y, photo.height - x) if turn == Image.Transpose.ROTATE_270 else (photo.width - x, photo.height - y)

    degrees = {Image.Transpose.ROTATE_90: 90, Image.Transpose.ROTATE_270: -90}.get(turn, 180)
    x, y = back(face.x, face.y)
    return Face(x, y, face.side, face.lean_deg + degrees, face.score, tuple(back(*point) for point in face.points))


@cache
def load() -> Detector:
    """Return the bundled detector, loaded once. Raises `BadWeights`."""
    file = bundled_dir() / WEIGHTS
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise BadWeights(f"The weights that find faces can't be read: {error}. {_RESTORE}") from None
    if digest != SHA256:
        raise BadWeights(f"{file} has SHA-256 {digest}, not {SHA256}. {_RESTORE}")
    return Detector(build(load_weights(file)))


class Detector:
    """MTCNN's cascade, on the CPU."""

    def __init__(self, cascade: Cascade) -> None:
        self.cascade = cascade

    @torch.inference_mode()
    def find(self, photo: Image.Image, least_scores: tuple[float, float, float]) -> list[Face]:
        """Return the faces, the largest first; `least_scores` are those of the three networks, 0 to 1."""
        size = fit(photo.size, LOOK_PX)
        copy = np.asarray(photo.resize(size, Image.Resampling.BILINEAR, reducing_gap=2))
        border = round(BORDER * max(size))
        picture = Image.fromarray(np.pad(copy, ((border, border), (border, border), (0, 0))))
        boxes = self._proposals(picture, least_scores[0])
        boxes = self._refine(picture, boxes, least_scores[1])
        boxes, points, scores = self._output(picture, boxes, least_scores[2])
        scale = photo.width / size[0]
        faces = (
            _face(box, (spots - border) * scale, score, border, scale)
            for box, spots, score in zip(boxes, points, scores.tolist(), strict=True)
        )
        inside = (face for face in faces if 0 <= face.x < photo.width and 0 <= face.y < photo.height)
        return sorted(inside, key=lambda face: -face.side)

    def _proposals(self, picture: Image.Image, least: float) -> Tensor:
        """Return boxes (N, 4): left, upper, right, lower in px."""
        proposals = [torch.empty(0, 5)]
        small = picture
        for scale in _scales(picture.size):
            width, height = (math.ceil(side * scale) for side in picture.size)
            small = small.resize((width, height), Image.Resampling.BILINEAR)
            scores, moves = self.cascade.proposal(normalise(_pixels(small)))
            rows, columns = (scores[0] >= least).nonzero(as_tuple=True)
            corners = torch.stack([columns, rows], 1) * 2
            boxes = torch.cat([corners, corners + PROPOSAL_PX], 1) / scale
            boxes = _move(boxes, moves[0][:, rows, columns].T)
            score = scores[0][rows, columns]
            indices = _apart(boxes, score, 0.5)[:MOST_PROPOSALS]
            proposals.append(torch.cat([boxes[indices], score[indices, None]], 1))
        every = torch.cat(proposals)
        indices = _apart(every[:, :4], every[:, 4], 0.7)[:MOST_PROPOSALS]
        return every[indices, :4]

    def _refine(self, picture: Image.Image, boxes: Tensor, least: float) -> Tensor:
        boxes, crops = _crops(picture, boxes, REFINEMENT_PX)
        network: Refinement = self.cascade.refinement
        scores, moves = network(crops)
        likely = scores >= least
        boxes = _move(boxes[likely], moves[likely])
        return boxes[_apart(boxes, scores[likely], 0.7)]

    def _output(self, picture: Image.Image, boxes: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes (N, 4), points (N, 5, 2), scores (N,)."""
        boxes, crops = _crops(picture, boxes, OUTPUT_PX)
        network: Output = self.cascade.output
        scores, moves, points = network(crops)
        likely = scores >= least
        boxes, scores = boxes[likely], scores[likely]
        sides = boxes[:, 2:] - boxes[:, :2]
        spots = boxes[:, None, :2] + points[likely].transpose(1, 2) * sides[:, None]
        boxes = _move(boxes, moves[likely])
        indices = _apart(boxes, scores, 0.7, of_the_smaller=True)
        return boxes[indices], spots[indices], scores[indices]


def _face(box: Tensor, spots: Tensor, score: float, border: int, scale: float) -> Face:
    left, upper, right, lower = ((box - border) * scale).tolist()
    (eye_x, eye_y), (other_x, other_y), *_ = spots.tolist()
    return Face(
        (left + right) / 2,
        (upper + lower) / 2,
        max(right - left, lower - upper),
        math.degrees(math.atan2(other_y - eye_y, other_x - eye_x)),
        score,
        tuple((x, y) for x, y in spots.tolist()),
    )


def _scales(size: Size) -> Iterator[float]:
    """Yield the scales of the copies, the largest first, down to the one in which a face fills the copy."""
    scale = PROPOSAL_PX / LEAST_PX
    while min(size) * scale >= PROPOSAL_PX:
        yield scale
        scale *= SHRINK


def _pixels(picture: Image.Image) -> Tensor:
    """Return (1, 3, H, W), uint8."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]


def _crops(picture: Image.Image, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Return the boxes made square, and their pixels at that side as a network takes them; black beyond the picture."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True).clamp(min=1) / 2
    square = torch.cat([middle - half, middle + half], 1)
    crops = [
        _pixels(picture.crop(box).resize((side, side), Image.Resampling.BOX)) for box in square.round().int().tolist()
    ]
    return square, normalise(torch.cat(crops) if crops else torch.empty(0, 3, side, side))


def _move(boxes: Tensor, moves: Tensor) -> Tensor:
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + moves * torch.cat([sides, sides], 1)


def _apart(boxes: Tensor, scores: Tensor, most: float, *, of_the_smaller: bool = False) -> Tensor:
    """Return the indices of boxes, the surest first, no two of which overlap by more than `most` of their area.

    The area is that of both boxes together; with `of_the_smaller`, that of the smaller box.
    """
    order = scores.argsort(descending=True)[: 4 * MOST_PROPOSALS]
    boxes = boxes[order]
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    both = (
        (torch.minimum(boxes[:, None, 2:], boxes[None, :, 2:]) - torch.maximum(boxes[:, None, :2], boxes[None, :, :2]))
        .clamp(min=0)
        .prod(2)
    )
    all_of = torch.minimum(area[:, None], area) if of_the_smaller else area[:, None] + area - both
    near = (both > most * all_of).numpy()
    indices: list[int] = []
    duplicate = np.zeros(len(boxes), dtype=bool)
    for index in range(len(boxes)):
        if not duplicate[index]:
            indices.append(index)
            duplicate |= near[index]
    return order[torch.tensor(indices, dtype=torch.long)]
