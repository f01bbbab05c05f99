"""A clip drawn frame by frame: one detail and one measure of light for a scene, and steady where it stands still."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PIL import Image, ImageChops

from animegan.clips.animation import Animation, Frame
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


@dataclass
class ClipDrawing:
    """A clip on its way through a stylizer, frame by frame.

    `frames`: how many there are. `wish`: with `mode=auto` faces are left out, since one that is found in some frames
    alone would flicker. `steady`: whether frames are blended where the clip stands still. `pace`: whose most time is
    for all frames together. The plan and the seconds are there once frames were drawn.
    """

    stylizer: Stylizer
    wish: Wish
    frames: int
    steady: bool = True
    pace: Pace | None = None
    plan: LookPlan | None = None
    recovered: bool = False
    run_seconds: float = 0.0
    faces: int = 0

    def draw(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Yield each frame drawn. Raise `PictureTooLarge`, `PictureTooSlow`, or what reading a frame raises."""
        continuity, steadying = Continuity(), Steadying()
        deadline = self.pace.clip(self.frames) if self.pace else None
        small_size = None
        before: tuple[Image.Image, Image.Image] | None = None
        for number, frame in enumerate(frames):
            interrupt_if_asked()
            report(min(1.0, number / self.frames))
            if before and _same(frame.rgb, before[0]):
                yield replace(frame, rgb=before[1])
                continue
            began = time.perf_counter()
            device = self.stylizer.device
            if steadying.look(upload([frame.rgb], device)[0]):
                continuity.forget()
                small_size = self.stylizer.shrink(self.wish)(frame.rgb)
            with part(min(1.0, number / self.frames), min(1.0, (number + 1) / self.frames)):
                run = self._run(frame.rgb, small_size, continuity)
            drawing = steadying.blend(run.batch[0]) if self.steady else run.batch[0]
            [picture] = download(drawing[None])
            self.run_seconds += time.perf_counter() - began
            self.plan, self.recovered = run.plan, self.recovered or run.recovered
            if deadline:
                deadline.check(run.plan.network, frame.rgb.size, number + 1)
            before = frame.rgb, picture
            yield replace(frame, rgb=picture)

    def encode(self, animation: Animation, kind: str, quality: int) -> Encoded:
        """Return the file of the animation's frames, each written once it is drawn. Raise as `draw`."""
        frames = self.draw(animation.read())
        return write(kind, frames, animation.size, animation.plays, has_alpha=animation.has_alpha, quality=quality)

    def _run(self, rgb: Image.Image, small_size: Size | None, continuity: Continuity) -> Run:
        faces = find(rgb, "portrait") if self.wish.mode == "portrait" and self.wish.strength > 0 else ()
        self.faces = max(self.faces, len(faces))
        small = None
        if small_size and small_size != rgb.size:
            small = pillow_lanczos(rgb, small_size, (0, 0, *rgb.size))
        return self.stylizer.run([Photo(rgb, small, faces)], self.wish, continuity)


def _same(one: Image.Image, other: Image.Image) -> bool:
    return ImageChops.difference(one, other).getbbox() is None
