"""A stack's activity: what was decided about it, by which rule, and why."""

import re
from typing import Any

import pytest
import time_machine
from django.test import Client

from stacks.models import Decision, Stack
from stacks.overview.views import DECISIONS_ON_A_PAGE
from stacks.rules.triggers import RULE_TEXTS, Rule
from tests.builders import make_run, make_stack
from vcs_integrations.models import Delivery, Integration

ACTIVITY = "/stacks/network/activity/"


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


def decide(stack: Stack, rule: Rule, **changes: Any) -> Decision:
    count = stack.decisions.count() + 1
    values = {"subject": f"Push {count} to main", "sentence": f"Because of {rule.value}."}
    return Decision.objects.create(stack=stack, rule=rule, **values | changes)


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def shown(response: Any) -> list[str]:
    return [decision.subject for decision in response.context["page"].rows]


def test_each_decision_says_what_happened_the_rule_and_why(member: Client, stack: Stack) -> None:
    decide(stack, Rule.TRACKED, run=make_run(stack, 3))
    decide(
        stack,
        Rule.OUTSIDE_PROJECT_ROOT,
        subject="Push 2 to <main>",
        sentence="None of the 2 changed paths is under infra.",
    )
    with time_machine.travel(Decision.objects.latest("pk").decided_at, tick=False):
        response = member.get(ACTIVITY)
    assert shown(response) == ["Push 2 to <main>", "Push 1 to main"]
    page = text(response)
    assert "Push 2 to &lt;main&gt;" in page
    assert "Outside the project root</span> None of the 2 changed paths is under infra." in page
    assert 'href="/stacks/network/runs/3/">Run 3</a>' in page
    assert page.count("found by reconciliation") == 2
    assert "just now</time>" in page


def test_every_rule_has_words_for_people(member: Client, stack: Stack) -> None:
    assert set(RULE_TEXTS) == set(Rule)
    for rule in Rule:
        decide(stack, rule)
    page = text(member.get(ACTIVITY))
    for rule in Rule:
        assert f">{RULE_TEXTS[rule]}</span> Because of {rule.value}." in page


def test_a_decision_that_started_a_run_stands_out_from_one_that_met_it(
    member: Client, stack: Stack
) -> None:
    run = make_run(stack, 3)
    decide(stack, Rule.PROPOSED, run=run)
    decide(stack, Rule.SAME_COMMIT, run=run)
    page = text(member.get(ACTIVITY))
    assert '<span class="badge badge-accent">Proposed code</span>' in page
    assert '<span class="badge badge-plain">Same commit</span>' in page


def test_only_admins_are_led_to_deliveries(
    admin: Client, member: Client, stack: Stack, linked: Integration
) -> None:
    delivery = Delivery.objects.create(
        integration=linked, event_type="git.push", outcome="no_run", body=b"{}"
    )
    decide(stack, Rule.FORK, delivery=delivery)
    link = f'href="{delivery.get_absolute_url()}"'
    assert link in text(admin.get(ACTIVITY))
    page = text(member.get(ACTIVITY))
    assert link not in page
    assert "Code pushed" in page
    assert "found by reconciliation" not in page


def test_other_stacks_decisions_are_not_among_them(
    member: Client, stack: Stack, linked: Integration
) -> None:
    decide(make_stack(linked, "Other"), Rule.TRACKED)
    assert "Nothing happened yet." in text(member.get(ACTIVITY))
    assert member.get("/stacks/nothing/activity/").status_code == 404


@pytest.mark.parametrize(
    ("show", "found"),
    [
        ("", [3, 2, 1]),
        ("run", [1]),
        ("no_run", [3, 2]),
        ("fork", [3]),
        ("tracked", [1]),
        ("closed", []),
        ("nonsense", [3, 2, 1]),
        ("\0", [3, 2, 1]),
    ],
)
def test_it_is_filtered_by_rule_and_by_run(
    member: Client, stack: Stack, show: str, found: list[int]
) -> None:
    decide(stack, Rule.TRACKED, run=make_run(stack, 1))
    decide(stack, Rule.DRAFT)
    decide(stack, Rule.FORK)
    for headers in ({}, {"HX-Request": "true"}):
        response = member.get(ACTIVITY, {"show": show}, headers=headers)
        assert shown(response) == [f"Push {number} to main" for number in found]
        assert ("<html" in text(response)) == (not headers)
        assert ("No decision matches." in text(response)) == (not found)
        assert "HX-Request" in response["Vary"]


def test_every_decision_is_on_one_page_and_the_filter_is_kept(member: Client, stack: Stack) -> None:
    for number in range(2 * DECISIONS_ON_A_PAGE + 6):
        decide(stack, Rule.FORK if number % 2 else Rule.DRAFT)
    for query, count in (("", 2 * DECISIONS_ON_A_PAGE + 6), ("show=fork", DECISIONS_ON_A_PAGE + 3)):
        seen: list[str] = []
        address = f"?{query}"
        while address:
            response = member.get(f"{ACTIVITY}{address}")
            seen += shown(response)
            page = response.content.decode().replace("&amp;", "&")
            older = re.search(r'href="(\?[^"]*before=\d+)">Older', page)
            address = older[1] if older else ""
            assert not older or older[1].startswith(f"?{query}")
        assert len(seen) == len(set(seen)) == count
        assert f'href="{ACTIVITY}{"?" + query if query else ""}">Newest' in page
