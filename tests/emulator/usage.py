"""How much each person has asked of an organization ("Rate and usage limits").

A call counts as one unit. The calls of the last seconds are counted; in the last fifth of
the limit answers ask for a pause, beyond it they refuse.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Limit:
    """A number of calls of a person within a number of seconds."""

    calls: int
    seconds: float

    @property
    def calm(self) -> int:
        """How many calls pass without being asked for a pause."""
        return self.calls * 4 // 5


class Usage:
    """The recent calls of each person, and the pauses that they were asked for."""

    def __init__(self) -> None:
        self.limit: Limit | None = None
        self.overruns = 0
        self.pauses = 0
        self._lock = threading.Lock()
        self._calls: defaultdict[str, deque[datetime]] = defaultdict(deque)
        self._pauses: dict[str, datetime] = {}

    def admit(self, user: str, moment: datetime) -> bool:
        """Count a call, also as an overrun if it comes within a pause; False beyond the limit."""
        with self._lock:
            self.overruns += moment < self._pauses.get(user, moment)
            calls = self._recent(user, moment)
            if self.limit and len(calls) >= self.limit.calls:
                return False
            if self.limit:
                calls.append(moment)
            return True

    def headers(self, user: str, moment: datetime) -> dict[str, str]:
        """Return what an answer says of the limit: nothing before the last fifth."""
        with self._lock:
            calls = self._recent(user, moment)
            if self.limit is None or len(calls) <= self.limit.calm:
                return {}
            window = timedelta(seconds=self.limit.seconds)
            enough = calls[len(calls) - self.limit.calm - 1] + window - moment
            # The reader has the clock of the machine, which the emulator's may be ahead of.
            reset = time.time() + (calls[-1] + window - moment).total_seconds()
            return {
                "Retry-After": str(max(1, math.ceil(enough.total_seconds()))),
                "X-RateLimit-Resource": "Core",
                "X-RateLimit-Limit": str(self.limit.calls),
                "X-RateLimit-Remaining": str(self.limit.calls - len(calls)),
                "X-RateLimit-Reset": str(math.ceil(reset)),
            }

    def note_pause(self, user: str, moment: datetime, seconds: str | None) -> None:
        """Take note of the Retry-After of an answer, whatever made it ask for a pause."""
        if seconds:
            with self._lock:
                end = moment + timedelta(seconds=float(seconds))
                self.pauses += moment >= self._pauses.get(user, moment)
                self._pauses[user] = max(end, self._pauses.get(user, end))

    def _recent(self, user: str, moment: datetime) -> deque[datetime]:
        calls = self._calls[user]
        window = timedelta(seconds=self.limit.seconds if self.limit else 0)
        while calls and calls[0] + window <= moment:
            calls.popleft()
        return calls
