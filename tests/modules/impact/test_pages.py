"""The pages of impact: who uses a module, what its pull requests would change, and the rest."""

from typing import Any

from django.test import Client
from django.utils.html import strip_tags
from pytest_django import Settings

from accounts.audit.records import Verb, entries
from modules.impact.planning import end, plan_next_impact, want
from modules.models import Impact, Module
from stacks.models import Run, Stack
from stacks.rules.states import Origin, State
from tests.builders import make_version
from tests.modules.impact.conftest import fetch, pull_request, use, user


def shown(client: Client, address: str, **headers: str) -> str:
    response: Any = client.get(address, headers=headers)
    assert response.status_code == 200
    return " ".join(strip_tags(response.content.decode()).split())


def planned(module: Module) -> Impact:
    impact = want(module, pull_request(module), 1, "a" * 40)
    assert impact
    plan_next_impact()
    return impact


def test_the_page_of_a_module_names_its_stacks_and_those_behind(
    module: Module, member: Client
) -> None:
    address = f"/modules/{module.address}/stacks/"
    assert "No stack is known to use this module." in shown(member, address)
    make_version(module, "2.0.0")
    stack = user(module, "Network")
    use(module, stack, version="1.2.0", constraint="~> 1.0")
    fetch(module, user(module, "Shop"), "network", ref="v1.0.0")
    text = shown(member, address)
    assert "Behind 2.0.0" in text
    assert "1.2.0 by ~&gt; 1.0 Run 2" in text
    assert "11111111 by git, v1.0.0" in text
    assert "Its constraint ~&gt; 1.0 holds it back." in text
    assert "2 stacks 2 behind" in shown(member, module.get_absolute_url())
    text = shown(member, stack.get_absolute_url())
    assert f"{module.address} 1.2.0, newest is 2.0.0. Its constraint ~&gt; 1.0 holds it" in text


def test_the_page_of_an_impact_shows_each_stack_and_plans_the_rest_with_a_click(
    module: Module, member: Client, settings: Settings
) -> None:
    settings.IMPACT_STACKS = 1
    for number, name in enumerate(["One", "Two", "Three"]):
        user(module, name, used=number)
    impact = planned(module)
    run = Run.objects.get(origin=Origin.IMPACT)
    Run.objects.filter(pk=run.pk).update(state=State.FINISHED, added=1, changed=2, destroyed=3)
    page = impact.get_absolute_url()
    text = shown(member, page)
    assert "3 stacks: 1 destroying, 2 to plan on request" in text
    assert "One 1 2 3 Destroys 1 to add, 2 to change, 3 to destroy Run 2" in text
    assert "2 more stacks use the module." in text
    errors = "Error: Missing required argument\n\n  on main.tf"
    failed = {"state": State.FAILED, "failure": "The plan failed.", "errors": errors}
    Run.objects.filter(pk=run.pk).update(**failed)
    assert "One Failed Missing required argument Run 2" in shown(member, page)
    answer = member.post(f"{page}plan-rest/")
    assert answer["Location"] == page
    assert entries().filter(verb=Verb.PULL_REQUESTS_PLANNED).get().note == "2 stacks"
    assert "2 stacks will be planned" in shown(member, page)
    plan_next_impact()
    assert Run.objects.filter(origin=Origin.IMPACT).count() == 3
    # Pressing it once more starts and records nothing.
    member.post(f"{page}plan-rest/")
    assert entries().filter(verb=Verb.PULL_REQUESTS_PLANNED).count() == 1
    assert (
        impact.get_absolute_url()
        in member.get(f"/modules/{module.address}/stacks/").content.decode()
    )


def test_the_page_polls_and_is_sent_only_where_something_changed(
    module: Module, member: Client
) -> None:
    user(module, "Network")
    page = planned(module).get_absolute_url()
    version = member.get(page).context["live_version"]
    live = {"HX-Request": "true"}
    assert member.get(f"{page}?version={version}", headers=live).status_code == 204
    Run.objects.filter(origin=Origin.IMPACT).update(state=State.PREPARING)
    assert "preparing" in shown(member, f"{page}?version={version}", **live)


def test_nothing_more_is_planned_of_a_pull_request_that_ended(
    module: Module, member: Client, settings: Settings
) -> None:
    settings.IMPACT_STACKS = 0
    user(module, "Network")
    impact = planned(module)
    impact.pull_request.status = "merged"
    impact.pull_request.save()
    end(impact.pull_request)
    page = impact.get_absolute_url()
    assert "The pull request is merged, so nothing more is planned." in shown(member, page)
    assert "Plan the rest" not in shown(member, page)
    member.post(f"{page}plan-rest/")
    assert "Pull request 7 is not open any more." in shown(member, page)
    assert not impact.plans.filter(is_wanted=True).exists()
    assert not Stack.objects.get().runs.filter(origin=Origin.IMPACT).exists()


def test_an_impact_that_is_not_there_is_not_found(module: Module, member: Client) -> None:
    assert member.get(f"/modules/{module.address}/pull-requests/9/").status_code == 404
