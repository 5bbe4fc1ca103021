"""The present moment, and a clock that can be moved ahead of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


class Clock:
    """The clock of an emulator: it runs like any clock, and a test moves it ahead.

    `on_the_way` is called with the moment to which it is moved, and does what falls due till then.
    """

    def __init__(self) -> None:
        self.ahead = timedelta()
        self.on_the_way: Callable[[datetime], None] = self.set

    def now(self) -> datetime:
        """Return its present moment in UTC."""
        return now() + self.ahead

    def move(self, **by: float) -> datetime:
        """Move it ahead by hours=36, days=7 … (as of `timedelta`) and return its new present.

        Whatever falls due on the way happens, in order, before this returns. ValueError for a
        move into the past.
        """
        step = timedelta(**by)
        if step < timedelta():
            raise ValueError("The clock moves ahead only.")
        moment = self.now() + step
        self.on_the_way(moment)
        self.set(moment)
        return self.now()

    def set(self, moment: datetime) -> None:
        """Move it to a moment, unless that has passed."""
        self.ahead = max(self.ahead, moment - now())
