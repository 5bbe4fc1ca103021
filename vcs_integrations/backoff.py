"""How long to wait before something that failed is tried again."""

from datetime import timedelta


def wait_after(failures: int, first: timedelta, most: timedelta) -> timedelta:
    """Return the wait before the next try: `first`, then twice as long each time, up to `most`."""
    doubled: timedelta = first * 2 ** min(failures, 10)
    return min(doubled, most)
