"""What every provider has to do, from linking to unlinking, whatever its host is like.

`tests/providers/<provider>/test_contract.py` subclasses Contract and has a fixture `host`.
"""

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from html import unescape
from typing import Protocol

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse
from hypothesis import given
from hypothesis import strategies as st

from stacks.deciding.older_pull_requests import waiting
from stacks.deciding.reconciliation import reconcile_next
from stacks.models import Stack
from stacks.reports.sending import send_next
from tests.stacks.conftest import create
from vcs_integrations.connections.linking import Details, link
from vcs_integrations.connections.unlinking import unlink
from vcs_integrations.hooks import loop
from vcs_integrations.hooks.watching import watch_next
from vcs_integrations.models import Integration, Verdict
from vcs_integrations.providers import PROVIDERS
from vcs_integrations.providers.base import Envelope, Outcome, Provider, Refused, digest
from vcs_integrations.providers.events import Malformed
from vcs_integrations.webhooks.password import change_webhook_password
from vcs_integrations.webhooks.processing import process_due

# What a header may hold
words = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=300)


@dataclass(frozen=True)
class Request:
    """A webhook request as the host sent it."""

    headers: Mapping[str, str]
    body: bytes


class Host(Protocol):
    """One organization at a host, with the repository "infrastructure" and one commit on main."""

    url: str
    token: str

    def push(self, branch: str, files: Mapping[str, str]) -> str:
        """Push one commit with changed files to a branch; return its sha."""

    def open_pull_request(self, source: str) -> int:
        """Open a pull request from a branch to main; return its number."""

    def close(self, number: int, *, merged: bool) -> None:
        """Merge a pull request, or close it without."""

    def settle(self) -> None:
        """Return once every webhook request of what was done is answered."""

    def statuses_on_page_of(self, number: int) -> list[str]:
        """Return the names of the statuses that a pull request shows for its newest commit."""

    def hooks(self) -> int:
        """Return how many webhooks the organization has."""

    def prove(self, body: bytes, secret: str) -> dict[str, str]:
        """Return the headers that prove a secret together with a body."""

    def requests(self) -> Sequence[Request]:
        """Return the webhook requests that were sent, the oldest first."""


@dataclass(frozen=True)
class Known:
    """A secret with its value."""

    value: str

    @property
    def digest(self) -> str:
        return digest(self.value.encode())


