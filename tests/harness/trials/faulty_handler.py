"""A handler that fails on purpose: what a picture's comment asks for happens while it is decoded."""

from __future__ import annotations

ENDS_ITS_WORKER = b"ends its worker"
ALWAYS = 1_000_000


def no_memory(times: int) -> bytes:
    """Return the comment of a JPEG that is refused so many times for lack of memory, and drawn then."""
    return f"finds no memory {times} times".encode()


# Added to animegan_handler.py inside an archive.
HANDLER = f"""

def _decode_or_fail(self, fields, headers, decode=AnimeganHandler._decode, refused=[]):
    import os, re, signal
    from animegan.errors import OutOfMemory

    picture = bytes(fields.get("body", b""))
    if {ENDS_ITS_WORKER!r} in picture:
        os.kill(os.getpid(), signal.SIGSEGV)
    times = re.search(rb"finds no memory ([0-9]+) times", picture)
    if times and refused.count(picture) < int(times[1]):
        refused.append(picture)
        return forms.Ask(headers, items=[Item(Failed(OutOfMemory("No memory is left for this picture now.")))])
    return decode(self, fields, headers)


AnimeganHandler._decode = _decode_or_fail
"""
