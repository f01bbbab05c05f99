"""A face's crop: cut out of the photo upright and at the scale at which a network draws eyes, and blended back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from animegan.faces.detector import Face

UPRIGHT_DEG = 12  # a face that leans by less is cut as it stands
LARGEST = 2.0  # most by which a small face is enlarged
WORTH = 1.2  # a face that the network would see this much larger at the most is left as the scene has it
MOST_FACES = 12  # of one photo, the largest
CHIN_TO_HAIR = 0.08  # how far above the middle of a face its crop's middle is, in parts of its side
MASK = (0.68, 1.03)  # radii, in sides of the face, within which its crop counts in full, and beyond which not at all


@dataclass(frozen=True)
class Room:
    """The sizes that a network takes of a face, in px: a crop of `crop_px`, in which the face is `face_px` across."""

    crop_px: int
    face_px: int


@dataclass(frozen=True)
class Crop:
    """A square of the photo around a face: its left upper corner and side in px, and how it is turned in degrees.

    `face_px`: the side of the face.
    """

    left: int
    top: int
    side: int
    turn_deg: float
    face_px: float

    def cut(self, photo: Image.Image, room: Room) -> Image.Image:
        """Return the crop upright, at `room.crop_px`; beyond the photo's edges it is mirrored."""
        scale = room.crop_px / self.side
        around = math.ceil(self.side * (math.sqrt(2) - 1) / 2) + 1 if self.turn_deg else 0
        part = _mirror(photo, self.left - around, self.top - around, self.side + 2 * around)
        wide = room.crop_px + 2 * math.ceil(around * scale)
        box = (part.width - wide / scale) / 2
        box = max(0.0, box)
        part = part.resize((wide, wide), Image.Resampling.LANCZOS, (box, box, part.width - box, part.width - box))
        if self.turn_deg:
            part = part.rotate(self.turn_deg, Image.Resampling.BICUBIC)
        edge = (wide - room.crop_px) // 2
        return part.crop((edge, edge, edge + room.crop_px, edge + room.crop_px))

    def paste(self, drawing: Tensor, scene: Tensor, *, match_scene: bool) -> None:
        """Blend a drawn crop, uint8 (h, h, 3), into the drawn scene, uint8 (H, W, 3), in place.

        `match_scene`: the crop takes the scene's mean and spread of each channel, for a network that norms each
        picture.
        """
        planes = drawing.permute(2, 0, 1)[None].float()
        planes = F.interpolate(planes, (self.side, self.side), mode="bicubic", antialias=True)
        if self.turn_deg:
            planes = _turn(planes, self.turn_deg)
        height, width = scene.shape[:2]
        top, left = max(0, self.top), max(0, self.left)
        bottom, right = min(height, self.top + self.side), min(width, self.left + self.side)
        inner = (slice(top - self.top, bottom - self.top), slice(left - self.left, right - self.left))
        crop = planes[0].permute(1, 2, 0)[inner]
        weight = _mask(self.side, self.face_px, scene.device)[inner][..., None]
        under = scene[top:bottom, left:right].float()
        if match_scene:
            crop = _match(crop, under, weight)
        scene[top:bottom, left:right] = torch.lerp(under, crop, weight).add_(0.5).clamp_(0, 255).to(torch.uint8)


def crops(faces: Sequence[Face], room: Room, scene_scale: float) -> list[Crop]:
    """Return the crops of the faces that are worth one, the largest faces last, so that they lie on top.

    `scene_scale`: how far the photo is shrunk where the network draws the scene.
    """
    selection = []
    for face in faces:
        scale = min(LARGEST, room.face_px / face.side)
        if scale >= WORTH * scene_scale:
            selection.append(_crop(face, round(room.crop_px / scale)))
    return selection[:MOST_FACES][::-1]


def most_side(room: Room, scene_scale: float) -> int:
    """Return the side, in px, of the largest crop that `crops` returns."""
    return math.ceil(room.crop_px / min(LARGEST, WORTH * scene_scale))


def _crop(face: Face, side: int) -> Crop:
    turn_deg = face.lean_deg if abs(face.lean_deg) >= UPRIGHT_DEG else 0.0
    up = CHIN_TO_HAIR * face.side
    x = face.x + up * math.sin(math.radians(turn_deg))
    y = face.y - up * math.cos(math.radians(turn_deg))
    return Crop(round(x - side / 2), round(y - side / 2), side, turn_deg, face.side)


def _mirror(photo: Image.Image, left: int, top: int, side: int) -> Image.Image:
    """Return a square of the photo, whose left upper corner may lie outside of it."""
    inner = (max(0, left), max(0, top), min(photo.width, left + side), min(photo.height, top + side))
    part = photo.crop(inner)
    beyond = ((inner[1] - top, top + side - inner[3]), (inner[0] - left, left + side - inner[2]), (0, 0))
    return Image.fromarray(np.pad(np.asarray(part), beyond, mode="symmetric")) if any(map(any, beyond)) else part


def _turn(planes: Tensor, degrees: float) -> Tensor:
    """Return (1, 3, h, h) turned around its middle so that what stood upright leans to the right."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = torch.tensor([[[cos, sin, 0], [-sin, cos, 0]]], dtype=torch.float32, device=planes.device)
    grid = F.affine_grid(turn, list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def _mask(side: int, face_px: float, device: torch.device) -> Tensor:
    """Return the weight of a crop, (side, side): 1 in its middle, smoothly 0 towards its edges."""
    place = (torch.arange(side, device=device, dtype=torch.float32) + 0.5 - side / 2) / face_px
    radius = (place[:, None].square() + place.square()).sqrt_()
    full, none = MASK
    part = ((none - radius) / (none - full)).clamp_(0, 1)
    return part.square() * (3 - 2 * part)


def _match(crop: Tensor, scene: Tensor, weight: Tensor) -> Tensor:
    """Return the crop with the scene's mean and spread of each channel, (h, w, 3), where `weight` (h, w, 1) counts."""
    total = weight.sum()

    def statistics(picture: Tensor) -> tuple[Tensor, Tensor]:
        mean = (picture * weight).sum((0, 1)) / total
        return mean, (((picture - mean).square() * weight).sum((0, 1)) / total).sqrt().clamp(min=1)

    mean, spread = statistics(crop)
    scene_mean, scene_spread = statistics(scene)
    return (crop - mean) * (scene_spread / spread).clamp(0.75, 1.33) + scene_mean
