"""When a cron expression comes due in a time zone.

Expressions have five fields, as in crontab(5). In the hour that a clock skips or repeats, times are
those of Debian's cron, which cronsim imitates: a job at a skipped time runs right after it, and one
at a repeated time runs once.
"""

from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

FIELDS = 5


class InvalidCron(ValueError):
    """An expression that no time fits, or that is none; the text says why."""


@cache
def time_zones() -> tuple[str, ...]:
    """Return the names of the IANA time zones, in order."""
    return tuple(sorted(available_timezones()))


def next_times(cron: str, time_zone: str, after: datetime, count: int) -> list[datetime]:
    """Return when an expression comes due next, in its time zone. Raises InvalidCron."""
    if len(cron.split()) != FIELDS:
        raise InvalidCron(
            "Write five fields: minute, hour, day of the month, month, and day of the week, like "
            "0 6 * * MON-FRI."
        )
    try:
        times = CronSim(cron, after.astimezone(ZoneInfo(time_zone)))
        return [next(times) for _ in range(count)]
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        raise InvalidCron(f"Its {field} can’t be read.") from None
    except StopIteration:
        raise InvalidCron("It never comes due.") from None


def next_time(cron: str, time_zone: str, after: datetime) -> datetime:
    """Return when an expression comes due next, in UTC. Raises InvalidCron."""
    return next_times(cron, time_zone, after, 1)[0].astimezone(UTC)
