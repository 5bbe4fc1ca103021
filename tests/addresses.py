"""Every address of the product, taken from the URL resolver, and a world in which each answers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts.models import User
from accounts.roles import Role
from stacks.models import PullRequest, Run, Stack, StackVariable, StateLock, StateVersion
from stacks.rules.states import Kind, State
from tests.conftest import make_person, over_https, signed_in
from vcs_integrations.models import (
    Delivery,
    HookAction,
    HookState,
    HookTest,
    Integration,
    Repository,
    Subscription,
    Verdict,
)

ROLES = ("admin", "superuser", "member", "no role", "stranger")


def routes() -> list[str]:
    """Return the route of every URL pattern, like `stacks/<slug:slug>/`."""
    return list(_routes(get_resolver().url_patterns))


def _routes(patterns: Sequence[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    for pattern in patterns:
        route = f"{prefix}{pattern.pattern}"
        if isinstance(pattern, URLResolver):
            yield from _routes(pattern.url_patterns, route)
        else:
            yield route


@dataclass
class World:
    """One of everything that has a page of its own."""

    integration: Integration
    unlinked: Integration
    stack: Stack
    detached: Stack
    run: Run
    state_version: StateVersion
    variable: StackVariable
    fork: PullRequest
    delivery: Delivery
    hook_test: HookTest
    person: User

    def path(self, route: str) -> str:
        """Return an address of that route which leads to something."""
        pk = self.person.pk if route.startswith("settings/people/") else self.integration.pk
        if route.endswith("left-over-hooks/"):
            pk = self.unlinked.pk
        values = {
            "pk": pk,
            "delivery_pk": self.delivery.pk,
            "test_pk": self.hook_test.pk,
            "slug": self.stack.slug,
            "number": self.run.number,
            "sha": self.fork.source_sha,
            "variable_pk": self.variable.pk,
            "version": self.state_version.number,
            "provider_slug": "azure-devops",
            "endpoint": self.integration.endpoint_uuid,
        }
        return "/" + re.sub(r"<\w+:(\w+)>", lambda match: str(values[match[1]]), route)

    def paths(self) -> list[str]:
        """Return an address of every route, and the pages of what is detached or unlinked."""
        more = [
            f"/stacks/{self.detached.slug}/",
            f"/stacks/?q={self.stack.name}",
            f"/stacks/new/repositories/?provider={self.integration.pk}",
            f"/settings/vcs-providers/{self.unlinked.pk}/deliveries/",
            "/no/such/page/",
        ]
        return [self.path(route) for route in routes()] + more


def make_world(integration: Integration) -> World:
    """Add to a linked integration whatever else can be looked at."""
    unlinked = Integration.objects.create(
        provider_key="azure_devops",
        name="Left",
        organization_url="https://dev.azure.com/left",
        organization_name="left",
        organization_key="dev.azure.com/left",
        external_id=str(uuid4()),
        unlinked_at=timezone.now() - timedelta(days=1),
    )
    Subscription.objects.create(
        integration=unlinked,
        external_id="s",
        event_type="git.push",
        project_id="p",
        is_of_before=True,
    )
    make_hooks(integration)
    stack = make_stack(integration, "Network")
    broken_off = make_run(stack, 2, state=State.FAILED)
    make_lock(broken_off)
    return World(
        integration=integration,
        unlinked=unlinked,
        stack=stack,
        run=make_run(stack, 1),
        variable=StackVariable.objects.create(stack=stack, name="TF_VAR_region", value="eu"),
        state_version=make_state_version(broken_off, 1),
        detached=make_stack(unlinked, "Old network"),
        fork=make_fork(stack),
        delivery=Delivery.objects.create(
            integration=integration, outcome="test", event_type="git.push", body=b'{"a": 1}'
        ),
        hook_test=HookTest.objects.create(
            integration=integration,
            external_id=str(uuid4()),
            event_type="git.push",
            project_name="Web",
            verdict=Verdict.WORKS,
            notification_id=1,
        ),
        person=make_person("dave", Role.MEMBER),
    )


def make_hooks(integration: Integration) -> None:
    """Store a project with a hook that does not work, one that is made by hand, and a record."""
    integration.projects.create(
        external_id="p",
        name="Web",
        keeps_hooks=True,
        refusal_cause="The token's owner may not create service hooks.",
        refusal_fix="Make the owner a Project Administrator.",
        silent_since=timezone.now(),
    )
    integration.projects.create(external_id="q", name="Tools")
    for event_type, state, is_ours in (
        ("git.push", HookState.ON_PROBATION, True),
        ("git.pullrequest.created", HookState.OK, False),
    ):
        integration.subscriptions.create(
            external_id=str(uuid4()),
            event_type=event_type,
            project_id="p",
            is_ours=is_ours,
            state=state,
        )
    HookAction.objects.create(
        integration=integration,
        project_name="Web",
        event_type="git.push",
        kind=HookAction.Kind.RECREATED,
        reason="It is on probation: its events are dropped",
    )


def make_stack(integration: Integration, name: str) -> Stack:
    repository, _ = Repository.objects.get_or_create(
        integration=integration,
        external_id=f"repository-of-{integration.pk}",
        defaults={
            "name": "tools",
            "project_id": "p",
            "project_name": "Web",
            "search_text": "web/tools",
            "default_branch": "main",
        },
    )
    return Stack.objects.create(name=name, repository=repository, branch="main")


def make_fork(stack: Stack) -> PullRequest:
    """Store a pull request of a fork to a stack's branch."""
    return PullRequest.objects.create(
        repository=stack.repository,
        number=13,
        title="An idea",
        author="Eve",
        status="open",
        is_from_fork=True,
        source_branch="idea",
        target_branch=stack.branch,
        source_sha="f" * 40,
        revision=1,
    )


def make_run(stack: Stack, number: int, **changes: Any) -> Run:
    """Store a run, of a push with the same number unless the changes say otherwise."""
    run = new_run(stack, number, **changes)
    run.save()
    return run


def new_run(stack: Stack, number: int, **changes: Any) -> Run:
    """Return a run that is not stored yet."""
    values = {
        "kind": Kind.TRACKED,
        "repository": stack.repository,
        "sha": f"{number:040x}",
        "message": "Add a subnet",
        "branch": stack.branch,
        "position": number,
    }
    return Run(stack=stack, number=number, **values | changes)


def make_state_version(
    run: Run, number: int, content: bytes = b'{"version": 4}', **changes: Any
) -> StateVersion:
    """Store a version of the state of a run's stack."""
    values = {"serial": number, "lineage": "a", "size": len(content), "digest": str(number)}
    version = StateVersion.objects.create(
        stack=run.stack, run=run, number=number, **values | changes
    )
    version.keep(content)
    return version


def make_lock(run: Run) -> StateLock:
    """Lock the state of a run's stack, as the run's program does to apply."""
    return StateLock.objects.create(
        stack=run.stack,
        run=run,
        taken_while=State.APPLYING,
        lock_id="a-lock",
        info={"ID": "a-lock"},
    )


def clients() -> dict[str, Client]:
    """Return one client for each role."""
    people = {
        "admin": make_person("anna", Role.ADMIN),
        "superuser": User.objects.create_superuser("root"),
        "member": make_person("mike", Role.MEMBER),
        "no role": make_person("nora", None),
    }
    return {role: signed_in(person) for role, person in people.items()} | {"stranger": over_https()}
