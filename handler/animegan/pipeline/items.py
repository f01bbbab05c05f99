"""Pictures on their way through the pipeline, and the phases that they go through."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor
from torch.profiler import record_function

from animegan.clips.opening import Clip
from animegan.drawing import LookPlan
from animegan.errors import AnimeganError, InternalError, Interrupted, OutOfMemory
from animegan.faces.detector import Face
from animegan.options import Options
from animegan.picture import images
from animegan.report import Report
from animegan.resources import memory
from animegan.resources.interruption import checked
from animegan.resources.progress import observer

logger = logging.getLogger(__name__)


@dataclass
class Item:
    """One picture on its way through; once `error` is set the later phases pass it by."""

    options: Options | None = None
    picture: images.Picture | None = None
    clip: Clip | None = None  # in place of the picture
    faces: tuple[Face, ...] = ()  # in it
    drawn: Image.Image | None = None
    pixels: Tensor | None = None  # uint8 (H, W, 3), in place of `drawn` where the device writes the file
    plan: LookPlan | None = None
    encoded: images.Encoded | None = None
    report: Report | None = None
    error: AnimeganError | None = None
    recovered: bool = False  # memory ran out, and it was drawn all the same
    seconds: dict[str, float] = field(default_factory=dict)
    times_ns: dict[str, tuple[int, int]] = field(default_factory=dict)  # of a phase's first start and last end, UTC
    pending: Future[None] | None = None  # its decoding; once it is drawn, its encoding
    abandoned: Callable[[], bool] = lambda: False  # whether nobody waits for it any more; asked again and again
    progress: Callable[[float], None] = lambda _: None  # is told again and again how much of it is drawn, 0 to 1

    @property
    def source(self) -> images.Picture | Clip | None:
        """Return what was decoded."""
        return self.picture or self.clip


@contextmanager
def phase(name: str, items: Sequence[Item]) -> Iterator[None]:
    """Time a phase of some items, and turn what it raises into the error of each."""
    began_ns, start = time.time_ns(), time.perf_counter()
    try:
        with record_function(name):
            yield
    except Exception as error:  # noqa: BLE001 - one picture's fault must not reach the rest of its batch
        failure = _as_ours(error, name).with_traceback(None)
        failure.__context__ = failure.__cause__ = None  # a traceback would keep the picture, in a cycle
        for item in items:
            item.error = failure
    finally:
        seconds = time.perf_counter() - start
        for item in items:
            item.seconds[name] = item.seconds.get(name, 0) + seconds
            first_ns, _ = item.times_ns.get(name, (began_ns, began_ns))
            item.times_ns[name] = (first_ns, began_ns + round(seconds * 1e9))


@contextmanager
def attended(items: Sequence[Item]) -> Iterator[None]:
    """Tell each item how far its drawing is. Raise `Interrupted`, also at once, where nobody waits for any of them."""

    def check() -> None:
        if all(item.abandoned() for item in items):
            raise Interrupted("The drawing was interrupted, as its job was cancelled. Send the picture again.")

    def tell(share: float) -> None:
        for item in items:
            item.progress(share)

    check()
    with checked(check), observer(tell):
        yield


def _as_ours(error: Exception, phase: str) -> AnimeganError:
    if isinstance(error, AnimeganError):
        return error
    if memory.is_out_of_memory(error):
        return OutOfMemory("There is not enough memory for this picture now. Lower max_side, or try again later.")
    logger.error("%s failed", phase, exc_info=error)
    return InternalError("The picture could not be drawn, and the fault is the server's: its log has the details.")
