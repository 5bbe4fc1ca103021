"""The ledger: which deliveries came, the outcome of each, and replaying them."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import responses
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stacks.consumer import DECISIONS_SHOWN
from stacks.models import Decision, Run, Stack
from tests.builders import make_repository, make_run, make_stack, store_integration
from tests.payloads import PAYLOADS
from vcs_integrations.models import Delivery, Integration, Repository
from vcs_integrations.providers.base import Outcome
from vcs_integrations.webhooks.processing import process_due
from vcs_integrations.webhooks.views import DELIVERIES_ON_A_PAGE

LIVE = {"HX-Request": "true"}


def deliver(linked: Integration, outcome: Outcome = Outcome.NO_RUN, **values: Any) -> Delivery:
    first = {"event_type": "git.push", "repository_name": "Web/tools", "body": b"{}"}
    return Delivery.objects.create(integration=linked, outcome=outcome, **first | values)


def ledger(linked: Integration) -> str:
    return f"/settings/vcs-providers/{linked.pk}/deliveries/"


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def shown(response: Any) -> list[int]:
    return [delivery.pk for delivery in response.context["page"].rows]


def said(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


# Filtering


@pytest.fixture
def several(linked: Integration) -> dict[str, int]:
    """Deliveries by a name that says what they are."""
    kinds: dict[str, dict[str, Any]] = {
        "push": {"outcome": Outcome.RUN, "repository_name": "Platform Team/infra"},
        "ignored": {"repository_name": "Web/tools"},
        "updated": {"event_type": "git.pullrequest.updated", "repository_name": "Web/infra"},
        "renamed": {"event_type": "git.repo.renamed", "outcome": Outcome.UNKNOWN_EVENT},
        "broken": {"event_type": "", "outcome": Outcome.UNREADABLE, "repository_name": ""},
        "waiting": {"outcome": Outcome.STORED, "due_at": timezone.now()},
    }
    return {name: deliver(linked, **values).pk for name, values in kinds.items()}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["waiting", "broken", "renamed", "updated", "ignored", "push"]),
        ({"event": "git.push"}, ["waiting", "ignored", "push"]),
        ({"event": "git.pullrequest.updated"}, ["updated"]),
        ({"event": "git.pullrequest.created"}, []),
        ({"event": "other"}, ["broken", "renamed"]),
        ({"repository": "infra"}, ["updated", "push"]),
        ({"repository": "INFRA team"}, ["push"]),
        ({"repository": "%"}, []),
        ({"repository": "nothing"}, []),
        ({"outcome": "run"}, ["push"]),
        ({"outcome": "stored"}, ["waiting"]),
        ({"outcome": "unreadable"}, ["broken"]),
        ({"event": "git.push", "repository": "web", "outcome": "no_run"}, ["ignored"]),
        (
            {"event": "nonsense", "outcome": "\0"},
            ["waiting", "broken", "renamed", "updated", "ignored", "push"],
        ),
        ({"repository": "x" * 300, "outcome": "run"}, ["push"]),
    ],
)
def test_it_is_filtered_by_event_repository_and_outcome(
    admin: Client,
    linked: Integration,
    several: dict[str, int],
    asked: dict[str, str],
    found: list[str],
) -> None:
    for headers in ({}, LIVE):
        response = admin.get(ledger(linked), asked, headers=headers)
        assert shown(response) == [several[name] for name in found]
        assert ("<html" in text(response)) == (not headers)
        assert ("No delivery matches." in text(response)) == (not found)
        assert "HX-Request" in response["Vary"]


def test_the_filter_is_kept_from_page_to_page(admin: Client, linked: Integration) -> None:
    for number in range(DELIVERIES_ON_A_PAGE + 3):
        deliver(linked, repository_name="Web/shop & more")
        deliver(linked, outcome=Outcome.TEST, notification_id=str(number))
    asked = {"event": "", "repository": "shop &", "outcome": "no_run"}
    first = admin.get(ledger(linked), asked)
    older = re.search(r'href="(\?[^"]+)"[^>]*>Older', first.content.decode())
    assert older
    second = admin.get(f"{ledger(linked)}{older[1].replace('&amp;', '&')}")
    assert len(set(shown(first)) | set(shown(second))) == DELIVERIES_ON_A_PAGE + 3
    assert second.context["form"]["repository"].value() == "shop &"


def test_each_row_says_in_short_what_became_of_it(admin: Client, linked: Integration) -> None:
    deliver(linked, outcome=Outcome.RUN, reason="Run 3 of <Network>")
    deliver(linked, outcome=Outcome.STORED, due_at=timezone.now())
    page = text(admin.get(ledger(linked)))
    assert '>Run</span> <p class="quiet small">Run 3 of &lt;Network&gt;</p>' in page
    assert ">Waiting</span>" in page
    assert "Run 3 of &lt;Network&gt;" in text(admin.get(linked.get_absolute_url()))


# Why no run?


def decide(stack: Stack, delivery: Delivery, rule: str, run: Run | None = None) -> None:
    Decision.objects.create(
        stack=stack,
        delivery=delivery,
        subject="Push 7 to main",
        rule=rule,
        sentence=f"Because of {rule}.",
        run=run,
    )


def test_a_delivery_shows_for_each_stack_what_was_decided_and_why(
    admin: Client, linked: Integration
) -> None:
    delivery = deliver(linked, Outcome.RUN, reason="Run 1 of Network")
    first, second = make_stack(linked, "Network"), make_stack(linked, "Cluster")
    decide(first, delivery, "tracked", make_run(first, 1))
    decide(second, delivery, "outside_project_root")
    decide(second, deliver(linked), "fork")
    page = text(admin.get(delivery.get_absolute_url()))
    assert "Result" in page
    for part in (
        '<a href="/stacks/network/">Network</a>',
        "Tracked branch</span> Because of tracked.",
        'href="/stacks/network/runs/1/">Run 1</a>',
        '<a href="/stacks/cluster/">Cluster</a>',
        "Outside the project root</span> Because of outside_project_root.",
    ):
        assert part in page, part
    assert "Because of fork." not in page


@pytest.mark.parametrize(
    ("outcome", "values", "sentence"),
    [
        (Outcome.NO_RUN, {"reason": "No stack uses this repository"}, "No stack uses this rep"),
        (Outcome.TEST, {"reason": "Sample data"}, "Sample data. It starts nothing: the hook works"),
        (Outcome.UNKNOWN_EVENT, {"reason": "Nothing uses it"}, "unknown event</span> Nothing uses"),
        (Outcome.UNREADABLE, {"reason": "The body is not JSON"}, "The body is not JSON"),
        (Outcome.STORED, {}, "It came before deliveries were processed."),
        (Outcome.STORED, {"due_at": timezone.now()}, "The worker takes it up within seconds."),
    ],
)
def test_a_delivery_without_decisions_says_why(
    admin: Client, linked: Integration, outcome: Outcome, values: dict[str, Any], sentence: str
) -> None:
    page = text(admin.get(deliver(linked, outcome, **values).get_absolute_url()))
    assert sentence in page


def test_a_delivery_that_waits_says_why_how_often_it_was_tried_and_when_it_is_again(
    admin: Client, linked: Integration
) -> None:
    with time_machine.travel(datetime.fromisoformat("2026-11-21T09:00:00Z"), tick=False):
        now = timezone.now()
        delivery = deliver(linked, Outcome.STORED, due_at=now, failures=2)
        delivery.due_at = now + timedelta(minutes=4)
        delivery.reason, delivery.failures = "Waiting: Azure DevOps is down (HTTP 503).", 3
        delivery.save()
        page = text(admin.get(delivery.get_absolute_url()))
    assert "Waiting</span> Waiting: Azure DevOps is down (HTTP 503)." in page
    assert "tried 3 times, next <time" in page
    assert "in 4 min</time>" in page


def test_a_duplicate_leads_to_the_delivery_it_repeats(admin: Client, linked: Integration) -> None:
    key = {"subscription_id": "8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01", "notification_id": "7"}
    first = deliver(linked, Outcome.RUN, **key)
    deliver(linked, Outcome.RUN, **key | {"notification_id": "8"})
    double = deliver(linked, Outcome.DUPLICATE, reason="Notification 7 was received before", **key)
    link = f'<a href="{first.get_absolute_url()}">delivery {first.pk}</a>'
    assert f"received before: {link}. A repeat is not" in text(admin.get(double.get_absolute_url()))
    first.delete()
    assert "received before. A repeat is not" in text(admin.get(double.get_absolute_url()))


def test_a_delivery_that_concerns_many_stacks_shows_the_first_ones(
    admin: Client, linked: Integration
) -> None:
    delivery = deliver(linked)
    for number in range(DECISIONS_SHOWN + 1):
        decide(make_stack(linked, f"s{number}"), delivery, "draft")
    page = text(admin.get(delivery.get_absolute_url()))
    assert page.count("Because of draft.") == DECISIONS_SHOWN
    assert f"Only the first {DECISIONS_SHOWN} are shown" in page


# Replay


def waiting() -> set[int]:
    return set(Delivery.objects.waiting().values_list("pk", flat=True))


@pytest.mark.parametrize("outcome", Outcome)
def test_only_what_may_start_runs_can_be_replayed(
    admin: Client, linked: Integration, outcome: Outcome
) -> None:
    delivery = deliver(linked, outcome)
    can_be = outcome in {Outcome.STORED, Outcome.RUN, Outcome.VERSION, Outcome.NO_RUN}
    page = text(admin.get(ledger(linked)))
    assert (f'name="delivery" value="{delivery.pk}"' in page) == can_be
    assert ("Replay selected" in page) == can_be
    assert (">Replay</button>" in text(admin.get(delivery.get_absolute_url()))) == can_be
    for address, data in (
        (f"{ledger(linked)}replay/", {"delivery": delivery.pk}),
        (f"{delivery.get_absolute_url()}replay/", {}),
    ):
        Delivery.objects.update(due_at=None)
        response = admin.post(address, data, follow=True)
        expected = (
            "1 delivery will be processed again"
            if can_be
            else "Nothing was chosen that can be replayed"
        )
        assert said(response) == [expected]
        assert waiting() == ({delivery.pk} if can_be else set())


def test_those_that_are_selected_are_replayed_and_the_filter_stays(
    admin: Client, linked: Integration
) -> None:
    pks = [deliver(linked).pk for _ in range(4)]
    address = f"{ledger(linked)}?event=git.push&repository=a%26b"
    filtered = text(admin.get(f"{ledger(linked)}?event=git.push"))
    assert f'action="{ledger(linked)}replay/?event=git.push"' in filtered
    response = admin.post(address.replace("/?", "/replay/?"), {"delivery": pks[1:3]}, follow=True)
    assert said(response) == ["2 deliveries will be processed again"]
    assert response.redirect_chain == [(address, 302)]
    assert waiting() == set(pks[1:3])


@pytest.mark.parametrize("chosen", [[], ["x"], ["-1"], ["9" * 40], ["²"], ["1; DROP"], [""]])
def test_a_selection_that_makes_no_sense_replays_nothing(
    admin: Client, linked: Integration, chosen: list[str]
) -> None:
    deliver(linked)
    response = admin.post(f"{ledger(linked)}replay/", {"delivery": chosen}, follow=True)
    assert said(response) == ["Nothing was chosen that can be replayed"]
    assert waiting() == set()


def test_no_other_integrations_deliveries_are_replayed(admin: Client, linked: Integration) -> None:
    delivery = deliver(linked)
    other = store_integration("other")
    admin.post(f"{ledger(other)}replay/", {"delivery": delivery.pk})
    assert admin.post(f"{ledger(other)}{delivery.pk}/replay/").status_code == 404
    assert waiting() == set()


def test_deliveries_of_an_unlinked_organization_are_read_and_not_replayed(
    admin: Client, linked: Integration
) -> None:
    delivery = deliver(linked)
    Integration.objects.update(unlinked_at=timezone.now())
    assert "Replay" not in text(admin.get(ledger(linked)))
    assert "Replay" not in text(admin.get(delivery.get_absolute_url()))
    for address in (f"{ledger(linked)}replay/", f"{delivery.get_absolute_url()}replay/"):
        assert admin.post(address, {"delivery": delivery.pk}).status_code == 404
    assert waiting() == set()


def test_replay_and_reconcile_are_for_admins(member: Client, linked: Integration) -> None:
    delivery = deliver(linked)
    for address in (
        f"{ledger(linked)}replay/",
        f"{delivery.get_absolute_url()}replay/",
        f"{linked.get_absolute_url()}reconcile/",
    ):
        assert member.post(address, {"delivery": delivery.pk}).status_code == 403
    assert waiting() == set()
    assert "Reconcile now" not in text(member.get("/settings/vcs-providers/"))


def test_a_replay_decides_again_and_doubles_no_run(admin: Client, linked: Integration) -> None:
    body = (PAYLOADS / "git_push__one_commit.json").read_bytes()
    push = json.loads(body)["resource"]
    repository_id = push["repository"]["id"]
    delivery = deliver(
        linked, Outcome.STORED, body=body, due_at=timezone.now(), repository_id=repository_id
    )
    process_due()
    page = text(admin.get(delivery.get_absolute_url()))
    assert "No run</span> No stack uses this repository" in page

    stack = make_stack(linked, "Network")
    Stack.objects.update(path_rule=False, followed_at=datetime(2020, 1, 1, tzinfo=UTC))
    Repository.objects.update(external_id=repository_id)
    linked.store_credentials("a token that nobody knows")
    for _ in range(2):
        admin.post(f"{delivery.get_absolute_url()}replay/")
        with responses.RequestsMock(assert_all_requests_are_fired=False) as calls:
            calls.get(push["url"], json=push)
            assert process_due() == 1
        assert "main is the tracked branch." in text(admin.get(delivery.get_absolute_url()))
    assert stack.runs.count() == 1
    assert "Run 1 of Network" in text(admin.get(ledger(linked)))


# Reconcile now

WHERE = "Activity of a stack shows what it finds"


def test_an_admin_has_the_repositories_read_that_stacks_use(
    admin: Client, linked: Integration
) -> None:
    address = f"{linked.get_absolute_url()}reconcile/"
    response = admin.post(address, follow=True)
    assert said(response) == ["No stack uses a repository of this organization: nothing to read"]
    make_stack(linked, "Network")
    later = timezone.now() + timedelta(minutes=9)
    Repository.objects.update(due_at=later)
    response = admin.post(address, follow=True)
    assert said(response) == [f"The worker reads 1 repository now; {WHERE}"]
    assert response.redirect_chain == [(linked.get_absolute_url(), 302)]
    assert Repository.objects.due().count() == 1
    assert linked in Integration.objects.due()  # also what they are called now
    make_repository(linked, "2", due_at=later)
    response = admin.post(address, follow=True)
    assert said(response) == [f"The worker reads 2 repositories now; {WHERE}"]


def test_the_card_says_when_repositories_were_read_and_which_could_not_be(
    admin: Client, member: Client, linked: Integration
) -> None:
    def card(client: Client) -> str:
        page = text(client.get("/settings/vcs-providers/"))
        return page.partition("<dt>Reconciliation</dt>")[2].partition("</dd>")[0]

    assert "no stack uses a repository yet" in card(admin)
    assert "Reconcile now" not in card(admin)
    make_stack(linked, "Network")
    Repository.objects.update(due_at=timezone.now())
    assert '1 repository, <span class="quiet">not all read yet</span>' in card(member)
    long_ago = timezone.now() - timedelta(hours=1)
    Repository.objects.update(reconciled_at=long_ago)
    now = timezone.now()
    make_repository(linked, "2", due_at=now, reconciled_at=now, failures=3)
    unused = make_repository(linked, "3")
    assert "2 repositories, read <time" in card(member)
    assert "1 h ago</time>" in card(member)
    assert "1 could not be read</span>" in card(member)
    assert "Reconcile now" in card(admin)
    assert "Reconcile now" not in card(member)
    Repository.objects.filter(pk=unused.pk).update(due_at=timezone.now())
    assert '3 repositories, <span class="quiet">not all read yet</span>' in card(member)


# What pages cost


def test_a_hundred_thousand_deliveries_cost_as_many_queries_as_ten(
    admin: Client, linked: Integration
) -> None:
    one = deliver(linked)
    pages = [
        ledger(linked),
        f"{ledger(linked)}?event=git.pullrequest.merged&repository=tools-9&outcome=run",
        f"{ledger(linked)}?outcome=unreadable",
        f"{ledger(linked)}?repository=nothing",
        one.get_absolute_url(),
        linked.get_absolute_url(),
        "/settings/vcs-providers/",
        "/",
    ]
    grow(linked, 9)
    few = [queries(admin, page) for page in pages]
    grow(linked, 99_990)
    assert linked.deliveries.count() == 100_000
    pages.append(f"{ledger(linked)}?before=50000&event=git.push")
    many = [queries(admin, page) for page in pages]
    assert many == [*few, few[0]]
    assert max(many) <= 20


def grow(linked: Integration, count: int) -> None:
    events = ("git.push", "git.pullrequest.merged")
    outcomes = (Outcome.RUN, Outcome.NO_RUN, Outcome.DUPLICATE)
    Delivery.objects.bulk_create(
        (
            Delivery(
                integration=linked,
                event_type=events[number % 2],
                outcome=outcomes[number % 3],
                repository_name=f"Web/tools-{number % 50}",
                body=b"{}",
            )
            for number in range(count)
        ),
        batch_size=5_000,
    )


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    counted = re.compile('COUNT\\(.*FROM "vcs_integrations_delivery"', re.DOTALL)
    assert not any(counted.search(query["sql"]) for query in captured)
    return len(captured)
