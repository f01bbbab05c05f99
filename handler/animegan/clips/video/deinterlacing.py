"""Frames whose lines are of two moments, made of one: by FFmpeg's bwdif, from the lines beside and before. No torch.

Of a frame the earlier moment is kept, so that there are as many frames as before. One that is marked as whole passes as
it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from animegan.clips.video.libraries import guarded_video, pyav

if TYPE_CHECKING:
    from av import VideoFrame as Decoded
    from av.video.stream import VideoStream

FILTER = ("bwdif", "mode=send_frame:deint=interlaced")
HELD_FRAMES = 4  # those before and after, and the one that is made


def deinterlace(frames: Iterable[Decoded], stream: VideoStream) -> Iterator[Decoded]:
    """Yield the frames of a stream, each without a second moment. Raise `BadImage`."""
    av = pyav()
    graph: Any = av.filter.Graph()
    nodes = (graph.add_buffer(template=stream), graph.add(*FILTER), graph.add("buffersink"))
    for node, after in pairwise(nodes):
        node.link_to(after)
    graph.configure()
    for frame in frames:
        with guarded_video():
            graph.push(frame)
        yield from _pull(graph, stream)
    with guarded_video():
        graph.push(None)
    yield from _pull(graph, stream)


def _pull(graph: Any, stream: VideoStream) -> Iterator[Decoded]:
    av = pyav()
    while True:
        with guarded_video():
            try:
                frame = graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
        if frame.pts is not None:
            frame.pts = round(frame.pts * frame.time_base / stream.time_base)
            frame.time_base = stream.time_base
        yield frame
