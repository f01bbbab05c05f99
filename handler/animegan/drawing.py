"""A look on one device: the photo shrunk, drawn by the network, scaled to its size, and finished."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torch.profiler import record_function

from animegan.faces.crops import Crop, Room, crops, most_side
from animegan.faces.detector import Face
from animegan.finish.blend import with_photo_color, with_strength
from animegan.finish.chain import SMALL_PX, Chain, planar, shrink, to_pixels
from animegan.finish.continuity import Continuity
from animegan.finish.table import SIDE, Table
from animegan.finish.tone import Curve, corrections, measure_curve, retone
from animegan.looks import Look
from animegan.networks.families import Network
from animegan.networks.plan import Plan, Shape, ever_smaller
from animegan.options import Wish
from animegan.picture.detail import FACTORS, choose_detail, shrunk_size
from animegan.picture.pixels import pillow_lanczos
from animegan.picture.sizes import Size
from animegan.picture.transfer import upload, wait
from animegan.resources.progress import part
from animegan.settings import Detail, DetailOption

FINISH_ROWS = 128  # of a band of the finish, at the least
NETWORK_SHARE = 0.8  # of the time that a picture takes, about
BLEND_PX = 2**18  # pixels that are blended with their photo at a time
BLEND_PIXEL_BYTES = 64  # what that takes of each
TONE_PIXEL_BYTES = 120  # what measuring and correcting tones takes, of each pixel of a copy of at most `SMALL_PX`²
SHRUNK_FACES = Room(crop_px=128, face_px=60)  # for a network that enlarges: it draws eyes and mouth at 50 to 90 px
EVEN_FACES = Room(crop_px=384, face_px=180)  # for one that draws a photo at its own size
FACE_PIXEL_BYTES = 96  # of a crop, while it is scaled, turned and blended: fp32 planes


@dataclass(frozen=True)
class Photo:
    """A fitted photo, RGB; `small` is the same, shrunk once from what was decoded. `faces` are to be drawn again."""

    image: Image.Image
    small: Image.Image | None = None
    faces: tuple[Face, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LookPlan(Plan):
    """How a picture runs through a look; `shape` and `peak_bytes` are the whole's, `network` is the network's part.

    `face` is how the network draws a face's crop; None: none is drawn.
    """

    network: Plan
    face: Plan | None
    detail: Detail | None
    finish_rows: int


@dataclass(frozen=True)
class Drawn:
    """Drawings, uint8 (N, H, W, 3), and the seconds that it took to draw faces again."""

    batch: Tensor
    face_seconds: float = 0.0


class Clock:
    """Counts the seconds that the device takes for what is done inside."""

    def __init__(self, device: torch.device) -> None:
        self.seconds = 0.0
        self._device = device

    def __enter__(self) -> None:
        wait(self._device)
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        wait(self._device)
        self.seconds += time.perf_counter() - self._start


class Drawing:
    """A look's network and finish. Pictures are uint8 (N, H, W, 3), RGB, on the network's device."""

    def __init__(self, look: Look, network: Network, device: torch.device, itemsize: int) -> None:
        self.look = look
        self.network = network
        self.device = device
        self.itemsize = itemsize
        self.chain = Chain(look.finish)
        self.room = EVEN_FACES if look.detail is None else SHRUNK_FACES

    def details(self, wish: DetailOption, photo: Image.Image | None = None) -> tuple[Detail | None, ...]:
        """Return the details to try, the best first; None where the look has no such choice.

        `auto` is what the photo shows, or less where memory is short; `bold` where there is no photo to look at.
        """
        if self.look.detail is None:
            return (None,)
        if wish != "auto":
            return (wish,)
        return self.up_to(choose_detail(photo) if photo else "bold")

    def up_to(self, best: Detail) -> tuple[Detail | None, ...]:
        """Return that detail and the ones below it, the best first."""
        return tuple(detail for detail in reversed(FACTORS) if FACTORS[detail] <= FACTORS[best])

    def small_size(self, size: Size, detail: Detail | None) -> Size:
        """Return the size at which the network takes a photo that is fitted to `size`, in px."""
        if self.look.detail is None or detail is None:
            return size
        return shrunk_size(size, min(1.0, self.look.detail.shrink * FACTORS[detail]))

    def batch_size(self, size: Size, budget_bytes: int) -> int:
        """Return how many photos of that size to draw as one batch: at least 1, which may be too large."""
        width, height = self.small_size(size, "bold")
        return self.network.batch_size(height, width, budget_bytes)

    def plans(
        self, size: Size, batch: int, details: Sequence[Detail | None], *, faces: bool = False
    ) -> Iterator[LookPlan]:
        """Yield the ways to draw photos of that size, the first choice first, each smaller than the one before it.

        `faces`: they hold faces that are drawn again, which is left out where memory is too short for it.
        """
        ways = (self._plans(size, batch, details, faces=some) for some in ((True, False) if faces else (False,)))
        return ever_smaller(itertools.chain.from_iterable(ways))

    def _plans(self, size: Size, batch: int, details: Sequence[Detail | None], *, faces: bool) -> Iterator[LookPlan]:
        width, height = size
        shape = Shape(height, width, batch, self.itemsize)
        photo_bytes = batch * 3 * width * height
        for detail in details:
            small_width, small_height = self.small_size(size, detail)
            for network in self.network.plans(small_height, small_width, batch):
                peak, rows = network.peak_bytes, self._finish_rows(height, width, network.peak_bytes - 3 * photo_bytes)
                pictures_bytes = 3 * photo_bytes  # the drawing before and after a step, and the photo
                if self.look.detail:
                    drawing = batch * 3 * small_width * small_height * self.network.enlarges**2
                    # Scaling works on the rows first, and on a GPU in fp32.
                    scaling = (
                        drawing + photo_bytes + 3 * max(width * small_height * self.network.enlarges, width * height)
                    )
                    peak = max(peak, scaling * (3 if network.cuda else 1))
                if self.chain.steps:
                    peak = max(peak, pictures_bytes + self.chain.peak_bytes(height, width, rows))
                peak = max(peak, pictures_bytes + BLEND_PIXEL_BYTES * min(BLEND_PX, width * height))
                peak = max(peak, pictures_bytes + TONE_PIXEL_BYTES * min(SMALL_PX**2, width * height))
                face = None
                if faces:
                    face, most = self._face(peak - pictures_bytes, small_width / width)
                    peak = max(peak, pictures_bytes + most)
                yield LookPlan(
                    network.mode, shape, network.cuda, peak, network.work,
                    network=network, face=face, detail=detail, finish_rows=rows,
                )  # fmt: skip

    def _face(self, budget_bytes: int, scene_scale: float) -> tuple[Plan, int]:
        """Return how to draw a face's crop, within that memory where it can be, and what it takes at the most."""
        side = self.room.crop_px
        ways = list(self.network.plans(side, side, 1))
        plan = next((way for way in ways if way.peak_bytes <= budget_bytes), ways[-1])
        drawing = 3 * (side * self.network.enlarges) ** 2
        pasting = 5 * drawing + FACE_PIXEL_BYTES * most_side(self.room, scene_scale) ** 2
        return plan, max(plan.peak_bytes, pasting)

    def _finish_rows(self, height: int, width: int, budget_bytes: int) -> int:
        """Return the rows of a band of the finish: as many as the network's memory holds.

        A band's halo is made twice, so it is not to be most of it.
        """
        rows = max(FINISH_ROWS, 2 * self.chain.halo(height, width), self.chain.rows(height, width, budget_bytes))
        return min(height, rows)

    def takes_photos_tone(self, wish: Wish) -> bool:
        """Return whether a drawing is given its photo's light and dark."""
        return wish.tone == "photo" or (wish.tone == "auto" and not self.network.keeps_tone)

    @torch.inference_mode()
    def draw(
        self,
        photos: Sequence[Photo],
        plan: LookPlan,
        wish: Wish,
        typical: Curve = (),
        continuity: Continuity | None = None,
    ) -> Drawn:
        """Draw photos of one size. `typical`: the look's curve of tones, where the photos' own are wished for.

        `continuity`: of the clip whose next frame is drawn.
        """
        size = photos[0].image.size
        if wish.strength <= 0:
            return Drawn(upload([photo.image for photo in photos], self.device))
        with record_function("transfer"):
            small = upload([self._small(photo, plan) for photo in photos], self.device)
        with part(0, NETWORK_SHARE):
            drawing = self.network.draw(small, plan.network)
        face_crops = [self._crops(photo, plan) for photo in photos]
        clock = Clock(self.device)
        if self.look.detail or self.chain.steps or any(face_crops):
            drawings = []
            for place, (photo, picture, of_photo) in enumerate(zip(photos, drawing, face_crops, strict=True)):
                with record_function("scale"):
                    scaled = self._scaled(picture, size)
                if plan.face and of_photo:
                    with record_function("faces"), clock:
                        self._draw_faces(photo, of_photo, plan.face, scaled)
                with part(*_finish_part(place, len(photos))):
                    drawings.append(
                        self.chain.apply(scaled, plan.finish_rows, continuity) if self.chain.steps else scaled
                    )
            drawing = torch.stack(drawings)
        if typical or wish.strength < 1 or wish.color == "photo":
            with record_function("blend"):
                pixels = upload([photo.image for photo in photos], self.device)
                for photo_pixels, picture in zip(pixels, drawing, strict=True):
                    if typical:
                        _retone(photo_pixels, picture, typical, continuity)
                    if wish.strength < 1 or wish.color == "photo":
                        _blend(photo_pixels, picture, wish)
        return Drawn(drawing, clock.seconds)

    def _crops(self, photo: Photo, plan: LookPlan) -> list[Crop]:
        if not plan.face:
            return []
        width, _ = self.small_size(photo.image.size, plan.detail)
        return crops(photo.faces, self.room, width / photo.image.width)

    def _draw_faces(self, photo: Photo, face_crops: Sequence[Crop], plan: Plan, scene: Tensor) -> None:
        """Draw faces from crops of their own into the drawn scene, (H, W, 3), before its finish."""
        for crop in face_crops:
            pixels = upload([crop.cut(photo.image, self.room)], self.device)
            [drawing] = self.network.draw(pixels, plan)
            crop.paste(drawing, scene, match_scene=self.look.detail is None)

    def _small(self, photo: Photo, plan: LookPlan) -> Image.Image:
        size = self.small_size(photo.image.size, plan.detail)
        if photo.small and photo.small.size == size:
            return photo.small
        return pillow_lanczos(photo.image, size, (0, 0, *photo.image.size))

    def _scaled(self, drawing: Tensor, size: Size) -> Tensor:
        """Return (H, W, 3) at that size: of a drawing that is larger by less than a pixel of the photo, the middle."""
        width, height = size
        above, left = drawing.shape[0] - height, drawing.shape[1] - width
        if 0 <= above < self.network.enlarges and 0 <= left < self.network.enlarges:
            return drawing[above // 2 : above // 2 + height, left // 2 : left // 2 + width]
        planes = drawing.permute(2, 0, 1)[None]
        if planes.is_cuda:  # where PyTorch scales no bytes
            planes = planes.float()
        [scaled] = F.interpolate(planes, (height, width), mode="bicubic", antialias=True)
        picture: Tensor = scaled.round().clamp_(0, 255).to(torch.uint8).permute(1, 2, 0)
        return picture


def _finish_part(place: int, count: int) -> tuple[float, float]:
    """Return from where to where the finish of one of `count` pictures goes, of the work on all of them."""
    each = (1 - NETWORK_SHARE) / count
    return NETWORK_SHARE + place * each, NETWORK_SHARE + (place + 1) * each


def _retone(photo: Tensor, drawing: Tensor, typical: Curve, continuity: Continuity | None) -> None:
    """Give a drawing its photo's light and dark, in place, a few rows at a time."""
    changes = corrections(measure_curve(shrink(photo), shrink(drawing)), typical)
    if continuity:
        changes = continuity.tones(changes)
    if not changes:
        return
    form: Callable[[Tensor], Tensor] = partial(retone, changes=changes)
    if len(photo) * photo.shape[1] > SIDE**3:  # a picture of more pixels than the table has entries
        form = Table(form, drawing.device).read
    rows = max(1, BLEND_PX // drawing.shape[1])
    for first in range(0, len(drawing), rows):
        part = drawing[first : first + rows]
        drawing[first : first + rows] = to_pixels(form(planar(part)))


def _blend(photo: Tensor, drawing: Tensor, wish: Wish) -> None:
    """Blend a drawing with its photo, in place, a few rows at a time."""
    rows = max(1, BLEND_PX // drawing.shape[1])
    for first in range(0, len(drawing), rows):
        part, source = drawing[first : first + rows], photo[first : first + rows]
        photo_color = with_photo_color(source, part) if wish.color == "photo" else part
        drawing[first : first + rows] = with_strength(source, photo_color, wish.strength)
