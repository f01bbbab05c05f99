"""The networks as a list of convolutions, one after the other, and the maps between them. Imports no torch."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

FEATURES = 64
GROWTH = 32
BLOCKS = 6
SLOPE = 0.2  # of every LeakyReLU
SCALE = 0.2  # of what a dense block, and a block of three, adds to its input
VIDEO_CONVOLUTIONS = 17  # of `RedrawVideo`, before its last
ENLARGED = 4  # a drawing's side over its photo's
PHOTO = "photo"
DRAWING = "drawing"


@dataclass(frozen=True)
class Map:
    """A map: its channels, and how many times as large as the photo it is."""

    channels: int
    scale: int = 1


@dataclass(frozen=True)
class Step:
    """A convolution of the first `channels_in` channels of `source` into `channels` of `target`, from `at` on.

    It writes `alpha * act(conv + bias) + beta * residual + gamma * residual2`; a residual is the first channels of a
    map. `up`: the nearest pixel is read at twice the size. `prelu`: the name of the activation's weights. A step that
    has no name copies.
    """

    name: str
    source: str
    channels_in: int
    target: str
    channels: int
    at: int = 0
    up: bool = False
    slope: float = 1.0
    prelu: str = ""
    alpha: float = 1.0
    residual: str = ""
    beta: float = 1.0
    residual2: str = ""
    gamma: float = 1.0

    @property
    def halo(self) -> int:
        """Return how many rows below and above a row it reads, of a map that is not all there."""
        return 1 if self.name and self.source != PHOTO else 0


@dataclass(frozen=True)
class Program:
    """A network: its steps in order, each of which reads what the one before it wrote, and its maps."""

    steps: tuple[Step, ...]
    maps: dict[str, Map]

    def __hash__(self) -> int:
        return hash(self.steps)


def redraw(blocks: int = BLOCKS) -> Program:
    """Return the program of `model.Redraw` with that many blocks."""
    maps = {PHOTO: Map(3), "features": Map(FEATURES), "body": Map(FEATURES)}
    steps = [Step("first", PHOTO, 3, "dense0", FEATURES)]
    for block, inner in itertools.product(range(blocks), range(3)):
        index = 3 * block + inner
        source, target = f"dense{index}", f"dense{index + 1}"
        maps[source] = Map(FEATURES + 4 * GROWTH)
        if inner == 0:
            # What the block's end adds is kept longest, and alone: beside what grows from it, it would be three times
            # as wide.
            maps[f"outer{block}"] = Map(FEATURES)
            steps.append(Step("", source, FEATURES, f"outer{block}", FEATURES))
        name = f"body.{block}.r.{inner}.c"
        for growth in range(4):
            end = FEATURES + growth * GROWTH
            steps.append(Step(f"{name}.{growth}", source, end, source, GROWTH, end, slope=SLOPE))
        # What the last of three dense blocks adds is scaled once more, and added to what the first one read.
        share, outer = (SCALE, f"outer{block}") if inner == 2 else (1.0, "")
        steps.append(
            Step(
                f"{name}.4", source, maps[source].channels, target, FEATURES,
                alpha=SCALE * share, residual=source, beta=share, residual2=outer,
            )
        )  # fmt: skip
    body = f"dense{3 * blocks}"
    maps[body] = Map(FEATURES)
    # The features are computed once more where they are added: to keep them would take more rows than any other map.
    steps.append(Step("first", PHOTO, 3, "features", FEATURES))
    steps.append(Step("cb", body, FEATURES, "body", FEATURES, residual="features"))
    maps |= {"twice": Map(FEATURES, 2), "fourfold": Map(FEATURES, 4), "fine": Map(FEATURES, 4), DRAWING: Map(3, 4)}
    steps += [
        Step("u1", "body", FEATURES, "twice", FEATURES, up=True, slope=SLOPE),
        Step("u2", "twice", FEATURES, "fourfold", FEATURES, up=True, slope=SLOPE),
        Step("hr", "fourfold", FEATURES, "fine", FEATURES, slope=SLOPE),
        Step("last", "fine", FEATURES, DRAWING, 3),
    ]
    return Program(tuple(steps), maps)


def redraw_video() -> Program:
    """Return the program of `model.RedrawVideo`."""
    maps = {PHOTO: Map(3), DRAWING: Map(48)}
    steps, source = [], PHOTO
    for index in range(VIDEO_CONVOLUTIONS):
        target = f"map{index}"
        maps[target] = Map(FEATURES)
        steps.append(
            Step(f"b.{2 * index}", source, maps[source].channels, target, FEATURES, prelu=f"b.{2 * index + 1}.weight")
        )
        source = target
    steps.append(Step(f"b.{2 * VIDEO_CONVOLUTIONS}", source, FEATURES, DRAWING, 48))
    return Program(tuple(steps), maps)


REDRAW = redraw()
REDRAW_VIDEO = redraw_video()
