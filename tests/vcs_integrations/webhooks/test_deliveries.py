"""The list of deliveries and the page of one: what an admin sees of what came."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from vcs_integrations.models import Delivery, Integration
from vcs_integrations.providers.base import Outcome
from vcs_integrations.webhooks.views import BODY_SHOWN, DELIVERIES_ON_A_PAGE

SCRIPT = "<script>alert('x')</script>"


def deliver(linked: Integration, count: int = 1, **values: Any) -> list[Delivery]:
    """Store deliveries, numbered from 1."""
    first = {"event_type": "git.push", "outcome": Outcome.STORED, "body": b"{}"}
    return [
        Delivery.objects.create(
            integration=linked, **first | {"repository_name": f"Web/shop-{number:03}"} | values
        )
        for number in range(1, count + 1)
    ]


def list_url(linked: Integration) -> str:
    return f"/settings/vcs-providers/{linked.pk}/deliveries/"


def page_url(delivery: Delivery) -> str:
    return f"{list_url(delivery.integration)}{delivery.pk}/"


def rows(page: str) -> list[list[str]]:
    """Return the text of the cells of each row of the table."""
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [
            re.sub(r"<[^>]+>", "", cell).strip()
            for cell in re.findall(r"(?s)<td(?! class=\"choice).*?</td>", row)
        ]
        for row in re.findall(r"(?s)<tr>.*?</tr>", body)
    ]


def test_the_list_shows_event_repository_outcome_and_time(
    admin: Client, linked: Integration
) -> None:
    an_hour_ago = timezone.now() - timedelta(hours=1)
    deliver(linked, received_at=an_hour_ago, repository_name="Platform Team/Maß")
    deliver(linked, event_type="git.pullrequest.merged", outcome=Outcome.TEST, repository_name="")
    deliver(linked, event_type="", outcome=Outcome.UNREADABLE, repository_name="")
    deliver(linked, event_type="git.repo.renamed", outcome=Outcome.UNKNOWN_EVENT)
    deliver(linked, outcome=Outcome.DUPLICATE)
    page = admin.get(list_url(linked)).content.decode()
    found = [[cell.replace("\xa0", " ") for cell in row] for row in rows(page)]
    assert [row[:-1] for row in found] == [
        ["Code pushed", "Web/shop-001", "Duplicate"],
        ["git.repo.renamed", "Web/shop-001", "Ignored: unknown event"],
        ["No event", "–", "Unreadable"],
        ["Pull request merge attempted", "–", "Test received"],
        ["Code pushed", "Platform Team/Maß", "Stored"],
    ]
    assert found[-1][-1] == "1 h ago"
    assert f"{an_hour_ago:%Y-%m-%d %H:%M:%S} UTC" in page


def test_the_page_of_the_integration_shows_the_newest(admin: Client, linked: Integration) -> None:
    deliver(linked, 12)
    page = admin.get(linked.get_absolute_url()).content.decode()
    names = [row[1] for row in rows(page)]
    assert names == [f"Web/shop-{number:03}" for number in range(12, 2, -1)]
    assert list_url(linked) in page


def test_without_deliveries_the_page_says_what_to_do(admin: Client, linked: Integration) -> None:
    assert "Nothing was delivered yet" in admin.get(list_url(linked)).content.decode()


@pytest.mark.on_postgresql
def test_every_delivery_is_on_one_page_also_when_new_ones_come(
    admin: Client, linked: Integration
) -> None:
    deliver(linked, 2 * DELIVERIES_ON_A_PAGE + 3)
    url, seen, sizes = list_url(linked), [], []
    while url:
        page = admin.get(url).content.decode()
        found = [row[1] for row in rows(page)]
        seen += found
        sizes.append(len(found))
        deliver(linked, repository_name="Web/new")
        older = re.search(r'href="(\?before=\d+)"[^>]*>Older', page)
        url = f"{list_url(linked)}{older[1]}" if older else ""
        assert ("Newest" in page) == (len(sizes) > 1)
    assert sizes == [DELIVERIES_ON_A_PAGE, DELIVERIES_ON_A_PAGE, 3]
    assert seen == [f"Web/shop-{n:03}" for n in range(2 * DELIVERIES_ON_A_PAGE + 3, 0, -1)]


def test_a_full_page_that_is_the_last_has_no_older_one(admin: Client, linked: Integration) -> None:
    deliver(linked, DELIVERIES_ON_A_PAGE)
    page = admin.get(list_url(linked)).content.decode()
    assert len(rows(page)) == DELIVERIES_ON_A_PAGE
    assert "Older" not in page


@pytest.mark.on_postgresql
@pytest.mark.parametrize("before", ["0", "-1", "x", "", "²", "9" * 30, "1' OR 1=1", "%00"])
def test_a_page_that_makes_no_sense_is_a_page(
    admin: Client, linked: Integration, before: str
) -> None:
    deliver(linked)
    assert admin.get(list_url(linked), {"before": before}).status_code == 200


@pytest.mark.on_postgresql
@pytest.mark.parametrize("count", [5, 500])
def test_the_number_of_queries_does_not_grow(
    admin: Client, linked: Integration, count: int
) -> None:
    """The same number for 5 and 500, also on the integration's page and on the list of all."""
    deliver(linked)
    pages = (list_url(linked), linked.get_absolute_url(), "/settings/vcs-providers/")
    before = [queries(admin, page) for page in pages]
    deliver(linked, count - 1)
    assert [queries(admin, page) for page in pages] == before