class Contract:
    key: str

    @pytest.fixture
    def provider(self) -> Provider:
        return PROVIDERS[self.key]

    @pytest.fixture
    def linked(self, site: str, host: Host, provider: Provider) -> Integration:
        address = provider.parse_organization_url(host.url)
        integration, failure = link(provider, address, host.token, Details("", "", None))
        assert failure is None
        integration.projects.update(keeps_hooks=True)
        work()
        return integration

    @pytest.fixture
    def stack(self, linked: Integration, host: Host) -> Stack:
        """A stack of the path network/, whose branch is followed from now on."""
        repository = linked.repositories.get(name="infrastructure")
        stack = Stack.objects.create(
            name="Network", repository=repository, branch="main", project_root="network"
        )
        newest = linked.background_client.newest_push(repository.external_id)
        assert newest
        Stack.objects.filter(pk=stack.pk).update(followed_position=newest.position)
        host.settle()
        work()
        return stack

    def test_linking_lists_repositories_and_makes_the_hooks_once(
        self, linked: Integration, host: Host, provider: Provider
    ) -> None:
        assert [one.name for one in linked.repositories.all()] == ["infrastructure"]
        assert host.hooks() == len(provider.hooks)
        Integration.objects.make_hooks_due()
        work()
        assert host.hooks() == len(provider.hooks)
        assert {hook.state for hook in linked.subscriptions.present()} == {"ok"}

    def test_a_push_is_one_run_also_if_it_is_found_again(self, stack: Stack, host: Host) -> None:
        sha = host.push("main", {"network/a.tf": "1"})
        host.settle()
        work()
        stack.repository.integration.repositories.make_due()
        work()
        assert [(run.kind, run.sha) for run in stack.runs.all()] == [("tracked", sha)]
        stack.refresh_from_db()
        assert stack.head_sha == sha

    def test_pushes_that_no_webhook_reported_are_found(
        self, stack: Stack, linked: Integration, host: Host
    ) -> None:
        pushed = [host.push("main", {"network/a.tf": str(number)}) for number in range(3)]
        host.settle()
        linked.deliveries.all().delete()
        linked.repositories.make_due()
        work()
        assert [run.sha for run in stack.runs.order_by("number")] == pushed

    def test_only_what_changes_the_project_root_runs(self, stack: Stack, host: Host) -> None:
        host.push("main", {"elsewhere/a.tf": "1"})
        host.push("topic", {"network/a.tf": "1"})
        host.settle()
        work()
        assert [run.branch for run in stack.runs.all()] == ["topic"]

    @pytest.mark.parametrize(("merged", "status"), [(True, "merged"), (False, "closed")])
    def test_a_pull_request_has_a_run_for_its_newest_commit_until_it_ends(
        self, stack: Stack, host: Host, *, merged: bool, status: str
    ) -> None:
        first = host.push("topic", {"network/a.tf": "1"})
        number = host.open_pull_request("topic")
        host.settle()
        work()
        second = host.push("topic", {"network/a.tf": "2"})
        host.settle()
        work()
        assert states(stack) == [(first, "superseded"), (second, "queued")]
        assert [run.pull_request for run in stack.runs.all()] == [
            stack.repository.pull_requests.get(number=number)
        ] * 2
        assert host.statuses_on_page_of(number) == [stack.slug]
        assert not waiting(stack).exists()
        host.close(number, merged=merged)
        host.settle()
        work()
        assert states(stack)[:2] == [(first, "superseded"), (second, "canceled")]
        assert stack.repository.pull_requests.get(number=number).status == status

    def test_a_request_that_is_repeated_is_a_duplicate(
        self, stack: Stack, linked: Integration, host: Host
    ) -> None:
        host.push("main", {"network/a.tf": "1"})
        host.settle()
        assert post(linked, host.requests()[-1]) == 200
        outcomes = [one.outcome for one in linked.deliveries.order_by("pk")]
        assert outcomes[-2:] == [Outcome.STORED, Outcome.DUPLICATE]
        work()
        assert stack.runs.count() == 1

    def test_the_old_secret_counts_beside_the_new_one_and_no_other_does(
        self, stack: Stack, linked: Integration, host: Host, provider: Provider
    ) -> None:
        host.push("main", {"network/a.tf": "1"})
        host.settle()
        request, old = host.requests()[-1], secret_of(linked)
        assert change_webhook_password(linked, linked.read_webhook_secret().mark)
        assert post(linked, request) == 200
        work()
        host.push("main", {"network/a.tf": "2"})
        host.settle()
        newer, new = host.requests()[-1], secret_of(Integration.objects.get())
        for sent, secret in ((request, old), (newer, new)):
            assert proved(provider, sent, [Known("another"), secret]) == secret
            assert proved(provider, sent, [Known("another")]) is None
            assert proved(provider, sent, []) is None
        stripped = Request({}, newer.body)
        assert isinstance(receive(provider, stripped, [new]), Refused)
        assert post(linked, stripped) == 401

    def test_the_sample_of_a_hook_arrives(self, linked: Integration, host: Host) -> None:
        hook = linked.subscriptions.present()[0]
        test = loop.begin(linked, hook, "")
        host.settle()
        loop.look(test)
        assert test.verdict == Verdict.WORKS
        assert test.delivery
        assert test.delivery.outcome == Outcome.TEST
        work()

    def test_after_unlinking_no_hook_is_left_and_nothing_is_accepted(
        self, stack: Stack, linked: Integration, host: Host
    ) -> None:
        host.push("main", {"network/a.tf": "1"})
        host.settle()
        assert unlink(linked) == ([], None)
        assert host.hooks() == 0
        assert post(linked, host.requests()[-1]) == 410

    def test_every_request_is_read_from_what_is_kept_of_it(
        self, stack: Stack, linked: Integration, host: Host, provider: Provider
    ) -> None:
        host.push("topic", {"network/a.tf": "1"})
        host.close(host.open_pull_request("topic"), merged=False)
        host.settle()
        kept = list(linked.deliveries.filter(outcome=Outcome.STORED))
        assert {one.event_type for one in kept} <= provider.events.keys()
        assert {provider.hook_for(one.event_type) for one in kept} <= provider.hooks.keys()
        for one in kept:
            assert isinstance(one.events, list)
            assert {event.repository_id for event in one.events} == {stack.repository.external_id}

    def test_a_body_of_any_bytes_is_read_without_an_error(
        self, linked: Integration, host: Host, provider: Provider
    ) -> None:
        host.push("main", {"network/a.tf": "1"})
        host.settle()
        request, secret = host.requests()[-1], secret_of(linked)
        known = dict(request.headers)

        @given(
            st.binary(max_size=200) | st.sampled_from(shortened(request.body)),
            st.dictionaries(st.sampled_from(sorted(known)), words, max_size=3),
        )
        def read(body: bytes, odd: dict[str, str]) -> None:
            for headers in ({}, known, known | odd):
                claimed = provider.parse(headers, body)
                assert isinstance(claimed, list) or claimed.reason
                sent = Request(headers | host.prove(body, secret.value), body)
                received = receive(provider, sent, [secret])
                assert not isinstance(received, Refused)
                check_fits(received[0])

        read()
        assert isinstance(provider.parse(known, b"\0"), Malformed)

    def test_pages_and_clones_are_below_the_organization(
        self, linked: Integration, host: Host, provider: Provider
    ) -> None:
        web = provider.repository_url(host.url, "Platform Team", "infrastructure")
        addresses = [
            web,
            provider.clone_url(host.url, "Platform Team", "infrastructure"),
            provider.service_hooks_url(host.url, "Platform Team"),
            provider.branch_url(web, "feature/x y"),
            provider.commit_url(web, "1" * 40),
            provider.pull_request_url(web, 7),
        ]
        assert all(one.startswith(f"{host.url}/") for one in addresses)
        assert "a secret" not in provider.git_header("a secret")
        assert provider.git_header("a secret").startswith("Authorization: ")

    def test_an_admin_tests_it_and_makes_a_stack_from_it(
        self, linked: Integration, host: Host, provider: Provider, admin: Client
    ) -> None:
        answer = admin.post(reverse("integrations:test", args=[linked.pk]), follow=True)
        assert f"Connecting to {provider.name} succeeded" in answer.content.decode()
        repository = linked.repositories.get()
        assert create(admin, linked, repository=str(repository)).status_code == 302
        stack = Stack.objects.get()
        head = linked.background_client.branch(repository.external_id, "main")
        assert head
        assert stack.head_sha == head.sha
        page = text_of(admin, stack.get_absolute_url())
        assert provider.commit_url(repository.web_url, head.sha) in page

    def test_every_page_about_it_says_its_own_words(
        self, linked: Integration, stack: Stack, provider: Provider, admin: Client
    ) -> None:
        card = text_of(admin, reverse("integrations:list"))
        assert provider.name in card
        assert provider.icon in card
        assert all(step in card for step in provider.hook_steps)
        page = text_of(admin, linked.get_absolute_url())
        assert all(name in page for name in provider.hooks.values())
        form = text_of(admin, reverse("integrations:set_up", args=[provider.slug]))
        assert provider.url_help in form
        assert provider.token_help in form


