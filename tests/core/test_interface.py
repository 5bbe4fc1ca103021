"""Ages, icons and badges of all templates."""

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from core.templatetags.interface import age, badge

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        (timedelta(seconds=4), "just now"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(seconds=60), "1 min ago"),
        (timedelta(minutes=59, seconds=59), "59 min ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=59), "59 d ago"),
        (timedelta(days=60), "Sep 22, 2026"),
        (timedelta(seconds=-4), "just now"),
        (timedelta(minutes=-5), "in 5 min"),
        (timedelta(days=-400), "Dec 26, 2027"),
    ],
)
@time_machine.travel(NOW, tick=False)
def test_ages_are_short_and_become_dates(passed: timedelta, text: str) -> None:
    assert age(NOW - passed) == text


def test_a_badge_says_its_state_beside_an_icon_and_escapes_it() -> None:
    shown = badge("error", "cross", "<Failed>")
    assert shown.startswith('<span class="badge badge-error"><svg class="icon"')
    assert shown.endswith("</svg> &lt;Failed&gt;</span>")
