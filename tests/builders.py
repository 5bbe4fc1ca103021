"""Builders of integrations, repositories, stacks and runs, and of what belongs to them.

Each has a default for whatever a test doesn't care about; `changes` are fields of the model.
"""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from django.utils import timezone

from modules.models import Archive, ArchiveChunk, Check, Module, ModuleVersion, VersionState
from modules.rules.semver import SemVer
from notifications.models import Channel, ChannelSecret, Event
from notifications.models import Kind as ChannelKind
from notifications.outbox.signing import new_signing_secret
from stacks.execution.plan_store import store_plan
from stacks.execution.tools.plan_changes import read_changes
from stacks.execution.tools.terraform import read_plan
from stacks.models import (
    LogChunk,
    PullRequest,
    Run,
    RunSource,
    Schedule,
    Stack,
    StateLock,
    StateVersion,
)
from stacks.models.schedule import Starts
from stacks.rules.states import Kind, Operation, Origin, State
from vcs_integrations.connections.linking import Details, link
from vcs_integrations.models import Integration, Repository
from vcs_integrations.providers import PROVIDERS


def make_integration(url: str, token: str, name: str = "") -> Integration:
    """Link an organization as the set-up form does."""
    provider = PROVIDERS["azure_devops"]
    expires_on = timezone.now().date() + timedelta(days=200)
    address = provider.parse_organization_url(url)
    integration, _ = link(provider, address, token, Details(name, "", expires_on))
    return integration


def store_integration(
    organization: str = "fabrikam", token: str = "", **changes: Any
) -> Integration:
    """Store an integration without asking its organization, with credentials if it has a token."""
    address = f"dev.azure.com/{organization}"
    values = {
        "provider_key": "azure_devops",
        "name": organization,
        "organization_url": f"https://{address}",
        "organization_name": organization,
        "organization_key": address,
    }
    integration = Integration.objects.create(**values | changes)
    if token:
        integration.store_credentials(token)
    return integration


def make_repository(integration: Integration, external_id: str = "", **changes: Any) -> Repository:
    """Return the repository of that id, stored if there is none yet."""
    values = {
        "name": "tools",
        "project_id": "p",
        "project_name": "Web",
        "search_text": "web/tools",
        "default_branch": "main",
    }
    repository, _ = Repository.objects.get_or_create(
        integration=integration,
        external_id=external_id or f"repository-of-{integration.pk}",
        defaults=values | changes,
    )
    return repository


def make_stack(of: Integration | Repository, name: str = "Network", **changes: Any) -> Stack:
    """Store a stack of a repository, or of an integration's default one."""
    repository = make_repository(of) if isinstance(of, Integration) else of
    return Stack.objects.create(repository=repository, name=name, **{"branch": "main"} | changes)


def make_run(stack: Stack, number: int | None = None, **changes: Any) -> Run:
    """Store a run, of a push with the same number unless the changes say otherwise."""
    run = new_run(stack, number or stack.runs.count() + 1, **changes)
    run.save()
    return run


def propose(run: Run, one: PullRequest, revision: int = 1) -> None:
    """Note that a revision of a pull request has the commit of a run."""
    source = RunSource(run=run, branch=one.source_branch, pull_request=one, revision=revision)
    RunSource.objects.add([source])


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
    if changes.get("kind") == Kind.DRIFT:
        values |= {"operation": Operation.REFRESH_ONLY, "origin": Origin.SCHEDULE}
    return Run(stack=stack, number=number, **values | changes)


def make_plan(
    run: Run,
    plan: dict[str, Any],
    mask: Callable[[str], str] = str,
    *,
    hides_values: bool = False,
) -> Run:
    """Store a plan of a run, from the JSON that `terraform show` prints; return the run."""
    summary = read_plan(json.dumps(plan).encode(), mask, hides_values=hides_values)
    assert summary
    store_plan(run, read_changes(summary.entries, mask))
    Run.objects.filter(pk=run.pk).update(**summary.counts)
    run.refresh_from_db()
    return run


