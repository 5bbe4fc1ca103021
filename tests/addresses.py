"""Every address of the product, taken from the URL resolver, and a world in which each answers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from accounts.models import PersonalToken, Team, User
from accounts.roles import Role
from accounts.tokens.records import create_token
from modules.models import Check, CheckState, Impact, ImpactPlan, ModuleVersion
from modules.registry.links import link_to
from notifications.models import Event, Message, MessageState
from notifications.models import Subscription as NotificationSubscription
from stacks.models import (
    Attachment,
    Dependency,
    PullRequest,
    Run,
    Schedule,
    SharedEnvironment,
    SharedVariable,
    Stack,
    StackVariable,
    StateGrant,
    StateVersion,
)
from stacks.rules.states import State
from tests.builders import (
    make_channel,
    make_check,
    make_fork,
    make_lock,
    make_module,
    make_plan,
    make_run,
    make_schedule,
    make_stack,
    make_state_version,
    make_version,
    store_integration,
)
from tests.conftest import make_person, make_team, over_https, signed_in
from vcs_integrations.models import (
    Delivery,
    HookAction,
    HookState,
    HookTest,
    Integration,
    Subscription,
    Verdict,
)

ROLES = ("admin", "superuser", "approver", "member", "viewer", "no role", "stranger")


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
    shared: SharedVariable
    schedule: Schedule
    grant: StateGrant
    dependency: Dependency
    fork: PullRequest
    delivery: Delivery
    hook_test: HookTest
    module_version: ModuleVersion
    check: Check
    person: User
    team: Team
    token: PersonalToken
    subscription: NotificationSubscription
    message: Message

    def path(self, route: str) -> str:
        """Return an address of that route which leads to something."""
        pk = self.person.pk if route.startswith("settings/people/") else self.integration.pk
        if route.endswith("left-over-hooks/"):
            pk = self.unlinked.pk
        values = {
            "pk": pk,
            "token_pk": self.token.pk,
            "delivery_pk": self.delivery.pk,
            "test_pk": self.hook_test.pk,
            "subscription_pk": self.subscription.pk,
            "channel_pk": self.message.channel_id,
            "message_pk": self.message.pk,
            "slug": self.stack.slug,
            "team_pk": self.team.pk,
            "number": self.run.number,
            "signed": link_to(self.module_version).split("/")[-1].partition("?")[0],
            "change": 1,
            "sha": self.fork.source_sha,
            "variable_pk": self.variable.pk,
            "shared_pk": self.shared.pk,
            "grant_pk": self.grant.pk,
            "dependency_pk": self.dependency.pk,
            "environment_pk": self.shared.environment_id,
            "schedule_pk": self.schedule.pk,
            "version": self.state_version.number,
            "namespace": self.module_version.module.namespace,
            "name": self.module_version.module.name,
            "system": self.module_version.module.system,
            "version_number": self.module_version.number,
            "pull_number": self.fork.number,
            "provider_slug": "azure-devops",
            "endpoint": self.integration.endpoint.uuid,
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
    """Add to a linked integration whatever else has pages."""
    unlinked = store_integration(
        "left",
        name="Left",
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
    environment = SharedEnvironment.objects.create(name="Azure")
    Attachment.objects.create(environment=environment, stack=stack, is_by_hand=True)
    run = make_plan(make_run(stack, 1), {"output_changes": {"url": {"actions": ["create"]}}})
    detached = make_stack(unlinked, "Old network")
    module = make_module(integration)
    make_check(module, f"{1:040x}", state=CheckState.PASSED)
    person = make_person("dave", Role.MEMBER)
    fork = make_fork(stack)
    impact = Impact.objects.create(module=module, pull_request=fork, revision=1, sha=f"{1:040x}")
    ImpactPlan.objects.create(impact=impact, stack=stack, place=1, is_wanted=False)
    return World(
        integration=integration,
        unlinked=unlinked,
        stack=stack,
        run=run,
        variable=StackVariable.objects.create(stack=stack, name="TF_VAR_region", value="eu"),
        shared=SharedVariable.objects.create(
            environment=environment, name="ARM_TENANT_ID", value="tenant"
        ),
        schedule=make_schedule(stack),
        state_version=make_state_version(broken_off, 1),
        detached=detached,
        grant=StateGrant.objects.create(stack=stack, reader=detached),
        dependency=Dependency.objects.create(stack=stack, on=detached),
        fork=fork,
        delivery=Delivery.objects.create(
            integration=integration, outcome="test", event_type="git.push", body=b'{"a": 1}'
        ),
        hook_test=HookTest.objects.create(
            integration=integration,
            external_id=str(uuid4()),
            event_type="git.push",
            project_name="Web",
            verdict=Verdict.WORKS,
            notification_id="1",
        ),
        module_version=make_version(module, "1.0.0"),
        check=make_check(module, "f" * 40, state=CheckState.FAILED),
        person=person,
        team=make_team("Ops", person),
        token=create_token(person, "Laptop", None)[0],
        subscription=NotificationSubscription.objects.create(
            person=person, stack=stack, events=[Event.FAILED]
        ),
        message=Message.objects.create(
            run=broken_off,
            event=Event.FAILED,
            channel=make_channel(),
            state=MessageState.SENT,
        ),
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


def clients() -> dict[str, Client]:
    """Return one client for each role."""
    people = {
        "admin": make_person("anna", Role.ADMIN),
        "superuser": User.objects.create_superuser("root"),
        "approver": make_person("abby", Role.APPROVER),
        "member": make_person("mike", Role.MEMBER),
        "viewer": make_person("vera", Role.VIEWER),
        "no role": make_person("nora", None),
    }
    return {role: signed_in(person) for role, person in people.items()} | {"stranger": over_https()}
