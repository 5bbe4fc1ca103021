"""When cron expressions come due, also where clocks change."""

from datetime import UTC, datetime

import pytest

from stacks.schedules.times import InvalidCron, next_time, next_times, time_zones


def times(cron: str, zone: str, after: str, count: int = 3) -> list[str]:
    found = next_times(cron, zone, datetime.fromisoformat(after), count)
    return [f"{one:%m-%d %H:%M %z}" for one in found]


def test_times_are_those_of_the_time_zone() -> None:
    assert times("0 6 * * MON-FRI", "Europe/Berlin", "2026-11-27T12:00+00:00") == [
        "11-30 06:00 +0100",
        "12-01 06:00 +0100",
        "12-02 06:00 +0100",
    ]
    after = datetime(2026, 11, 27, 12, tzinfo=UTC)
    assert next_time("0 6 * * *", "Asia/Tokyo", after) == datetime(2026, 11, 27, 21, tzinfo=UTC)


def test_a_time_that_the_clock_skips_comes_right_after_it() -> None:
    # On March 28, 2027, clocks in Berlin go from 2:00 to 3:00.
    assert times("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00+01:00", 2) == [
        "03-28 03:00 +0200",
        "03-29 02:30 +0200",
    ]


def test_a_time_that_the_clock_repeats_comes_once() -> None:
    # On October 31, 2027, clocks in Berlin go from 3:00 back to 2:00.
    found = times("30 2 * * *", "Europe/Berlin", "2027-10-30T12:00+02:00", 2)
    assert found == ["10-31 02:30 +0200", "11-01 02:30 +0100"]


def test_each_hour_stays_each_hour() -> None:
    found = times("15 * * * *", "Europe/Berlin", "2027-10-31T00:50+02:00", 4)
    assert found == [
        "10-31 01:15 +0200",
        "10-31 02:15 +0200",
        "10-31 02:15 +0100",
        "10-31 03:15 +0100",
    ]


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("", "Write five fields"),
        ("@daily", "Write five fields"),
        ("0 0 6 * * *", "Write five fields"),
        ("60 6 * * *", "Its minute can’t be read."),
        ("0 6 * * FUN", "Its day-of-week can’t be read."),
        ("0 0 30 2 *", "Its day-of-month can’t be read."),
        ("0 0 * * 1#9", "Its day-of-week can’t be read."),
    ],
)
def test_what_is_no_time_is_refused_with_the_reason(cron: str, said: str) -> None:
    with pytest.raises(InvalidCron, match=said):
        next_time(cron, "UTC", datetime(2026, 11, 29, tzinfo=UTC))


def test_time_zones_are_known_by_their_names() -> None:
    assert {"UTC", "Europe/Berlin", "America/New_York"} <= set(time_zones())
