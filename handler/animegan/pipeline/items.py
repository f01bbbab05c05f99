"""Pictures on their way through the pipeline, and the phases that they go through."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

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
from animegan.resources.interruption import checking
from animegan.resources.progress import observer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Decoded:
    """A picture that can be drawn, and the faces that are drawn apart."""

    options: Options
    source: images.Picture
    faces: tuple[Face, ...] = ()


@dataclass(frozen=True)
class DecodedClip:
    """An animation or a video whose frames can be drawn."""

    options: Options
    source: Clip


@dataclass(frozen=True)
class Method:
    """How something was drawn. `plan`: None where nothing was left to draw."""

    plan: LookPlan | None
    recovered: bool  # memory ran out, and it was drawn all the same


@dataclass(frozen=True)
class Drawn:
    """A picture that is drawn, and no file yet: uint8 (H, W, 3) where the device writes the file."""

    decoded: Decoded
    method: Method
    pixels: Image.Image | Tensor


@dataclass(frozen=True)
class Finished:
    """A file, and its report."""

    decoded: Decoded | DecodedClip
    method: Method
    encoded: images.Encoded
    report: Report


@dataclass(frozen=True)
class Failed:
    """An error, and how far the picture had come before it."""

    error: AnimeganError
    decoded: Decoded | DecodedClip | None = None
    method: Method | None = None


State = Decoded | DecodedClip | Drawn | Finished | Failed


@dataclass
class Item:
    """One picture on its way: its state, None until it is decoded, and who follows it. A failed one goes no further."""

    state: State | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    times_ns: dict[str, tuple[int, int]] = field(default_factory=dict)  # of a phase's first start and last end, UTC
    pending: Future[None] | None = None  # its decoding; once it is drawn, its encoding
    abandoned: Callable[[], bool] = lambda: False  # whether nobody waits for it any more; asked again and again
    progress: Callable[[float], None] = lambda _: None  # is told again and again how much of it is drawn, 0 to 1

    @property
    def decoded(self) -> Decoded | DecodedClip | None:
        """Return what is drawn, also where that failed."""
        match self.state:
            case Decoded() | DecodedClip():
                return self.state
            case Drawn() | Finished() | Failed():
                return self.state.decoded
        return None

    @property
    def method(self) -> Method | None:
        """Return how it was drawn, also where its file could not be written."""
        return self.state.method if isinstance(self.state, Drawn | Finished | Failed) else None

    @property
    def error(self) -> AnimeganError | None:
        return self.state.error if isinstance(self.state, Failed) else None

    @property
    def finished(self) -> Finished | None:
        return self.state if isinstance(self.state, Finished) else None

    def fail(self, error: AnimeganError) -> None:
        self.state = Failed(error, self.decoded, self.method)

    def recover(self) -> None:
        """Note of a picture that is drawn that memory had run out before."""
        if isinstance(self.state, Drawn):
            self.state = replace(self.state, method=Method(self.state.method.plan, recovered=True))

    def result(self) -> Finished:
        """Return its file and report. Raise its `AnimeganError`."""
        if isinstance(self.state, Failed):
            raise self.state.error
        assert isinstance(self.state, Finished)
        return self.state


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
            item.fail(failure)
    finally:
        seconds = time.perf_counter() - start
        for item in items:
            item.seconds[name] = item.seconds.get(name, 0) + seconds
            first_ns, _ = item.times_ns.get(name, (began_ns, began_ns))
            item.times_ns[name] = (first_ns, began_ns + round(seconds * 1e9))


@contextmanager
def attend(items: Sequence[Item]) -> Iterator[None]:
    """Tell each item how far its drawing is. Raise `Interrupted`, also at once, where nobody waits for any of them."""

    def check() -> None:
        if all(item.abandoned() for item in items):
            raise Interrupted("The drawing was interrupted, as its job was cancelled. Send the picture again.")

    def tell(share: float) -> None:
        for item in items:
            item.progress(share)

    check()
    with checking(check), observer(tell):
        yield


def _as_ours(error: Exception, phase: str) -> AnimeganError:
    if isinstance(error, AnimeganError):
        return error
    if memory.is_out_of_memory(error):
        return OutOfMemory("There is not enough memory for this picture now. Lower max_side, or try again later.")
    logger.error("%s failed", phase, exc_info=error)
    return InternalError("The picture could not be drawn, and the fault is the server's: its log has the details.")
