"""The service hooks as pages show them: each project with the state of each of its hooks."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Prefetch, prefetch_related_objects
from django.utils import timezone

from vcs_integrations.models import (
    HookState,
    Integration,
    Project,
    Subscription,
)

# What an overview is made of, unless it was read with the integration.
NEEDED = ("subscriptions", Prefetch("projects", Project.objects.with_use()))


@dataclass(frozen=True)
class EventHooks:
    """The hooks for one event of a project."""

    event_type: str
    name: str
    hooks: Sequence[Subscription]

    @property
    def works(self) -> bool:
        """Whether one of them does."""
        return any(hook.works for hook in self.hooks)

    @property
    def is_made_by_hand(self) -> bool:
        """Whether what works was made by a person."""
        return any(hook.works and not hook.is_ours for hook in self.hooks)

    @property
    def problems(self) -> list[str]:
        """What is wrong, each a sentence; a hook that is not needed may be broken, too."""
        if not self.hooks:
            return ["It is missing"]
        return [hook.why for hook in self.hooks if hook.state != HookState.OK]


@dataclass(frozen=True)
class ProjectHooks:
    """A project, the provider's page of its hooks, and its hooks by event."""

    project: Project
    url: str
    events: Sequence[EventHooks]
    is_used: bool

    @property
    def matters(self) -> bool:
        """Whether stacks use it, or it has hooks or should have some."""
        return self.is_used or self.has_any or self.project.keeps_hooks

    @property
    def working(self) -> int:
        """How many of the events are delivered."""
        return sum(event.works for event in self.events)

    @property
    def has_all(self) -> bool:
        """Whether every event is delivered."""
        return self.working == len(self.events)

    @property
    def dead(self) -> list[Subscription]:
        """The hooks that deliver nothing, for events that no other hook delivers."""
        hooks = [hook for event in self.events if not event.works for hook in event.hooks]
        return [hook for hook in hooks if hook.is_dead]

    @property
    def has_any(self) -> bool:
        """Whether there is any hook, working or not."""
        return any(event.hooks for event in self.events)

    @property
    def is_known_to_miss_pushes(self) -> bool:
        """Whether there are hooks for pushes, of which none works."""
        provider = self.project.integration.provider
        push = provider.hook_for(provider.push_event)
        those = [one for one in self.events if one.event_type == push and one.hooks]
        return any(not one.works for one in those)

    @property
    def needs_decision(self) -> bool:
        """Whether stacks use it and nobody has decided what to do about its hooks."""
        return self.is_used and not self.project.keeps_hooks and not self.project.is_left_alone

    @property
    def testable(self) -> Subscription | None:
        """The hook that a test uses: one that works, if there is one."""
        hooks = [hook for event in self.events for hook in event.hooks]
        return next((hook for hook in hooks if hook.works), hooks[0] if hooks else None)


@dataclass(frozen=True)
class HookOverview:
    """The projects of an organization: those that stacks use or that have hooks, and others."""

    integration: Integration
    used: Sequence[ProjectHooks]
    others: Sequence[ProjectHooks]

    @property
    def is_being_read(self) -> bool:
        """Whether the worker reads the hooks, or is about to."""
        return is_being_read(self.integration)


def is_being_read(integration: Integration) -> bool:
    """Say whether the worker reads the hooks of an organization, or is about to."""
    due_at = integration.hook_watch.due_at
    return due_at is not None and due_at <= timezone.now()


def overview_of(integration: Integration) -> HookOverview:
    """Return the hooks of an organization, with a constant number of queries."""
    prefetch_related_objects([integration], *NEEDED)
    hooks = [hook for hook in integration.subscriptions.all() if hook.is_present]
    projects = [
        _project_hooks(integration, project, hooks, is_used=vars(project)["is_used"])
        for project in integration.projects.all()
        if not project.is_gone
    ]
    return HookOverview(
        integration=integration,
        used=[one for one in projects if one.matters],
        others=[one for one in projects if not one.matters],
    )


def _project_hooks(
    integration: Integration, project: Project, hooks: Sequence[Subscription], *, is_used: bool
) -> ProjectHooks:
    provider = integration.provider
    those = [hook for hook in hooks if hook.project_id in {project.external_id, ""}]
    return ProjectHooks(
        project=project,
        url=provider.service_hooks_url(integration.organization_url, project.name),
        events=[
            EventHooks(event_type, name, [hook for hook in those if hook.event_type == event_type])
            for event_type, name in provider.hooks.items()
        ],
        is_used=is_used,
    )


def hooks_behind(integration: Integration) -> list[tuple[str, str]]:
    """Return the hooks not known to have the present webhook password, as event and project."""
    names = dict(integration.projects.values_list("external_id", "name"))
    return [
        (
            integration.hook_name(hook.event_type),
            names.get(hook.project_id, hook.project_id) or "all projects",
        )
        for hook in integration.subscriptions.behind(integration.password_mark)
    ]