def write_log(
    run: Run, *texts: str, phase: LogChunk.Phase = LogChunk.Phase.PLANNING
) -> list[LogChunk]:
    """Add pieces to the log of a run, numbered as a worker numbers them."""
    last = run.log.last()
    number = last.number if last else 0
    first_line = last.first_line + last.text.count("\n") if last else 1
    chunks = []
    for text in texts:
        number += 1
        chunks.append(
            LogChunk(run=run, number=number, phase=phase, first_line=first_line, text=text)
        )
        first_line += text.count("\n")
    return LogChunk.objects.bulk_create(chunks)


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


def make_schedule(stack: Stack, what: Starts = Starts.DRIFT, **changes: Any) -> Schedule:
    """Store a schedule that is due now, and then each day at 6:00 in Berlin."""
    values = {"cron": "0 6 * * *", "time_zone": "Europe/Berlin", "due_at": timezone.now()}
    return Schedule.objects.create(stack=stack, what=what, **values | changes)


def make_lock(run: Run) -> StateLock:
    """Lock the state of a run's stack, as the run's program does to apply."""
    return StateLock.objects.create(
        stack=run.stack,
        run=run,
        taken_while=State.APPLYING,
        lock_id="a-lock",
        info={"ID": "a-lock"},
    )


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


def make_module(of: Integration | Repository, name: str = "network", **changes: Any) -> Module:
    """Store a module of a repository, or of an integration's default one."""
    repository = make_repository(of) if isinstance(of, Integration) else of
    values = {"namespace": "fabrikam", "system": "azurerm", "branch": "main"}
    return Module.objects.create(repository=repository, name=name, **values | changes)


def make_channel(
    address: str = "https://hooks.example.com/a-canary-address", **changes: Any
) -> Channel:
    """Store a webhook channel of all events of all stacks."""
    values = {"name": "Ops", "kind": ChannelKind.WEBHOOK, "host": "hooks.example.com"}
    channel = Channel.objects.create(**values | {"events": Event.values} | changes)
    secret = new_signing_secret() if channel.kind == ChannelKind.WEBHOOK else ""
    ChannelSecret.objects.create(channel=channel, address=address, signing_secret=secret)
    return channel


def make_check(module: Module, sha: str, **changes: Any) -> Check:
    """Store a check of a module's commit; it is not due unless the changes say so."""
    return Check.objects.create(module=module, sha=sha, **changes)


def make_version(
    module: Module,
    number: str = "1.0.0",
    files: Mapping[str, str] | None = None,
    **changes: Any,
) -> ModuleVersion:
    """Store a version of a module: published, with an archive of files, unless the changes say
    otherwise."""
    made = ModuleVersion.of(module, SemVer.parse(number), f"v{number}", f"{1:040x}")
    values = {"state": VersionState.PUBLISHED} | changes
    if values["state"] == VersionState.PUBLISHED:
        content = archive_of(
            files or {"main.tf": f'output "version" {{\n  value = "{number}"\n}}\n'}
        )
        values = {"published_at": timezone.now(), "archive": make_archive(content)} | values
    for name, value in values.items():
        setattr(made, name, value)
    made.save()
    return made


def archive_of(files: Mapping[str, str]) -> bytes:
    """Return a .tar.gz of files: path and text."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, text in files.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def make_archive(content: bytes, chunk: int = 256) -> Archive:
    """Store an archive in chunks of so many bytes; return the one that is there if it is."""
    archive, is_new = Archive.objects.get_or_create(
        digest=hashlib.sha256(content).hexdigest(), defaults={"size": len(content)}
    )
    if is_new:
        ArchiveChunk.objects.bulk_create(
            ArchiveChunk(archive=archive, number=number, content=content[start : start + chunk])
            for number, start in enumerate(range(0, len(content), chunk))
        )
    return archive
