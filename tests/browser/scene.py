"""The pages in their main states, each set up and opened by one function."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone
from playwright.sync_api import FilePayload, Page, expect

from accounts.models import User
from stacks.models import (
    Decision,
    LogChunk,
    PullRequest,
    Report,
    Run,
    RunAction,
    Stack,
    StackVariable,
    StateVersion,
)
from stacks.rules.states import HOLDS_STACK, TRACKED_ONLY, Kind
from stacks.rules.states import State as RunState
from stacks.rules.triggers import Rule
from stacks.sources.heads import follow_from_now
from tests.browser.conftest import Watch, sign_in
from tests.builders import (
    make_lock,
    make_plan,
    make_run,
    make_stack,
    make_state_version,
    propose,
    write_log,
)
from tests.conftest import signed_in
from tests.emulator import Emulator
from tests.emulator.model import Organization
from tests.emulator.pull_requests import PullRequest as EmulatedPullRequest
from tests.stacks.reports.sender import look
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.models import (
    Delivery,
    Integration,
    MailState,
    Notice,
    NoticeKind,
    Subscription,
)
from vcs_integrations.notices.records import notify, withdraw
from vcs_integrations.organizations.refreshing import refresh
from vcs_integrations.providers.base import INTERACTIVE, Outcome, Problem, ProviderError

T = TypeVar("T")
PROVIDERS = "/settings/vcs-providers/"
SET_UP = f"{PROVIDERS}azure-devops/set-up/"
LONG_NAME = "a-long-name-without-a-single-space-" * 2
EXPIRED = ProviderError(
    Problem.TOKEN_EXPIRED, "The token has expired.", "Create a new token and enter it."
)
DOWN = ProviderError(
    Problem.UNAVAILABLE, "Azure DevOps is down (HTTP 503).", "Try again later.", evidence="HTTP 503"
)


class Scene:
    """A page, and what it may be about; the emulator starts only where it is needed."""

    def __init__(self, request: pytest.FixtureRequest, page: Page, site: str, watch: Watch) -> None:
        self._request = request
        self.page = page
        self.site = site
        self.watch = watch

    def fixture(self, name: str, kind: type[T]) -> T:
        value = self._request.getfixturevalue(name)
        assert isinstance(value, kind)
        return value

    @property
    def emulator(self) -> Emulator:
        return self.fixture("emulator", Emulator)

    @property
    def organization(self) -> Organization:
        return self.fixture("organization", Organization)

    @property
    def token(self) -> str:
        return self.fixture("token", str)

    @property
    def integration(self) -> Integration:
        return self.fixture("integration", Integration)

    def do_things(self) -> None:
        """Let alice do some things that are logged."""
        client = signed_in(self.fixture("alice", User))
        ours = f"{PROVIDERS}{self.integration.pk}/"
        client.post(f"{ours}reveal/")
        client.post(f"{ours}test/")
        client.post(f"{ours}edit/", {"name": LONG_NAME})

    def sign_in(self, username: str) -> User:
        person = self.fixture(username, User)
        sign_in(self.page, self.site, person)
        return person

    def admin(self, path: str) -> None:
        """Open a page as alice."""
        self.sign_in("alice")
        self.page.goto(path)

    def member(self, path: str) -> None:
        """Open a page as bob."""
        self.sign_in("bob")
        self.page.goto(path)

    def viewer(self, path: str) -> None:
        """Open a page as vera."""
        self.sign_in("vera")
        self.page.goto(path)

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()

    def stack(self, name: str = "Network") -> Stack:
        repository = self.integration.repositories.get()
        return make_stack(
            repository,
            name,
            description="VNets and peerings",
            project_root="infra/network",
            labels=["azure", "prod"],
        )

    def busy_stack(self) -> Stack:
        """A stack with runs in every state, open pull requests and decisions by every rule."""
        stack = self.stack()
        pull_requests = [
            PullRequest.objects.create(
                repository=stack.repository,
                number=number,
                title=title,
                author="Ann Admin",
                status="open",
                is_draft=number == 12,
                is_from_fork=number == 13,
                trial_merge="conflicts" if number == 14 else "clean",
                source_branch="feature/network",
                target_branch="main",
                revision=2,
            )
            for number, title in ((12, "Add a subnet"), (13, LONG_NAME), (14, "Remove a peering"))
        ]
        held = False  # one run at a time may hold the stack
        for number in range(1, 35):
            state = RunState.values[number % len(RunState)]
            if held and state in HOLDS_STACK & TRACKED_ONLY:
                state = RunState.SUPERSEDED
            is_proposed = state not in TRACKED_ONLY and (number % 2 == 0 or state in HOLDS_STACK)
            held = held or (not is_proposed and state in HOLDS_STACK)
            run = make_run(
                stack,
                number,
                kind=Kind.PROPOSED if is_proposed else Kind.TRACKED,
                state=state,
                sha=f"{number:040x}"[::-1],
                message=LONG_NAME if number == 30 else "Add a subnet for the bastion hosts",
                author="Ann Admin",
                branch="feature/network" if is_proposed else "main",
                is_reconciled=number == 34,
                note="The changed files are not known, so it runs in any case: it was not found.",
            )
            if is_proposed:
                propose(run, pull_requests[number % 3], revision=2)
        newest = stack.runs.get(number=34)
        delivery = self.deliveries()[1]
        for number, rule in enumerate(Rule):
            Decision.objects.create(
                stack=stack,
                delivery=delivery if number % 2 else None,
                subject=f"Push {number} to {LONG_NAME if number == 3 else 'main'}",
                rule=rule,
                sentence="None of the 12 changed paths is under infra/network.",
                run=newest if rule in {Rule.TRACKED, Rule.PROPOSED} else None,
            )
        return stack

    def deliveries(self) -> list[Delivery]:
        body = b'{"eventType": "git.push", "resource": {"pushId": 7, "long": "%s"}}' % (b"x" * 300)
        return [
            Delivery.objects.create(
                integration=self.integration,
                outcome=outcome,
                reason="No stack uses this repository",
                event_type="git.push",
                repository_name=f"Platform Team/{LONG_NAME}",
                headers={"Content-Type": "application/json", "User-Agent": LONG_NAME},
                body=body,
            )
            for outcome in Outcome
        ]


State = Callable[[Scene], None]
STATES: dict[str, State] = {}


def state(name: str) -> Callable[[State], State]:
    def keep(function: State) -> State:
        STATES[name] = function
        return function

    return keep


# Accounts


@state("sign in")
def _sign_in(scene: Scene) -> None:
    scene.page.goto("/sign-in/")


@state("sign in, refused")
def _sign_in_refused(scene: Scene) -> None:
    scene.page.goto("/sign-in/")
    scene.page.get_by_label("Username").fill("nobody")
    scene.page.get_by_label("Password").fill("wrong")
    scene.press("Sign in")
    expect(scene.page.get_by_text("This username or password is wrong.")).to_be_visible()


@state("slowed down")
def _slowed_down(scene: Scene) -> None:
    scene.watch.expected_refusals.add(429)
    for _ in range(5):
        scene.page.goto("/sign-in/")
        scene.page.get_by_label("Username").fill("alice")
        scene.page.get_by_label("Password").fill("wrong")
        scene.press("Sign in")
    expect(scene.page.get_by_role("heading", level=1)).to_have_text("Too many wrong passwords")


@state("own password")
def _own_password(scene: Scene) -> None:
    scene.member("/password/")


@state("own password, with errors")
def _own_password_with_errors(scene: Scene) -> None:
    scene.member("/password/")
    scene.press("Change password")
    expect(scene.page.get_by_text("Fill this in.").first).to_be_visible()


@state("people")
def _people(scene: Scene) -> None:
    scene.sign_in("bob")
    scene.fixture("charlie", User)
    name = "a.person.with.a.very.long.name@fabrikam.example"
    User.objects.create_superuser(name, email=name)
    scene.admin("/settings/people/")


@state("own e-mail address, refused")
def _own_email_refused(scene: Scene) -> None:
    scene.admin("/settings/people/my-address/")
    scene.page.get_by_label("E-mail address").fill("nobody")
    scene.press("Save")
    expect(
        scene.page.get_by_text("Enter an e-mail address, like name@example.com.")
    ).to_be_visible()


@state("add person")
def _add_person(scene: Scene) -> None:
    scene.admin("/settings/people/add/")


@state("add person, with errors")
def _add_person_with_errors(scene: Scene) -> None:
    scene.admin("/settings/people/add/")
    scene.press("Add person")
    expect(scene.page.get_by_text("Fill this in.").first).to_be_visible()


@state("edit person")
def _edit_person(scene: Scene) -> None:
    bob = scene.sign_in("bob")
    scene.admin(f"/settings/people/{bob.pk}/")


@state("remove person")
def _remove_person(scene: Scene) -> None:
    bob = scene.sign_in("bob")
    scene.admin(f"/settings/people/{bob.pk}/remove/")


@state("not allowed")
def _not_allowed(scene: Scene) -> None:
    scene.watch.expected_refusals.add(403)
    scene.member(SET_UP)


@state("stack, for a viewer")
def _stack_for_a_viewer(scene: Scene) -> None:
    scene.busy_stack()
    scene.viewer("/stacks/network/")


@state("no role yet")
def _no_role_yet(scene: Scene) -> None:
    scene.watch.expected_refusals.add(403)
    scene.sign_in("charlie")
    scene.page.goto("/")


@state("not found")
def _not_found(scene: Scene) -> None:
    scene.watch.expected_refusals.add(404)
    scene.admin("/stacks/no-such-stack/")


# Start page


@state("start, nothing linked")
def _start_empty(scene: Scene) -> None:
    scene.admin("/")


@state("start, nothing linked, for a member")
def _start_empty_for_a_member(scene: Scene) -> None:
    scene.member("/")


@state("start, linked")
def _start_linked(scene: Scene) -> None:
    assert scene.integration
    scene.admin("/")


@state("start, all there is")
def _start_full(scene: Scene) -> None:
    scene.stack()
    scene.deliveries()
    scene.member("/")


@state("start, an inbox with everything")
def _start_inbox(scene: Scene) -> None:
    stack = scene.busy_stack()
    other = scene.stack(LONG_NAME)
    long_ago = timezone.now() - timedelta(hours=1)
    make_run(other, 1, state=RunState.FAILED, failure="The provider refused. " * 20)
    make_run(other, 2, message="Widen the address space " * 8, moved_at=long_ago)
    stack.drift_run = make_run(
        stack, kind=Kind.DRIFT, state=RunState.FINISHED, drifted=2, changed_outputs=1
    )
    stack.save()
    scene.member("/")
    expect(scene.page.get_by_role("heading", name="Drift")).to_be_visible()


@state("start, nothing needs anybody")
def _start_quiet(scene: Scene) -> None:
    stack = scene.stack()
    scene.deliveries()
    make_run(stack, 1, state=RunState.FINISHED, message="Widen the address space " * 8)
    scene.member("/")
    expect(scene.page.get_by_role("heading", name="Nothing needs you")).to_be_visible()


@state("start, with notices")
def _start_with_notices(scene: Scene) -> None:
    stack = scene.stack()
    stack.lose_head(1)
    scene.integration.record_failure(EXPIRED)
    long_ago = timezone.now() - timedelta(days=1)
    Integration.objects.update(token_expires_on=timezone.now().date(), due_at=long_ago)
    scene.admin("/")


@state("start, deliveries waiting")
def _start_deliveries_waiting(scene: Scene) -> None:
    delivery = scene.deliveries()[0]
    delivery.received_at = timezone.now() - timedelta(hours=1)
    delivery.due_at = delivery.received_at
    delivery.save()
    scene.admin("/")
    expect(scene.page.get_by_text("Deliveries wait to be processed")).to_be_visible()


# VCS providers


@state("providers, nothing linked")
def _providers_empty(scene: Scene) -> None:
    scene.admin(PROVIDERS)


@state("providers, linked")
def _providers_linked(scene: Scene) -> None:
    assert scene.integration
    scene.admin(PROVIDERS)
    scene.press("Reveal")
    expect(scene.page.get_by_role("button", name="Reveal")).to_have_count(0)
    scene.press("Test")
    expect(scene.page.get_by_text("Connecting to Azure DevOps succeeded")).to_be_visible()


@state("providers, failing")
def _providers_failing(scene: Scene) -> None:
    Integration.objects.filter(pk=scene.integration.pk).update(
        description="The organization of the platform team", name=LONG_NAME
    )
    scene.emulator.faults.add("token-expired")
    scene.admin(PROVIDERS)
    scene.press("Test")
    expect(scene.page.get_by_role("alert")).to_contain_text("The token has expired.")


@state("providers, retrying and ending soon")
def _providers_retrying(scene: Scene) -> None:
    scene.integration.record_failure(DOWN)
    scene.integration.record_failure(DOWN)
    soon = timezone.now().date() + timedelta(days=3)
    Integration.objects.update(token_expires_on=soon)
    scene.admin(PROVIDERS)


@state("providers, linked again")
def _providers_linked_again(scene: Scene) -> None:
    _left_over(scene)
    scene.admin(PROVIDERS)
    expect(scene.page.get_by_text("Create these service hooks again.")).to_be_visible()


@state("providers, for a member")
def _providers_for_a_member(scene: Scene) -> None:
    assert scene.integration
    scene.member(PROVIDERS)


@state("set up")
def _set_up(scene: Scene) -> None:
    scene.admin(SET_UP)


@state("set up, with errors")
def _set_up_with_errors(scene: Scene) -> None:
    scene.admin(SET_UP)
    scene.page.get_by_label("Organization URL").fill(
        f"https://dev.azure.com.evil.example/{LONG_NAME}"
    )
    scene.page.get_by_label("Personal access token").fill("a token")
    scene.press("Save")
    expect(scene.page.locator("[aria-invalid=true]").first).to_be_visible()


@state("edit integration")
def _edit_integration(scene: Scene) -> None:
    scene.admin(f"{PROVIDERS}{scene.integration.pk}/edit/")


@state("edit integration, with a token that can do less")
def _edit_integration_refused(scene: Scene) -> None:
    _edit_integration(scene)
    narrow = scene.organization.add_token({"vso.code", "vso.code_status"})
    scene.page.get_by_label("New personal access token").fill(narrow)
    scene.press("Save")
    expect(scene.page.get_by_label("Replace anyway")).to_be_visible()


@state("audit log, empty")
def _audit_log_empty(scene: Scene) -> None:
    scene.admin("/settings/audit-log/")


@state("audit log")
def _audit_log(scene: Scene) -> None:
    scene.do_things()
    scene.admin("/settings/audit-log/")


@state("audit log, with refusals")
def _audit_log_with_refusals(scene: Scene) -> None:
    path = f"/webhooks/azure-devops/{scene.integration.endpoint.uuid}/"
    address = "2001:db8:1234:5678:9abc:def0:1234:5678"
    stranger = Client(headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": address})
    for _ in range(2):
        stranger.post(path, b"{}", content_type="application/json")
        stranger.post("/sign-in/", {"username": "somebody", "password": "wrong"})
    scene.admin("/settings/audit-log/")


@state("audit log, nothing found")
def _audit_log_nothing(scene: Scene) -> None:
    scene.do_things()
    scene.admin("/settings/audit-log/?person=nobody")


@state("integration, with what the token may do")
def _integration_checked(scene: Scene) -> None:
    organization, integration = scene.organization, scene.integration
    platform, shop = organization.projects[0], organization.add_project("Shop")
    shop.add_repository("web")
    organization.add_project(LONG_NAME).add_repository(LONG_NAME)
    organization.deny("Ann Admin", "contribute_to_pull_requests", shop)
    organization.deny("Ann Admin", "edit_subscriptions", platform)
    refresh(integration, INTERACTIVE)
    integration.repositories.update(due_at=timezone.now())
    organization.permissions_api = False
    scene.admin(integration.get_absolute_url())
    expect(scene.page.get_by_text("Not checked yet.")).to_be_visible()
    scene.press("Test")
    expect(scene.page.get_by_text("The token lacks 3 rights")).to_be_visible()
    expect(scene.page.locator("#checkup").get_by_text("Checked")).to_be_visible()


@state("integration, new")
def _integration_new(scene: Scene) -> None:
    scene.admin(scene.integration.get_absolute_url())


@state("integration, in use")
def _integration_in_use(scene: Scene) -> None:
    scene.deliveries()
    long_ago = timezone.now() - timedelta(hours=1)
    scene.integration.repositories.update(due_at=timezone.now(), reconciled_at=long_ago, failures=3)
    scene.do_things()
    scene.admin(scene.integration.get_absolute_url())


@state("notices, none")
def _notices_none(scene: Scene) -> None:
    scene.admin(f"{scene.integration.get_absolute_url()}notices/")


@state("notices")
def _notices(scene: Scene) -> None:
    for number, mail in enumerate(MailState):
        subject = LONG_NAME if number == 3 else "The hooks of Platform Team can't be made"
        text = "The token's owner lacks Edit subscriptions: ask a project administrator."
        notify(scene.integration, NoticeKind.HOOKS_REFUSED, str(number), subject, text)
        notice = Notice.objects.get(key=str(number))
        problem = "" if mail == MailState.SENT else "The mail server refused the sign-in (535)."
        notice.mails.create(address="a@example.com", state=mail, problem=problem)
        notice.mails.create(address="b@example.com", state=MailState.SENT)
    withdraw(scene.integration, NoticeKind.HOOKS_REFUSED, key="1")
    scene.admin(f"{scene.integration.get_absolute_url()}notices/")


@state("deliveries, none")
def _deliveries_empty(scene: Scene) -> None:
    scene.admin(f"{PROVIDERS}{scene.integration.pk}/deliveries/")


@state("deliveries")
def _deliveries(scene: Scene) -> None:
    for _ in range(11):
        scene.deliveries()
    scene.admin(f"{PROVIDERS}{scene.integration.pk}/deliveries/")


@state("deliveries, no match")
def _deliveries_no_match(scene: Scene) -> None:
    scene.deliveries()
    scene.admin(f"{PROVIDERS}{scene.integration.pk}/deliveries/")
    scene.page.get_by_label("Repository").press_sequentially("nothing of this")
    expect(scene.page.get_by_text("No delivery matches.")).to_be_visible()


@state("delivery, with decisions")
def _delivery_with_decisions(scene: Scene) -> None:
    scene.busy_stack()
    delivery = Delivery.objects.get(outcome=Outcome.RUN)
    scene.admin(delivery.get_absolute_url())


@state("delivery, waiting")
def _delivery_waiting(scene: Scene) -> None:
    delivery = scene.deliveries()[0]
    delivery.due_at = timezone.now()
    delivery.save()
    delivery.retry_later(
        timedelta(minutes=4), timedelta(minutes=4), reason=f"Waiting: {DOWN.cause}"
    )
    scene.admin(delivery.get_absolute_url())


@state("delivery")
def _delivery(scene: Scene) -> None:
    delivery = scene.deliveries()[0]
    scene.admin(f"{PROVIDERS}{scene.integration.pk}/deliveries/{delivery.pk}/")


@state("unlink")
def _unlink(scene: Scene) -> None:
    scene.stack()
    scene.organization.add_subscription(
        scene.organization.projects[0], "git.push", scene.integration.endpoint_url
    )
    scene.admin(f"{PROVIDERS}{scene.integration.pk}/unlink/")


@state("unlink, hooks unknown")
def _unlink_hooks_unknown(scene: Scene) -> None:
    path = f"{PROVIDERS}{scene.integration.pk}/unlink/"
    scene.emulator.faults.add("unavailable")
    scene.admin(path)


@state("left-over hooks")
def _left_over_hooks(scene: Scene) -> None:
    _left_over(scene)
    scene.admin(f"{PROVIDERS}{scene.integration.pk}/left-over-hooks/")


def _left_over(scene: Scene) -> None:
    Subscription.objects.create(
        integration=scene.integration,
        external_id="1",
        event_type="git.push",
        project_id=scene.organization.projects[0].id,
        is_of_before=True,
    )


# Stacks


@state("stacks, none")
def _stacks_empty(scene: Scene) -> None:
    scene.member("/stacks/")


@state("stacks")
def _stacks(scene: Scene) -> None:
    for number in range(52):
        stack = scene.stack(f"Network {number}")
        if number % 5:
            make_run(stack, 1, state=RunState.values[number % len(RunState)])
    waits = scene.stack(f"A {LONG_NAME}")
    make_run(waits, 11, state=RunState.UNCONFIRMED)
    make_run(waits, 12)
    waits.drift_run = make_run(waits, 13, kind=Kind.DRIFT, drifted=2, changed_outputs=0)
    waits.project_root = "environments/production/network"
    waits.branch_gone_at = timezone.now()
    waits.save()
    scene.member("/stacks/?label=prod&sort=state")


@state("stacks, no match")
def _stacks_no_match(scene: Scene) -> None:
    scene.stack()
    scene.member("/stacks/")
    scene.page.get_by_label("Search stacks").press_sequentially("cluster")
    expect(scene.page.get_by_text("No stack matches “cluster”.")).to_be_visible()


@state("runs, none")
def _runs_empty(scene: Scene) -> None:
    scene.member("/runs/")


@state("runs")
def _runs(scene: Scene) -> None:
    for number in range(3):
        stack = scene.stack(f"Network {number}" if number else LONG_NAME)
        make_run(
            stack,
            1,
            state=RunState.UNCONFIRMED,
            author="Ann Admin",
            added=3,
            changed=1,
            destroyed=0,
        )
    make_run(stack, 2, operation="destroy", origin="person")
    make_run(stack, 3, kind=Kind.DRIFT, drifted=2, changed_outputs=0)
    scene.busy_stack()
    scene.member("/runs/")
    expect(scene.page.get_by_role("link", name="Runs 4 waiting for confirmation")).to_be_visible()


@state("runs, a filter that makes no sense")
def _runs_no_sense(scene: Scene) -> None:
    scene.stack()
    scene.member("/runs/?stack=cluster")
    expect(scene.page.get_by_text("Stack: There is no stack “cluster”.")).to_be_visible()


@state("create stack, nothing linked")
def _create_nothing_linked(scene: Scene) -> None:
    scene.admin("/stacks/new/")


@state("create stack, step 1")
def _create_step_1(scene: Scene) -> None:
    assert scene.integration
    scene.member("/stacks/new/")


@state("create stack, step 1, list open")
def _create_list_open(scene: Scene) -> None:
    scene.organization.projects[0].add_repository(LONG_NAME)
    _create_step_1(scene)
    scene.page.get_by_role("combobox", name="Repository").click()
    expect(scene.page.get_by_role("listbox").get_by_role("option")).to_have_count(2)
    scene.page.keyboard.press("ArrowDown")


@state("create stack, step 1, with errors")
def _create_step_1_with_errors(scene: Scene) -> None:
    _create_step_1(scene)
    scene.page.get_by_label("Repository").fill("Platform Team/nothing")
    scene.press("Continue")
    expect(scene.page.get_by_text("has no repository")).to_be_visible()


@state("clone stack")
def _clone(scene: Scene) -> None:
    stack = scene.stack()
    for name, is_secret in (("TF_VAR_region", False), ("ARM_CLIENT_SECRET", True)):
        StackVariable.objects.create(stack=stack, name=name, value="a-value", is_secret=is_secret)
    scene.member("/stacks/network/")
    scene.page.get_by_role("link", name="Clone").click()
    expect(scene.page.get_by_text("Secrets are never copied.")).to_be_visible()


@state("create stack, step 2")
def _create_step_2(scene: Scene) -> None:
    _create_step_1(scene)
    scene.page.get_by_label("Repository").fill("Platform Team/infrastructure")
    scene.press("Continue")
    expect(scene.page.get_by_label("Project root")).to_be_visible()


@state("create stack, step 2, with errors")
def _create_step_2_with_errors(scene: Scene) -> None:
    _create_step_2(scene)
    scene.page.get_by_label("Name", exact=True).fill("")
    scene.press("Continue")
    expect(scene.page.get_by_text("Give the stack a name.")).to_be_visible()


@state("create stack, step 3")
def _create_step_3(scene: Scene) -> None:
    _create_step_2(scene)
    scene.page.get_by_label("Name", exact=True).fill("Network")
    scene.press("Continue")
    expect(scene.page.get_by_label("Also run on these paths")).to_be_visible()


@state("create stack, step 3, with errors")
def _create_step_3_with_errors(scene: Scene) -> None:
    _create_step_3(scene)
    scene.page.get_by_label("Also run on these paths").fill("modules/{a}")
    scene.press("Continue")
    expect(scene.page.get_by_text("has braces")).to_be_visible()


@state("create stack, step 4")
def _create_step_4(scene: Scene) -> None:
    _create_step_3(scene)
    scene.press("Continue")
    expect(scene.page.get_by_label("Tool")).to_have_value("terraform")


@state("create stack, step 4, with errors")
def _create_step_4_with_errors(scene: Scene) -> None:
    _create_step_4(scene)
    scene.page.get_by_label("Version").fill("1.11")
    scene.press("Create stack")
    expect(scene.page.get_by_text("is 1.11.0 and no later one")).to_be_visible()


@state("stack")
def _stack(scene: Scene) -> None:
    scene.member(scene.stack().get_absolute_url())
    expect(scene.page.get_by_text("Initial commit")).to_be_visible()


@state("reports, none")
def _reports_none(scene: Scene) -> None:
    scene.admin(f"{scene.integration.get_absolute_url()}reports/")


@state("reports, that fail and that are refused")
def _reports(scene: Scene) -> None:
    stack = scene.busy_stack()
    hour_ago = timezone.now() - timedelta(hours=1)
    failing = Report.objects.filter(pk__in=Report.objects.values("pk")[:20])
    failing.update(failures=3, problem=DOWN.cause, failed_at=hour_ago, changed_at=hour_ago)
    refused = Report.objects.filter(pull_request__number=13)
    refused.update(state="refused", problem="Pull request 13 is merged.", failed_at=hour_ago)
    Report.objects.filter(stack=stack, sha__startswith="a").update(name=LONG_NAME)
    scene.admin(f"{scene.integration.get_absolute_url()}reports/")


@state("integration, with reports that wait until later")
def _integration_held(scene: Scene) -> None:
    scene.busy_stack()
    Report.objects.update(failures=1, problem=DOWN.cause, failed_at=timezone.now())
    Integration.objects.update(reports_held_until=timezone.now() + timedelta(minutes=1))
    scene.admin(f"{scene.integration.get_absolute_url()}reports/")
    scene.page.get_by_role("link", name="Integration", exact=True).click()
    expect(scene.page.get_by_text("waiting, the oldest from")).to_be_visible()


@state("stack, with runs")
def _stack_with_runs(scene: Scene) -> None:
    stack = scene.busy_stack()
    stack.extra_globs, stack.runs_forks = ["modules/*", "*.tfvars", "a", "b"], True
    stack.pull_requests_only, stack.runs_drafts = True, False
    stack.save()
    scene.member(stack.get_absolute_url())
    expect(scene.page.get_by_text("Initial commit")).to_be_visible()


def _older(scene: Scene, count: int) -> Stack:
    """A stack with open pull requests that are older than it."""
    stack = scene.stack()
    for number in range(1, count + 1):
        PullRequest.objects.create(
            repository=stack.repository,
            number=number,
            title=LONG_NAME if number == 2 else "Add a subnet",
            author="Ann Admin",
            status="open",
            source_branch=f"feature/{number}",
            target_branch="main",
            revision=1,
        )
    return stack


@state("stack, with pull requests that wait for a person")
def _stack_with_older(scene: Scene) -> None:
    stack = _older(scene, 12)
    Stack.objects.update(plans_older=False)
    scene.member(stack.get_absolute_url())
    expect(scene.page.get_by_role("button", name="Plan 12 open pull requests")).to_be_visible()


@state("stack, with a pull request that waits for its turn")
def _stack_with_older_planned(scene: Scene) -> None:
    stack = _older(scene, 1)
    Stack.objects.update(plans_older=True, plan_older_at=timezone.now())
    scene.member(stack.get_absolute_url())
    expect(scene.page.get_by_text("waits to be planned")).to_be_visible()


def _fork(scene: Scene) -> tuple[Stack, EmulatedPullRequest]:
    """A stack, and a pull request of a fork that it does not run."""
    stack = scene.stack()
    Stack.objects.update(path_rule=False, project_root="")
    assert follow_from_now(stack) is None
    repository = scene.organization.projects[0].repositories[0]
    fork = repository.fork("fork")
    author = f"{LONG_NAME} <eve@fork.example>"
    fork.push({"a.tf": "1"}, LONG_NAME, "Add a subnet", author=author, start="main")
    one = repository.open_pull_request(LONG_NAME, fork=fork, title=LONG_NAME)
    look(stack)
    return stack, one


@state("stack, with a blocked fork")
def _stack_with_fork(scene: Scene) -> None:
    stack, _ = _fork(scene)
    scene.member(stack.get_absolute_url())
    expect(scene.page.get_by_role("link", name="Allow pull request 1 once")).to_be_visible()


@state("activity, with a blocked fork")
def _activity_with_fork(scene: Scene) -> None:
    stack, _ = _fork(scene)
    scene.member(f"{stack.get_absolute_url()}activity/")
    expect(scene.page.get_by_role("link", name="Allow once")).to_be_visible()


@state("allow a fork")
def _allow_fork(scene: Scene) -> None:
    stack, one = _fork(scene)
    scene.member(f"{stack.get_absolute_url()}forks/{one.source_commit}/")
    expect(scene.page.get_by_role("button", name="Allow once")).to_be_visible()


@state("allow a fork, with a newer commit")
def _allow_fork_newer(scene: Scene) -> None:
    stack, one = _fork(scene)
    sha = one.source_commit
    one.push({"a.tf": "2"})
    scene.member(f"{stack.get_absolute_url()}forks/{sha}/")
    expect(scene.page.get_by_text("has a newer commit by now.")).to_be_visible()


@state("allow a fork that can't be read")
def _allow_fork_unread(scene: Scene) -> None:
    stack, one = _fork(scene)
    scene.emulator.faults.add("unavailable")
    scene.member(f"{stack.get_absolute_url()}forks/{one.source_commit}/")
    expect(scene.page.get_by_text("The commit could not be read.")).to_be_visible()


@state("run, of a fork that was allowed")
def _run_allowed(scene: Scene) -> None:
    stack, one = _fork(scene)
    scene.member(f"{stack.get_absolute_url()}forks/{one.source_commit}/")
    scene.press("Allow once")
    expect(scene.page.get_by_text("Allowed by bob")).to_be_visible()


@state("run")
def _run(scene: Scene) -> None:
    stack = scene.busy_stack()
    run = stack.runs.get(number=34)
    run.warnings = [f"TF_VAR_region has no effect: {LONG_NAME}.auto.tfvars sets region."]
    run.save()
    scene.admin(run.get_absolute_url())


@state("run, queued, for a member")
def _run_queued(scene: Scene) -> None:
    stack = scene.busy_stack()
    run = stack.runs.filter(state=RunState.QUEUED)[0]
    scene.member(run.get_absolute_url())


@state("run, with plan and log")
def _run_with_plan(scene: Scene) -> None:
    run = scene.busy_stack().runs.get(state=RunState.UNCONFIRMED)
    make_plan(run, a_plan())
    tool = {
        "tool": "terraform",
        "tool_version": "1.11.4",
        "tool_version_from": ".terraform-version",
    }
    Run.objects.filter(pk=run.pk).update(destroys_everything=True, unlisted=3, **tool)
    text = "".join(f"\x1b[{code}m{code} {LONG_NAME * 3}\n" for code in (0, 1, 2, 4, *range(30, 38)))
    write_log(run, text)
    RunAction.objects.create(run=run, action="cancel", username="ann", note=LONG_NAME)
    scene.member(run.get_absolute_url())


@state("run, log with times")
def _run_log_times(scene: Scene) -> None:
    run = make_run(scene.stack("Network"), 1, state=RunState.PLANNING)
    write_log(run, f"Fetching {LONG_NAME * 3}\n" * 3, phase=LogChunk.Phase.FETCHING)
    write_log(run, "\x1b[1mInitializing the backend...\x1b[0m\n\n" * 3, "Planning\n")
    scene.member(f"{run.get_absolute_url()}?times")
    expect(scene.page.get_by_role("link", name="Hide times")).to_be_visible()


@state("run, log searched from a line")
def _run_log_searched(scene: Scene) -> None:
    run = scene.busy_stack().runs.filter(state=RunState.FAILED)[0]
    write_log(run, f"Fetching {LONG_NAME * 3}\n" * 9, phase=LogChunk.Phase.FETCHING)
    write_log(run, f"\x1b[32mPlanning\x1b[0m {LONG_NAME}\n" * 30)
    scene.member(f"{run.get_absolute_url()}?find=ing&line=12#L12")


@state("run, asked once more")
def _confirm_run(scene: Scene) -> None:
    run = make_plan(scene.busy_stack().runs.get(state=RunState.UNCONFIRMED), a_plan())
    scene.member(run.get_absolute_url())
    scene.page.get_by_role("link", name="Apply: ").click()
    expect(scene.page.get_by_role("heading", name="Apply this plan?")).to_be_visible()


@state("run, that no worker starts")
def _run_without_worker(scene: Scene) -> None:
    run = make_run(scene.stack(), 1, moved_at=timezone.now() - timedelta(hours=1))
    scene.member(run.get_absolute_url())
    expect(scene.page.get_by_text("doesn't appear to be running")).to_be_visible()


@state("run, superseded")
def _run_superseded(scene: Scene) -> None:
    stack = scene.stack()
    run = make_run(stack, 1, state=RunState.SUPERSEDED)
    make_run(stack, 2)
    scene.member(run.get_absolute_url())
    expect(scene.page.get_by_text("Superseded by Run 2")).to_be_visible()


def a_plan() -> dict[str, Any]:
    """A plan with what plans may have, in modules with long names."""
    module = f"module.{LONG_NAME}"
    policy = {"Statement": [{"Effect": "Allow", "Action": "read", "Resource": "*"}]}
    changed = {"Statement": [{"Effect": "Deny", "Action": "read", "Resource": "*"}]}
    script = "".join(f"echo line {number}\n" for number in range(30))
    resources = [
        {
            "address": f"{module}.azurerm_subnet.a",
            "module_address": module,
            "type": "azurerm_subnet",
            "action_reason": "replace_because_cannot_update",
            "change": {
                "actions": ["delete", "create"],
                "before": {
                    "id": LONG_NAME,
                    "name": "a",
                    "script": script,
                    "policy": json.dumps(policy),
                    "password": "old",
                    "tags": {"owner": "ann"},
                },
                "after": {
                    "name": LONG_NAME,
                    "script": script.replace("line 15", "line fifteen"),
                    "policy": json.dumps(changed),
                    "password": "new",
                    "tags": {"owner": "ann", "env": "prod"},
                },
                "after_unknown": {"id": True},
                "after_sensitive": {"password": True},
                "replace_paths": [["name"]],
            },
        },
        {
            "address": "azurerm_subnet.moved",
            "previous_address": "azurerm_subnet.before",
            "change": {"actions": ["update"], "before": {"size": 1}, "after": {"size": 2}},
        },
        {"address": "azurerm_subnet.left", "change": {"actions": ["forget"]}},
        {"address": "azurerm_subnet.new", "change": {"actions": ["create"]}},
        {
            "address": "azurerm_subnet.found",
            "change": {"actions": ["no-op"], "importing": {"id": "/subscriptions/1"}},
        },
        *(
            {"address": f"azurerm_subnet.b[{number}]", "change": {"actions": ["create"]}}
            for number in range(60)
        ),
    ]
    url = {"actions": ["update"], "before": "http://a", "after": LONG_NAME}
    drift = {"actions": ["update"], "before": {"size": 1}, "after": {"size": 2}}
    return {
        "resource_changes": resources,
        "resource_drift": [{"address": "azurerm_subnet.moved", "change": drift}],
        "output_changes": {"url": url},
    }


@state("plan")
def _plan(scene: Scene) -> None:
    run = make_plan(scene.busy_stack().runs.get(state=RunState.UNCONFIRMED), a_plan())
    scene.member(f"{run.get_absolute_url()}plan/")
    scene.page.locator("summary").first.click()
    expect(scene.page.get_by_text("Forces replacement")).to_be_visible()


@state("plan, of a module, searched")
def _plan_searched(scene: Scene) -> None:
    run = make_plan(scene.busy_stack().runs.get(state=RunState.UNCONFIRMED), a_plan())
    scene.member(f"{run.get_absolute_url()}plan/?module=module.{LONG_NAME}")
    scene.page.get_by_label("Search").fill("nothing of the kind")
    expect(scene.page.get_by_text("No change matches.")).to_be_visible()


@state("plan, one change")
def _plan_change(scene: Scene) -> None:
    run = make_plan(scene.busy_stack().runs.get(state=RunState.UNCONFIRMED), a_plan())
    scene.member(f"{run.get_absolute_url()}plan/1/")


@state("run, failed")
def _run_failed(scene: Scene) -> None:
    run = scene.busy_stack().runs.filter(state=RunState.FAILED)[0]
    Run.objects.filter(pk=run.pk).update(failure="The plan failed. The end of the log says why.")
    scene.member(run.get_absolute_url())


@state("activity, none")
def _activity_empty(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}activity/")


@state("activity")
def _activity(scene: Scene) -> None:
    scene.admin(f"{scene.busy_stack().get_absolute_url()}activity/")


@state("activity, no match")
def _activity_no_match(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}activity/")
    scene.page.get_by_label("Show").select_option("Fork")
    expect(scene.page.get_by_text("No decision matches.")).to_be_visible()


@state("state, none")
def _state_none(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}state/versions/")


@state("state, still locked")
def _state_locked(scene: Scene) -> None:
    stack = _locked_state(scene)
    scene.admin(f"{stack.get_absolute_url()}state/versions/")


@state("state, of another backend, for a member")
def _state_for_a_member(scene: Scene) -> None:
    stack = _locked_state(scene)
    Stack.objects.update(backend="own")
    stack.runs.filter(kind=Kind.TRACKED, state__in=HOLDS_STACK).update(state=RunState.FINISHED)
    stack.runs.filter(state_locks__isnull=False).update(state=RunState.APPLYING)
    scene.member(f"{stack.get_absolute_url()}state/versions/")


@state("upload state, with errors")
def _upload_state(scene: Scene) -> None:
    scene.admin(f"{scene.stack().get_absolute_url()}state/versions/")
    scene.page.get_by_role("link", name="Upload a state").click()
    scene.press("Continue")
    expect(scene.page.get_by_text("Choose a file.")).to_be_visible()


@state("confirm state")
def _confirm_state(scene: Scene) -> None:
    _leading_variables(scene)
    scene.admin("/stacks/network/state/upload/")
    content = {"version": 4, "serial": 7, "lineage": LONG_NAME, "resources": []}
    file = FilePayload(
        name="terraform.tfstate",
        mimeType="application/json",
        buffer=json.dumps(content).encode(),
    )
    scene.page.get_by_label("State file").set_input_files(file)
    scene.press("Continue")
    expect(scene.page.get_by_role("heading", name="Use this state?")).to_be_visible()


@state("unlock state")
def _unlock_state(scene: Scene) -> None:
    scene.admin(f"{_locked_state(scene).get_absolute_url()}state/unlock/")


@state("compare states")
def _compare_states(scene: Scene) -> None:
    stack = _two_states(scene)
    scene.admin(f"{stack.get_absolute_url()}state/compare/?old=1&new=2")
    expect(scene.page.get_by_text("1 changed")).to_be_visible()
    scene.page.locator("summary").first.click()
    expect(scene.page.get_by_text("(sensitive)").first).to_be_visible()


@state("compare states, with errors")
def _compare_states_with_errors(scene: Scene) -> None:
    scene.admin(f"{_two_states(scene).get_absolute_url()}state/compare/?old=9&new=2")
    expect(scene.page.get_by_text("There is no version 9 of this state.")).to_be_visible()


@state("restore state, with errors")
def _restore_state(scene: Scene) -> None:
    stack = _two_states(scene)
    scene.admin(f"{stack.get_absolute_url()}state/versions/1/restore/")
    scene.page.get_by_label("Name of the stack").fill("Something else")
    scene.press("Restore")
    expect(scene.page.get_by_text("To confirm, type the stack's name:")).to_be_visible()


def _two_states(scene: Scene) -> Stack:
    """A stack whose state has two versions, and that no run holds."""
    stack = scene.busy_stack()
    stack.runs.filter(state__in=HOLDS_STACK).update(state=RunState.FINISHED)
    run = stack.runs.all()[0]
    for number in (1, 2):
        attributes = {
            "name": LONG_NAME,
            "script": f"first\nsecond {number}\nthird",
            "password": f"hush-{number}",
            "tags": {"number": number},
        }
        path = [{"type": "get_attr", "value": "password"}]
        instance = {"attributes": attributes, "sensitive_attributes": [path]}
        resource = {"module": f"module.{LONG_NAME}", "type": "azurerm_subnet", "name": "a"}
        content = {
            "version": 4,
            "serial": number,
            "lineage": "a",
            "resources": [resource | {"instances": [instance]}],
            "outputs": {f"url_{number}": {"value": LONG_NAME}},
        }
        make_state_version(run, number, json.dumps(content).encode(), resources=1)
    return stack


@state("delete stack, with state")
def _delete_stack_with_state(scene: Scene) -> None:
    scene.admin(f"{_locked_state(scene).get_absolute_url()}delete/")


def _locked_state(scene: Scene) -> Stack:
    """A stack with many versions of its state, which a failed run left locked."""
    stack = scene.busy_stack()
    run = stack.runs.filter(state=RunState.FAILED, kind=Kind.TRACKED)[0]
    for number in range(1, 33):
        make_state_version(run, number, resources=number * 40, tool_version="1.11.4")
    StateVersion.objects.filter(number=31).update(is_deletion=True)
    StateVersion.objects.filter(number=30).update(run=None)
    make_lock(run)
    return stack


@state("environment, empty")
def _environment_empty(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}environment/")


@state("environment, with errors")
def _environment_with_errors(scene: Scene) -> None:
    _some_variable(scene)
    scene.member("/stacks/network/environment/")
    scene.page.get_by_label("Name", exact=True).fill("TF_LOG")
    scene.press("Add variable")
    expect(scene.page.get_by_text("Stackhook sets what begins with TF_")).to_be_visible()


@state("environment, of another key")
def _environment_of_another_key(scene: Scene) -> None:
    _some_variable(scene)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE stacks_stackvariable SET value = %s", [b"of another key"])
    scene.member("/stacks/network/environment/")


@state("environment, where a secret is sent")
def _environment_of_a_first_secret(scene: Scene) -> None:
    _leading_variables(scene)
    scene.member("/stacks/network/environment/")
    scene.page.get_by_label("Name", exact=True).fill("TF_VAR_password")
    scene.page.get_by_label("Value").fill("a-secret")
    scene.page.get_by_label("Secret", exact=True).check()
    scene.press("Add variable")
    expect(scene.page.get_by_text("The secret was not stored")).to_be_visible()


@state("change variable, for admins")
def _change_variable_for_admins(scene: Scene) -> None:
    variable = _leading_variables(scene)
    StackVariable.objects.create(stack=variable.stack, name="B", value="a-secret", is_secret=True)
    scene.member(f"/stacks/network/environment/{variable.pk}/")
    expect(scene.page.get_by_text("Only an admin may add or change")).to_be_visible()


@state("change variable")
def _change_variable(scene: Scene) -> None:
    scene.member(f"/stacks/network/environment/{_some_variable(scene).pk}/")


@state("remove variable")
def _remove_variable(scene: Scene) -> None:
    scene.member(f"/stacks/network/environment/{_some_variable(scene).pk}/remove/")


def _leading_variables(scene: Scene) -> StackVariable:
    """Some that decide where secrets are sent."""
    stack = scene.stack()
    StackVariable.objects.create(stack=stack, name="GOOGLE_CREDENTIALS", value=f"{LONG_NAME}\n" * 9)
    StackVariable.objects.create(stack=stack, name=f"OS_{LONG_NAME}", value="")
    return StackVariable.objects.create(stack=stack, name="VAULT_ADDR", value="https://vault.test")


def _some_variable(scene: Scene) -> StackVariable:
    """A secret one, of a stack that has others, too."""
    stack = scene.stack()
    for name, value in (("TF_VAR_region", "westeurope"), ("TF_VAR_long", f"{LONG_NAME}\n" * 9)):
        StackVariable.objects.create(stack=stack, name=name, value=value)
    return StackVariable.objects.create(
        stack=stack, name=f"TF_VAR_{LONG_NAME}", value="a-secret", is_secret=True
    )


@state("stack, branch gone")
def _stack_branch_gone(scene: Scene) -> None:
    stack = scene.stack()
    Stack.objects.update(branch="gone")
    scene.member(stack.get_absolute_url())
    expect(scene.page.get_by_text("The branch is gone.")).to_be_visible()


@state("stack, detached")
def _stack_detached(scene: Scene) -> None:
    stack = scene.stack()
    unlink(scene.integration)
    scene.member(stack.get_absolute_url())


@state("edit stack")
def _edit_stack(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}edit/")


@state("change behavior")
def _change_behavior(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}behavior/")


@state("change behavior, with matching files")
def _change_behavior_with_matches(scene: Scene) -> None:
    stack = scene.stack()
    long = "-".join(["a-very-long-name"] * 8)
    names = {f"modules/{number:02}/main.tf": "1" for number in range(25)}
    scene.organization.projects[0].repositories[0].push({f"modules/{long}.tf": "1", **names})
    Stack.objects.update(extra_globs=["modules/**/*.tf", "!modules/07/"])
    scene.member(f"{stack.get_absolute_url()}behavior/")
    expect(scene.page.get_by_text("and 5 more")).to_be_visible()


@state("change backend")
def _change_backend(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}backend/")


@state("change source")
def _change_source(scene: Scene) -> None:
    scene.member(f"{scene.stack().get_absolute_url()}source/")


@state("delete stack")
def _delete_stack(scene: Scene) -> None:
    scene.admin(f"{scene.stack().get_absolute_url()}delete/")
