"""Ages by a wall clock that may be set meanwhile."""

from __future__ import annotations

import time
from collections import deque

LEAST_JUMP_S = 1.0  # less is a clock being slewed, or a busy machine
MOST_JUMPS = 100


class Clock:
    """Detects jumps of the wall clock by the monotonic one, if `look` is called every few seconds.

    A time stamp from before a jump forwards looks too old by the jump, which `ago` and `age` subtract. One from before
    a jump back looks too young, which stays so: late is better than early. `now` is in seconds since 1970, as
    it was at the last look.
    """

    def __init__(self) -> None:
        self.now = time.time()
        self._ahead_s = self.now - time.monotonic()
        self._jumps: deque[tuple[float, float]] = deque(maxlen=MOST_JUMPS)  # forwards: `now` after it, and by how much

    def look(self) -> float:
        """Return the seconds by which the clock was set since the last look: below 0 if back, 0 if it was not set."""
        self.now = time.time()
        ahead_s = self.now - time.monotonic()
        jump_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        if abs(jump_s) < LEAST_JUMP_S:
            return 0.0
        if jump_s > 0:
            self._jumps.append((self.now, jump_s))
        return jump_s

    def ago(self, seconds: float) -> float:
        """Return the time stamp before which everything is at least so old."""
        at = self.now - seconds
        for after, jump_s in reversed(self._jumps):
            if at < after:
                at -= jump_s
        return at

    def age(self, stamp: float) -> float:
        """Return the seconds since that time stamp."""
        return max(0.0, self.now - stamp - sum(jump_s for after, jump_s in self._jumps if stamp < after))
