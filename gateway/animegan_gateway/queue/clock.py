"""How long ago something was, by a wall clock that may be set meanwhile."""

from __future__ import annotations

import time
from collections import deque

LEAST_JUMP_S = 1.0  # what is less is a clock that is being corrected, or a busy machine
MOST_JUMPS = 100


class Clock:
    """Tells a jump of the wall clock by the monotonic one, if `look` is called every few seconds.

    What was stamped before a jump forwards looks older than it is by the whole jump; `ago` and `age` take it away.
    After a jump back it looks younger, which is left so: late is better than early. `now` is in seconds since 1970, as
    it was at the last look.
    """

    def __init__(self) -> None:
        self.now = time.time()
        self._ahead_s = self.now - time.monotonic()
        self._jumps: deque[tuple[float, float]] = deque(maxlen=MOST_JUMPS)  # forwards: `now` after it, and by how much

    def look(self) -> float:
        """The seconds by which the clock was set since the last look: below zero if back, zero if it was not."""
        self.now = time.time()
        ahead_s = self.now - time.monotonic()
        jump_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        if abs(jump_s) < LEAST_JUMP_S:
            return 0.0
        if jump_s > 0:
            self._jumps.append((self.now, jump_s))
        return jump_s

    def ago(self, seconds: float) -> float:
        """What is stamped before this is at least so old."""
        at = self.now - seconds
        for after, jump_s in reversed(self._jumps):
            if at < after:
                at -= jump_s
        return at

    def age(self, stamp: float) -> float:
        """Seconds since then."""
        return max(0.0, self.now - stamp - sum(jump_s for after, jump_s in self._jumps if stamp < after))
