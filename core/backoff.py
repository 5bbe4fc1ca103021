"""How long to wait before something that failed is tried again."""

from datetime import timedelta


def wait_after(
    failures: int, first: timedelta, most: timedelta, asked: int | None = None
) -> timedelta:
    """Return the wait before the next try: `first`, then twice as long each time, up to `most`.

    It is longer where the provider `asked` for more seconds.
    """
    doubled: timedelta = first * 2 ** min(failures, 10)
    return max(min(doubled, most), timedelta(seconds=asked or 0))
