"""The steps from an empty installation to the first run, until all of them are done."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef
from django.urls import reverse

from vcs_integrations.models import Integration, Project, Subscription
from vcs_integrations.providers import PROVIDERS


@dataclass(frozen=True)
class Step:
    """A step: what it is for, whether it is done, and the button that leads to it, if any."""

    heading: str
    text: str
    is_done: bool
    url: str = ""
    button: str = ""


def linked_organizations() -> list[Integration]:
    """Return the linked organizations, each with what the start page says about its hooks."""
    same: dict[str, Any] = {"integration": OuterRef("pk")}
    linked = Integration.objects.linked().with_last_delivery().select_related("duplicate_of")
    return list(
        linked.annotate(
            has_hooks=Exists(Subscription.objects.present().filter(**same)),
            has_old_hooks=Exists(Subscription.objects.of_before().filter(**same)),
            wants_no_hooks=Exists(Project.objects.filter(is_left_alone=True, **same)),
        )
    )


def next_steps(
    integrations: list[Integration],
    *,
    has_stacks: bool,
    has_runs: bool,
    reader_is_admin: bool,
    reader_may_change: bool,
) -> list[Step]:
    """Return the steps; none once all are done. Only the next one has a button."""
    steps = [
        _link(bool(integrations), reader_is_admin),
        _create_hooks(integrations, reader_is_admin),
        _create_stack(has_stacks, reader_may_change),
        Step(
            "Start the first run",
            "Push to the branch, open a pull request, or open the stack and trigger a run.",
            has_runs,
            reverse("stacks:list"),
            "Open the stacks",
        ),
    ]
    following = next((one for one in steps if not one.is_done), None)
    if following is None:
        return []
    return [one if one is following else Step(one.heading, one.text, one.is_done) for one in steps]


def _link(is_done: bool, reader_is_admin: bool) -> Step:
    heading = f"Link {' or '.join(provider.name for provider in PROVIDERS.values())}"
    if not reader_is_admin:
        return Step(heading, "An admin links an organization under Settings.", is_done)
    text = "An organization URL and a personal access token are all it takes."
    return Step(heading, text, is_done, reverse("integrations:list"), "Go to VCS providers")


def _create_hooks(integrations: list[Integration], reader_is_admin: bool) -> Step:
    text = "Service hooks in each project report every push and pull request."
    is_done = any(map(_has_hooks, integrations))
    if not (reader_is_admin and integrations):
        return Step("Create hooks", f"{text} An admin creates them.", is_done)
    url = f"{integrations[0].get_absolute_url()}#hooks"
    text += " Stackhook creates them and keeps them working."
    return Step("Create hooks", text, is_done, url, "Create hooks")


def _create_stack(is_done: bool, reader_may_change: bool) -> Step:
    heading = "Create a stack"
    if not reader_may_change:
        return Step(heading, "A member chooses a repository and a branch.", is_done)
    text = "Choose a repository and a branch; a stack follows them."
    return Step(heading, text, is_done, reverse("stacks:create"), "Create the first stack")


def _has_hooks(integration: Integration) -> bool:
    """Say whether webhooks are set up, arrive, or are not wanted."""
    known = vars(integration)
    last_at = known["last_delivery_at"]
    receives = last_at is not None and last_at >= integration.linked_at
    return bool(receives or known["has_hooks"] or known["wants_no_hooks"])
