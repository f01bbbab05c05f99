"""A clip drawn frame by frame: one detail and one measure of light for a scene, and steady where it stands still."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from PIL import Image, ImageChops

from animegan.clips.animation import Animation
from animegan.clips.clip import Frame
from animegan.clips.steadying import Steadying
from animegan.clips.writing import write
from animegan.drawing import LookPlan, Photo
from animegan.faces.detector import find
from animegan.finish.continuity import Continuity
from animegan.options import Wish
from animegan.picture.images import Encoded
from animegan.picture.pixels import pillow_lanczos
from animegan.picture.sizes import Size
from animegan.picture.transfer import download, upload
from animegan.resources.interruption import interrupt_if_asked
from animegan.resources.pace import Pace
from animegan.resources.progress import part, report

if TYPE_CHECKING:
    from animegan.stylizer import Run, Stylizer


F = TypeVar("F", bound=Frame)

HELD_BYTES = 24  # of each pixel: of the last frame its photo and its drawing, what steadies the next, its own drawing


@dataclass
class ClipDrawing:
    """A clip on its way through a stylizer, frame by frame.

    `frames`: how many there are; `position`: how many of them are drawn; `name`: what they are called, as in "The
    video". `wish`: with `mode=auto` faces are left out, since one that is found in some frames alone would flicker.
    `steady`: whether frames are blended where the clip stands still. `pace`: whose most time is for all frames
    together. `beside_bytes`: what decoding and encoding take meanwhile.

    The plan and the seconds are there once frames were drawn.
    """

    stylizer: Stylizer
    wish: Wish
    frames: int
    name: str = Animation.name
    steady: bool = True
    pace: Pace | None = None
    beside_bytes: int = 0
    position: int = 0
    plan: LookPlan | None = None
    recovered: bool = False
    run_seconds: float = 0.0
    network_seconds: float = 0.0
    faces: int = 0
    _continuity: Continuity = field(default_factory=Continuity)
    _steadying: Steadying = field(default_factory=Steadying)
    _small_size: Size | None = None
    _before: tuple[Image.Image, Image.Image] | None = None  # the last photo and its drawing

    def draw(self, frames: Iterable[F]) -> Iterator[F]:
        """Yield each frame drawn. Raise `PictureTooLarge`, `PictureTooSlow`, or what reading a frame raises."""
        deadline = self.pace.clip(self.name, self.frames) if self.pace else None
        for frame in frames:
            interrupt_if_asked()
            report(self._share(self.position))
            if not (self._before and _same(frame.rgb, self._before[0])):
                self._draw(frame.rgb)
                if deadline and self.plan:
                    deadline.check(self.plan.network, frame.rgb.size, self.position + 1, self.network_seconds)
            self.position += 1
            assert self._before
            yield replace(frame, rgb=self._before[1])

    def encode(self, animation: Animation, kind: str, quality: int) -> Encoded:
        """Return the file of the animation's frames, each written once it is drawn. Raise as `draw`."""
        frames = self.draw(animation.read())
        return write(kind, frames, animation.size, animation.plays, has_alpha=animation.has_alpha, quality=quality)

    def state(self) -> dict[str, Any]:
        """Return what the frames that follow depend on: tensors, numbers and tuples."""
        before = self._before and [torch.from_numpy(np.array(image)) for image in self._before]
        parts = {"continuity": self._continuity.state(), "steadying": self._steadying.state()}
        return {"done": self.position, "before": before, "small_size": self._small_size, **parts}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another drawing of the same clip was, by its `state`."""
        self.position, self._small_size = state["done"], state["small_size"]
        if state["before"]:
            photo, picture = (Image.fromarray(pixels.numpy()) for pixels in state["before"])
            self._before = photo, picture
        self._continuity.restore(state["continuity"])
        self._steadying.restore(state["steadying"], self.stylizer.device)

    def _draw(self, photo: Image.Image) -> None:
        began = time.perf_counter()
        if self._steadying.look(upload([photo], self.stylizer.device)[0]):
            self._continuity.forget()
            self._small_size = self.stylizer.shrink(self.wish)(photo)
        with part(self._share(self.position), self._share(self.position + 1)):
            drawn_from = time.perf_counter()
            run = self._run(photo, self._small_size, self._continuity)
            self.network_seconds += time.perf_counter() - drawn_from
        drawing = self._steadying.blend(run.batch[0]) if self.steady else run.batch[0]
        [picture] = download(drawing[None])
        self.run_seconds += time.perf_counter() - began
        self.plan, self.recovered = run.plan, self.recovered or run.recovered
        self._before = photo, picture

    def _share(self, position: int) -> float:
        return min(1.0, position / self.frames)

    def _run(self, rgb: Image.Image, small_size: Size | None, continuity: Continuity) -> Run:
        faces = find(rgb, "portrait") if self.wish.mode == "portrait" and self.wish.strength > 0 else ()
        self.faces = max(self.faces, len(faces))
        small = None
        if small_size and small_size != rgb.size:
            small = pillow_lanczos(rgb, small_size, (0, 0, *rgb.size))
        return self.stylizer.run([Photo(rgb, small, faces)], self.wish, continuity, self._beside(rgb.size))

    def _beside(self, size: Size) -> int:
        """Return what the clip takes beside the drawing of a frame, and does not hold yet."""
        if self.position and not self.stylizer.memory_mb:
            return 0  # what is free is without it by now
        return self.beside_bytes + size[0] * size[1] * HELD_BYTES


def _same(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one, other).getbbox() is None
