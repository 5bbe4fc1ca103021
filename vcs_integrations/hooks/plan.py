"""The service hooks of a linked organization: read, compared with what they should be, repaired.

Any hook that posts to an endpoint of ours counts, whoever made it. Hooks are made and repaired
in those projects alone whose hooks an admin asked Stackhook to keep. Nothing here relies on
what was done before: whatever a killed worker left behind is read and finished the next time.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from django.db import transaction

from vcs_integrations.models import (
    READ_FIELDS,
    REMOVED_BY_SOMEBODY,
    HookAction,
    HookState,
    Integration,
    Project,
    Subscription,
)
from vcs_integrations.providers.base import (
    Client,
    Hook,
    Problem,
    ProviderError,
    RemoteSubscription,
)

Kind = HookAction.Kind
# Only a person can grant these; other problems pass, or concern the whole organization.
REFUSALS = {Problem.PERMISSION_DENIED, Problem.REFUSED}
# Hooks in these states are never changed.
NOT_UNDERSTOOD = {HookState.UNKNOWN, HookState.UNSEEN}


@dataclass(frozen=True)
class Step:
    """One thing to do about the hooks of a project, and why; `hook` is the one it is about."""

    kind: HookAction.Kind
    event_type: str
    reason: str
    hook: Subscription | None = None

    @property
    def is_about_password(self) -> bool:
        """Whether it only updates the password of a hook of ours."""
        has_other = self.hook is not None and self.hook.state == HookState.WRONG_PASSWORD
        return self.kind == HookAction.Kind.CORRECTED and has_other


@dataclass
class Reading:
    """What reading the hooks of an organization showed.

    `removed` are hooks of ours that somebody removed, as project and event; `unreadable` are
    projects whose hooks the token may not see, with what the provider said.
    """

    removed: set[tuple[str, str]] = field(default_factory=set)
    unreadable: dict[str, ProviderError] = field(default_factory=dict)


def hooks_that_post_to(
    integration: Integration, subscriptions: Sequence[RemoteSubscription]
) -> list[RemoteSubscription]:
    """Return those that post to an endpoint of the integration, and those that we made."""
    uuids = [str(endpoint.uuid) for endpoint in integration.endpoints.all()]
    ours = set(integration.subscriptions.filter(is_ours=True).values_list("external_id", flat=True))
    return [
        one
        for one in subscriptions
        if one.external_id in ours or any(uuid in one.url.lower() for uuid in uuids)
    ]


def read_hooks(integration: Integration, client: Client) -> Reading:
    """Store the hooks as the provider holds them. Raises ProviderError."""
    reading = Reading()
    listed = hooks_that_post_to(integration, client.subscriptions())
    found = {one.external_id: one for one in listed}
    not_listed = integration.subscriptions.present().exclude(external_id__in=found)
    refused = set(integration.projects.refused().values_list("external_id", flat=True))
    gone = []
    for row in not_listed.select_related("integration"):
        # Hooks of projects that refused are read at the next retry.
        remote = None
        if row.is_ours and row.project_id not in refused:
            remote = _look_closer(row, client, reading)
        if remote:
            found[row.external_id] = remote
        elif row.project_id not in refused:
            gone.append(row)
    seen = [row.pk for row in gone if row.project_id not in reading.unreadable]
    integration.subscriptions.filter(pk__in=seen).delete()
    rows = _store(integration, found.values())
    _forget_recreated_hooks(integration, rows)
    return reading


def _forget_recreated_hooks(integration: Integration, present: Sequence[Subscription]) -> None:
    """Delete the rows of hooks from before the last unlinking that are gone or back."""
    integration.subscriptions.left_over().delete()
    there = {(hook.event_type, hook.project_id) for hook in present}
    for hook in integration.subscriptions.of_before():
        if (hook.event_type, hook.project_id) in there:
            hook.delete()


def _look_closer(row: Subscription, client: Client, reading: Reading) -> RemoteSubscription | None:
    """Ask for a hook of ours that is not listed: it was removed, or the token may not see it."""
    try:
        remote = client.subscription(row.external_id)
    except ProviderError as error:
        if error.problem not in REFUSALS:
            raise
        reading.unreadable[row.project_id] = error
        return None
    if remote is None and row.state == HookState.UNSEEN:
        reading.unreadable[row.project_id] = _unseen(row.integration)
    elif remote is None:
        reading.removed.add((row.project_id, row.event_type))
    return remote


def _store(integration: Integration, remotes: Collection[RemoteSubscription]) -> list[Subscription]:
    """Store hooks as the provider holds them; what else is known of them stays."""
    ids = [remote.external_id for remote in remotes]
    stored = integration.subscriptions.filter(external_id__in=ids)
    known = {row.external_id: row for row in stored}
    rows = []
    for remote in remotes:
        row = known.get(remote.external_id) or Subscription(
            integration=integration, external_id=remote.external_id
        )
        row.update_from(remote, integration.endpoint_urls, integration.password_mark)
        rows.append(row)
    with transaction.atomic():
        # If somebody unlinked it at the same moment, what was read is not stored.
        if Integration.objects.linked().select_for_update().filter(pk=integration.pk).exists():
            Subscription.objects.bulk_create(
                rows,
                update_conflicts=True,
                unique_fields=["integration", "external_id"],
                update_fields=READ_FIELDS,
            )
    return rows


def steps_for(project: Project, hooks: Sequence[Subscription], reading: Reading) -> Iterator[Step]:
    """Yield what to do so that a project has one hook that works of each type."""
    for event_type in project.integration.provider.hooks:
        those = [hook for hook in hooks if hook.event_type == event_type]
        was_removed = (project.external_id, event_type) in reading.removed
        yield from _steps_for_event(event_type, those, was_removed=was_removed)


def _steps_for_event(
    event_type: str, hooks: list[Subscription], *, was_removed: bool
) -> Iterator[Step]:
    ours = [hook for hook in hooks if hook.is_ours]
    working = [hook for hook in hooks if hook.works]
    if working:
        kept = next((hook for hook in working if not hook.is_ours), working[0])
        for hook in ours:
            if hook != kept:
                yield Step(Kind.REMOVED, event_type, "Another hook delivers the same event", hook)
        return
    if any(hook.state in NOT_UNDERSTOOD for hook in hooks):
        return
    # One that somebody made for all projects is theirs to repair.
    dead = [hook for hook in hooks if hook.is_dead and hook.project_id]
    broken = next(iter([*ours, *dead]), None)
    if broken is None:
        yield Step(Kind.CREATED, event_type, _why_created(hooks, was_removed=was_removed))
    else:
        kind = Kind.RECREATED if broken.is_dead else Kind.CORRECTED
        yield Step(kind, event_type, broken.why, broken)


def _why_created(hooks: list[Subscription], *, was_removed: bool) -> str:
    if hooks:
        return f"The one made by hand {hooks[0].get_state_display()}"
    return REMOVED_BY_SOMEBODY if was_removed else "There was none"


def carry_out(project: Project, step: Step, client: Client) -> None:
    """Do one thing about a hook, and record it. Raises ProviderError."""
    if step.kind == Kind.CORRECTED and step.hook:
        if _correct(project, step.hook, client):
            project.record(step.kind, step.reason, step.event_type)
            return
        step = replace(step, kind=Kind.RECREATED)
    if step.kind != Kind.REMOVED:
        _create(project, step, client)
    if step.hook:
        # Only now: an interruption in between leaves one hook too many, and none missing.
        client.remove_subscription(step.hook.external_id)
        step.hook.delete()
    if step.kind == Kind.REMOVED:
        project.record(step.kind, step.reason, step.event_type)


def _create(project: Project, step: Step, client: Client) -> None:
    """Make a hook, record it, and read it back."""
    made = client.create_subscription(_hook(project, step.event_type))
    project.record(step.kind, step.reason, step.event_type)
    remote = client.subscription(made)
    if remote is None:
        project.integration.subscriptions.create(
            external_id=made,
            event_type=step.event_type,
            project_id=project.external_id,
            is_ours=True,
            state=HookState.UNSEEN,
        )
        raise _unseen(project.integration)
    [stored] = _store(project.integration, [remote])
    if stored.state != HookState.OK:
        found = stored.get_state_display()
        raise ProviderError(
            Problem.REFUSED,
            f"The new service hook is not as it was asked for: it {found}.",
            "Check it in the provider's pages. Stackhook retries tomorrow.",
        )


def _unseen(integration: Integration) -> ProviderError:
    """Return what is wrong where a hook was made that is not found: another would be made daily."""
    return ProviderError(
        Problem.PERMISSION_DENIED,
        "The token's owner may make service hooks of this project, but not see them.",
        integration.provider.hooks_help,
    )


def _correct(project: Project, hook: Subscription, client: Client) -> bool:
    """Restore the settings of a hook of ours; False if that did not help."""
    client.replace_subscription(hook.external_id, _hook(project, hook.event_type))
    project.integration.subscriptions.filter(pk=hook.pk).update(has_wrong_password=False)
    remote = client.subscription(hook.external_id)
    return remote is not None and _store(project.integration, [remote])[0].state == HookState.OK


def _hook(project: Project, event_type: str) -> Hook:
    """Return a hook as it should be. Raises ProviderError if the password is unreadable."""
    integration = project.integration
    secret = integration.read_webhook_secret()
    return Hook(
        event_type=event_type,
        project_id=project.external_id,
        url=integration.endpoint_url,
        username=f"stackhook-{secret.mark}",
        password=secret.value,
    )