def work() -> None:
    """Do what the background worker does, until nothing is due."""
    while watch_next() or process_due() or reconcile_next() or send_next():
        pass


def text_of(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def states(stack: Stack) -> list[tuple[str, str]]:
    return [(run.sha, run.state) for run in stack.runs.order_by("number")]


def post(integration: Integration, request: Request) -> int:
    """Post a request to the endpoint as it was sent before; return the status of the answer."""
    sent = urllib.request.Request(integration.endpoint_url, request.body, dict(request.headers))
    try:
        with urllib.request.urlopen(sent) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def secret_of(integration: Integration) -> Known:
    """Return the present webhook password."""
    return Known(integration.read_webhook_secret().value or "")


def receive(
    provider: Provider, request: Request, secrets: Sequence[Known]
) -> tuple[Envelope, Known] | Refused:
    headers = RequestFactory().post("/", headers=dict(request.headers)).headers
    return provider.receive(headers, lambda: request.body, secrets)


def proved(provider: Provider, request: Request, secrets: Sequence[Known]) -> Known | None:
    found = receive(provider, request, secrets)
    return None if isinstance(found, Refused) else found[1]


def check_fits(envelope: Envelope) -> None:
    """Check that a database takes what was read."""
    texts = asdict(envelope)
    texts.pop("reason")
    longest = {"repository_name": 200}
    for name, text in texts.items():
        assert len(text) <= longest.get(name, 100)
        assert "\0" not in text
        text.encode()


def shortened(body: bytes) -> list[bytes]:
    return [body[:end] for end in range(0, len(body), 7)]