def queries(client: Client, url: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


@pytest.mark.on_postgresql
def test_the_list_does_not_read_the_bodies(admin: Client, linked: Integration) -> None:
    deliver(linked, 3, body=b"x" * 100_000)
    with CaptureQueriesContext(connection) as captured:
        admin.get(list_url(linked))
    asked = [query["sql"] for query in captured if "vcs_integrations_delivery" in query["sql"]]
    assert asked
    assert not any('"body"' in sql for sql in asked)


# One delivery


def shown_body(page: str) -> str:
    found = re.search(r"(?s)<pre[^>]*>(.*?)</pre>", page)
    return found[1] if found else ""


@pytest.mark.on_postgresql
def test_a_delivery_shows_what_is_known_of_it(admin: Client, linked: Integration) -> None:
    (delivery,) = deliver(
        linked,
        outcome=Outcome.DUPLICATE,
        reason="Notification 7 was received before",
        subscription_id="8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01",
        notification_id="7",
        headers={
            "Request-Id": "|7d2c.1",
            "X-VSS-SubscriptionId": "8FD4B3A1-2c7e-4d19-9b60-1e5f7a3c8d01",
        },
    )
    page = admin.get(page_url(delivery)).content.decode()
    assert page.lower().count("8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01") == 1
    for text in (
        "Code pushed",
        "Duplicate",
        "Notification 7 was received before",
        "Web/shop-001",
        "8fd4b3a1-2c7e-4d19-9b60-1e5f7a3c8d01",
        "Request-Id",
        "|7d2c.1",
        "Ours",
    ):
        assert text in page


def test_a_json_body_is_indented(admin: Client, linked: Integration) -> None:
    (delivery,) = deliver(linked, body='{"b":{"ä":[1,2]}}'.encode())
    page = admin.get(page_url(delivery)).content.decode()
    text = shown_body(page).replace("&quot;", '"')
    assert text == json.dumps({"b": {"ä": [1, 2]}}, indent=2, ensure_ascii=False)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"no json", "no json"),
        (b"\xffabc", "\ufffdabc"),
        (b'{"a":"\\ud800"}', '"a": "?"'),
        (b"[" * 200_000, "[[[["),
        (b"[" * 700 + b"]" * 700, "["),
        (b'{"n":' + b"9" * 5_000 + b"}", "9999"),
        (b"NaN", "NaN"),
    ],
    ids=["text", "bytes", "lone surrogate", "deep", "almost too deep", "huge", "NaN"],
)
def test_any_other_body_is_shown_as_well_as_it_can_be(
    admin: Client, linked: Integration, body: bytes, text: str
) -> None:
    (delivery,) = deliver(linked, body=body)
    response = admin.get(page_url(delivery))
    assert response.status_code == 200
    assert text in shown_body(response.content.decode()).replace("&quot;", '"')


def test_an_empty_body_is_said_to_be_empty(admin: Client, linked: Integration) -> None:
    (delivery,) = deliver(linked, body=b"")
    assert "The body is empty" in admin.get(page_url(delivery)).content.decode()


@pytest.mark.parametrize(("size", "is_cut"), [(BODY_SHOWN, False), (BODY_SHOWN + 1, True)])
def test_a_long_body_is_cut_and_can_be_downloaded_whole(
    admin: Client, linked: Integration, size: int, is_cut: bool
) -> None:
    (delivery,) = deliver(linked, body=b"x" * size)
    page = admin.get(page_url(delivery)).content.decode()
    assert len(shown_body(page)) == BODY_SHOWN
    assert ("Only the beginning is shown" in page) == is_cut
    assert f"{page_url(delivery)}body/" in page
    assert admin.get(f"{page_url(delivery)}body/").content == b"x" * size


@pytest.mark.on_postgresql
def test_a_download_is_the_bytes_that_came_and_never_a_page(
    admin: Client, linked: Integration
) -> None:
    body = bytes(range(256)) + SCRIPT.encode()
    (delivery,) = deliver(linked, body=body)
    response = admin.get(f"{page_url(delivery)}body/")
    assert response.content == body
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"].startswith("attachment;")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_what_a_sender_wrote_is_never_html(admin: Client, linked: Integration) -> None:
    (delivery,) = deliver(
        linked,
        body=json.dumps({"x": f"</pre>{SCRIPT}"}).encode(),
        event_type=SCRIPT,
        repository_name=SCRIPT,
        reason=SCRIPT,
        headers={"User-Agent": SCRIPT, SCRIPT: "x"},
    )
    for url in (list_url(linked), linked.get_absolute_url(), page_url(delivery)):
        page = admin.get(url).content.decode()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert(" in page
    assert "&lt;/pre&gt;" in shown_body(admin.get(page_url(delivery)).content.decode())


def test_a_delivery_belongs_to_its_integration_alone(admin: Client, linked: Integration) -> None:
    (delivery,) = deliver(linked)
    linked.pk, linked.organization_key = None, "dev.azure.com/other"
    linked.save()
    for address in ("", "body/"):
        assert admin.get(f"{list_url(linked)}{delivery.pk}/{address}").status_code == 404


def test_deliveries_of_an_unlinked_organization_stay_readable(
    admin: Client, linked: Integration
) -> None:
    (delivery,) = deliver(linked)
    Integration.objects.update(unlinked_at=timezone.now())
    for url in (list_url(linked), page_url(delivery), f"{page_url(delivery)}body/"):
        assert admin.get(url).status_code == 200


def test_deliveries_are_for_admins(member: Client, linked: Integration) -> None:
    (delivery,) = deliver(linked, body=b"secret of a commit message")
    for url in (list_url(linked), page_url(delivery), f"{page_url(delivery)}body/"):
        response = member.get(url)
        assert response.status_code == 403
        assert b"secret of a commit" not in response.content
