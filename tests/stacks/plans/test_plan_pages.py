"""The pages of a plan: what it does, filtered and searched, and the values of one change."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from stacks.execution.tools import plan_changes
from stacks.models import PlanChange, PlanPart, Run, prune_runs
from stacks.plans.listing import CHANGES_ON_A_PAGE
from stacks.rules.states import State
from tests.builders import make_plan, make_run, make_stack
from vcs_integrations.models import Integration

RUN = "/stacks/network/runs/1/"
PLAN = f"{RUN}plan/"
LIVE = {"HX-Request": "true"}


@pytest.fixture
def run(linked: Integration) -> Run:
    return make_run(make_stack(linked), 1, state=State.FINISHED)


def text(response: Any) -> str:
    assert response.status_code == 200
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def resource(address: str, *actions: str, **more: Any) -> dict[str, Any]:
    """Return an entry of `resource_changes`; fields of its change go to that."""
    names = ("before", "after", "after_unknown", "before_sensitive", "after_sensitive")
    fields = (*names, "replace_paths", "importing")
    change = {name: more.pop(name) for name in fields if name in more}
    kind = address.split(".")[-2] if "." in address else ""
    return {"address": address, "type": kind, "change": {"actions": actions} | change, **more}


def many(count: int) -> dict[str, Any]:
    """Return a plan that adds that many resources, and destroys one that comes last by its name."""
    added = [
        resource(f"azurerm_subnet.one[{n}]", "create", after={"name": f"subnet-{n}"})
        for n in range(count)
    ]
    return {"resource_changes": [*added, resource("z.last", "delete", before={"id": "gone"})]}


def details(client: Client, number: int = 1) -> str:
    return text(client.get(f"{PLAN}{number}/", headers=LIVE))


def test_what_destroys_comes_first_and_the_rest_module_by_module(member: Client, run: Run) -> None:
    changes = [
        resource("a.new", "create"),
        resource("module.b.a.new", "create", module_address="module.b"),
        resource("module.b.a.old", "delete", module_address="module.b"),
        resource('module.a["x"].a.new', "update", module_address='module.a["x"]'),
    ]
    make_plan(
        run, {"resource_changes": changes, "output_changes": {"url": {"actions": ["create"]}}}
    )
    listed = [(one.module, one.name, one.kind) for one in PlanChange.objects.all()]
    assert listed == [
        ("module.b", "a.old", "resource"),
        ("", "a.new", "resource"),
        ('module.a["x"]', "a.new", "resource"),
        ("module.b", "a.new", "resource"),
        ("", "url", "output"),
    ]
    for path in (RUN, PLAN):
        page = text(member.get(path))
        assert re.findall(r'class="plan-module">(?:<a[^>]*><code>)?([^<]*)<', page) == [
            "module.b", "Root module", "module.a[&quot;x&quot;]", "module.b", "Outputs",
        ]  # fmt: skip


def test_a_change_shows_attribute_by_attribute_what_was_and_what_will_be(
    member: Client, run: Run
) -> None:
    before = {"id": "1", "tags": {"env": "dev", "old": "x"}, "same": [1], "password": "hunter2-a"}
    after = {"tags": {"env": "prod", "new": True}, "same": [1], "password": "hunter2-b"}
    change = resource(
        "a.b", "delete", "create", before=before, after=after, after_unknown={"id": True},
        after_sensitive={"password": True}, replace_paths=[["tags", "env"]],
        action_reason="replace_because_cannot_update",
    )  # fmt: skip
    make_plan(run, {"resource_changes": [change]})
    assert "forced by <code>tags.env</code>" in text(member.get(PLAN))
    assert "dev" not in text(member.get(PLAN)).split("<main")[1]
    for page in (details(member), text(member.get(f"{PLAN}1/"))):
        assert "because it can&#x27;t be updated in place." in page
        rows = re.findall(r'<th scope="row"><code>(.*?)</code>(.*?)</th>(.*?)</tr>', page)
        found = {name: re.findall(r"<td.*?>(.*?)</td>", cells) for name, _, cells in rows}
        none = '<span class="quiet">–<span class="visually-hidden"> none</span></span>'
        assert found == {
            name: [none if one is None else f'<code class="value">{one}</code>' for one in pair]
            for name, pair in {
                "id": ("&quot;1&quot;", "(known after apply)"),
                "password": ("(sensitive)", "(sensitive)"),
                "tags.env": ("&quot;dev&quot;", "&quot;prod&quot;"),
                "tags.new": (None, "true"),
                "tags.old": ("&quot;x&quot;", None),
            }.items()
        }
        assert [name for name, badge, _ in rows if "Forces replacement" in badge] == ["tags.env"]
        assert "hunter2" not in page


def test_lines_of_a_text_are_compared(member: Client, run: Run) -> None:
    old = "\n".join(f"line {n}" for n in range(20))
    new = old.replace("line 10\n", "line ten <b>\n")
    make_plan(
        run, {"resource_changes": [resource("a.b", "update", before={"t": old}, after={"t": new})]}
    )
    page = details(member)
    assert '<del><span class="visually-hidden">Removed: </span>line 10</del>' in page
    assert "Added: </span>line ten &lt;b&gt;</ins>" in page
    assert "<span>line 13</span>" in page and "line 14" not in page
    assert page.count("line-gap") == 2


def test_an_import_a_move_and_what_is_forgotten_say_so(member: Client, run: Run) -> None:
    changes = [
        resource("a.imported", "no-op", importing={"id": "/subscriptions/1"}),
        resource("a.moved", "no-op", previous_address="a.before"),
        resource("a.left", "forget", before={"id": "1"}),
        resource("a.b", "delete", deposed="8a1b", action_reason="delete_because_count_index"),
    ]
    make_plan(run, {"resource_changes": changes})
    page = text(member.get(PLAN))
    assert "<code>a.before</code> → <code>a.moved</code>" in page
    assert "No longer managed, but not destroyed." in page
    assert "(deposed object 8a1b)" in page
    assert "because its index is beyond count." in details(member, 1)
    assert "Imported with the ID <code>/subscriptions/1</code>." in details(member, 2)


def test_drift_has_its_own_list(member: Client, run: Run) -> None:
    drifted = resource("a.b", "update", before={"size": 1}, after={"size": 2})
    make_plan(run, {"resource_changes": [resource("a.c", "create")], "resource_drift": [drifted]})
    page = text(member.get(PLAN))
    assert "a.c</code>" in page and "a.b</code>" not in page
    drift = text(member.get(PLAN, {"show": "drift"}))
    assert "a.b</code>" in drift and "a.c</code>" not in drift
    assert f'href="{PLAN}?show=drift">Show drift' in text(member.get(RUN))
    assert "<code>size</code>" in details(member, 2)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "SUBNET"}, ["azurerm_subnet.a"]),
        ({"q": "tags env"}, ["azurerm_subnet.a"]),
        ({"q": "azurerm_vnet"}, ["azurerm_vnet.b"]),
        ({"q": "100%"}, []),
        ({"q": "azurerm", "action": "destroy"}, ["azurerm_vnet.b"]),
        ({"action": "import"}, ["azurerm_subnet.a"]),
        ({"module": "module.net"}, ["azurerm_vnet.b", "x.c"]),
        ({"module": "module.net.module.deep"}, ["x.c"]),
        ({"action": "explode", "module": "", "show": "nothing", "after": "-1"}, None),
        ({"q": "\0", "after": "9" * 30}, None),
    ],
)
def test_a_plan_is_searched_by_address_type_and_attribute(
    member: Client, run: Run, query: dict[str, str], found: list[str] | None
) -> None:
    deep = "module.net.module.deep"
    changes = [
        resource("azurerm_subnet.a", "update", before={"tags": {"env": 1}}, after={}, importing={}),
        resource("module.net.azurerm_vnet.b", "delete", module_address="module.net"),
        resource(f"{deep}.x.c", "create", module_address=deep),
        resource("module.net_other.x.d", "create", module_address="module.net_other"),
    ]
    make_plan(run, {"resource_changes": changes})
    for headers in ({}, LIVE):
        page = text(member.get(PLAN, query, headers=headers))
        names = re.findall(r'class="plan-name"><code>(.*?)</code>', page)
        assert names == (
            ["azurerm_vnet.b", "azurerm_subnet.a", "x.c", "x.d"] if found is None else found
        )
        assert ("No change matches." in page) == (names == [])


def test_every_change_is_on_one_page(member: Client, run: Run) -> None:
    make_plan(run, many(120))
    seen: list[str] = []
    path: str | None = f"{PLAN}?q=a"
    while path:
        page = text(member.get(path))
        seen += re.findall(r'class="plan-name"><code>(.*?)</code>', page)
        found = re.search(r'href="([^"]*)">Next<', page)
        path = found and found[1].replace("&amp;", "&")
    assert seen == ["z.last", *(f"azurerm_subnet.one[{n}]" for n in range(120))]


def test_a_page_costs_the_same_however_long_the_plan_is(
    member: Client, run: Run, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_plan(run, many(10_000))
    for path, most in ((RUN, 20), (PLAN, 7), (f"{PLAN}?q=subnet", 7), (f"{PLAN}7000/", 7)):
        with django_assert_max_num_queries(most) as queries:
            page = member.get(path)
        assert page.content.count(b"<summary>") <= CHANGES_ON_A_PAGE
        assert len(page.content) < 100_000
        read = [one["sql"] for one in queries.captured_queries if "stacks_planpart" in one["sql"]]
        assert len(read) == (1 if "7000" in path else 0), path
    assert PlanPart.objects.count() == 101
    assert "subnet-6998" in details(member, 7000)


def test_a_plan_that_is_longer_than_what_is_kept_says_what_is_left_out(
    member: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_changes, "MOST_CHANGES", 2)
    monkeypatch.setattr("stacks.execution.tools.terraform.MOST_CHANGES", 2)
    changes = [resource(f"a.b[{n}]", "delete") for n in range(5)]
    make_plan(run, {"resource_changes": changes})
    for path in (RUN, PLAN):
        said = "3 more are not listed here, 3 of them to destroy or replace; the log has them."
        assert said in text(member.get(path))


def test_values_beyond_what_is_kept_are_left_to_the_log(
    member: Client, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan_changes, "MOST_ATTRIBUTES", 1)
    monkeypatch.setattr(plan_changes, "MOST_CHARACTERS", 20)
    monkeypatch.setattr(plan_changes, "LONGEST_VALUE", 5)
    changes = [resource(f"a.b[{n}]", "create", after={"a": "0123456789", "b": 1}) for n in range(2)]
    make_plan(run, {"resource_changes": changes})
    first = details(member, 1)
    assert '<code class="value">&quot;0123…</code>' in first
    assert "1 more differences are not kept; the log has them." in first
    assert "too many values to keep them all" in details(member, 2)


def test_a_plan_without_marks_says_why_it_has_no_values(member: Client, run: Run) -> None:
    change = resource("a.b", "update", before={"a": "a-password"}, after={"a": "new"})
    make_plan(run, {"resource_changes": [change]}, hides_values=True)
    said = details(member, 1)
    assert "does not say which values are sensitive, so none are kept." in said
    assert "a-password" not in said and "No attribute differs" not in said


def test_values_are_encrypted_and_removed_long_after_the_run(
    member: Client, run: Run, settings: Settings
) -> None:
    change = resource("a.b", "create", after={"size": "of-some-value"})
    make_plan(run, {"resource_changes": [change]})
    with connection.cursor() as cursor:
        cursor.execute("SELECT packed FROM stacks_planpart")
        assert b"of-some-value" not in bytes(cursor.fetchone()[0])
    prune_runs()
    assert "of-some-value" in details(member)
    Run.objects.update(moved_at=timezone.now() - timedelta(days=91), state=State.UNCONFIRMED)
    prune_runs()
    assert "of-some-value" in details(member)
    Run.objects.update(state=State.FINISHED)
    prune_runs()
    assert "Its values are not kept any more." in details(member)
    assert "a.b</code>" in text(member.get(PLAN))


def test_with_another_key_the_plan_is_listed_and_its_values_say_what_to_do(
    member: Client, run: Run, settings: Settings
) -> None:
    make_plan(run, {"resource_changes": [resource("a.b", "create", after={"size": 1})]})
    settings.FIELD_ENCRYPTION_KEY = "another key altogether"
    assert "a.b</code>" in text(member.get(PLAN))
    for page in (details(member), text(member.get(f"{PLAN}1/"))):
        assert "The values of this plan can&#x27;t be decrypted." in page
        assert "Or retry the run to plan again." in page


def test_no_text_of_a_plan_becomes_markup(member: Client, run: Run) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    change = resource(
        f"a.{evil}", "delete", "create", module_address=evil, type=evil, previous_address=evil,
        before={evil: f"{evil}\n{evil}", "b": evil}, after={evil: f"{evil}\n", "b": {evil: evil}},
        replace_paths=[[evil]], importing={"id": evil}, deposed=evil, action_reason=evil,
    )  # fmt: skip
    make_plan(
        run, {"resource_changes": [change], "output_changes": {evil: {"actions": ["create"]}}}
    )
    pages = [RUN, PLAN, f"{PLAN}1/", f"{PLAN}?q={evil}&module={evil}"]
    for path in pages:
        page = text(member.get(path))
        assert "<script>alert" not in page and "<img" not in page and "'><" not in page, path
    assert "&lt;script&gt;alert(1)" in details(member)


def test_what_is_not_there_is_not_found(member: Client, run: Run) -> None:
    assert "This plan has no changes to list." in text(member.get(PLAN))
    for path in (f"{PLAN}1/", f"{RUN}9/plan/", "/stacks/none/runs/1/plan/", f"{PLAN}{'9' * 30}/"):
        assert member.get(path).status_code == 404, path
