"""The stored list of an organization's repositories."""

from collections.abc import Iterable

from django.utils import timezone

from vcs_integrations.models import Integration, Project, Repository, search_key
from vcs_integrations.providers.base import RemoteRepository

REPOSITORY_FIELDS = [
    "name",
    "project_id",
    "project_name",
    "search_text",
    "default_branch",
    "is_disabled",
    "gone_at",
]


def store_repositories(integration: Integration, listed: Iterable[RemoteRepository]) -> None:
    """Bring the stored list of repositories up to date, writing only what changed."""
    stored = {repository.external_id: repository for repository in integration.repositories.all()}
    new, changed = [], []
    seen: set[str] = set()
    for remote in listed:
        if not 0 < len(remote.external_id) <= 100 or remote.external_id in seen:
            continue
        seen.add(remote.external_id)
        values = _columns(remote)
        repository = stored.get(remote.external_id)
        if repository is None:
            new.append(
                Repository(integration=integration, external_id=remote.external_id, **values)
            )
        elif any(getattr(repository, field) != value for field, value in values.items()):
            for field, value in values.items():
                setattr(repository, field, value)
            changed.append(repository)
    # Another process may list the same organization at the same moment: its rows stay.
    # Batch by batch, so that a webhook gets its turn to write in between.
    for start in range(0, len(new), 500):
        Repository.objects.bulk_create(new[start : start + 500], ignore_conflicts=True)
    for start in range(0, len(changed), 200):
        Repository.objects.bulk_update(changed[start : start + 200], REPOSITORY_FIELDS)
    gone = [r.pk for key, r in stored.items() if key not in seen and r.gone_at is None]
    for start in range(0, len(gone), 500):
        Repository.objects.filter(pk__in=gone[start : start + 500]).update(gone_at=timezone.now())


def store_repository(repository: Repository, remote: RemoteRepository) -> None:
    """Store what one repository is called now.

    Under another name, the whole organization is read again soon: a renamed project has others.
    """
    before = str(repository)
    for field, value in _columns(remote).items():
        setattr(repository, field, value)
    repository.save(update_fields=REPOSITORY_FIELDS)
    if str(repository) != before:
        Integration.objects.filter(pk=repository.integration_id).make_refresh_due()


def _columns(remote: RemoteRepository) -> dict[str, object]:
    name, project = remote.name[:255], remote.project_name[:255]
    return {
        "name": name,
        "project_id": remote.project_id[:100],
        "project_name": project,
        "search_text": search_key(f"{project}/{name}")[:1024],
        "default_branch": remote.default_branch[:500],
        "is_disabled": remote.is_disabled,
        "gone_at": None,
    }


def store_projects(integration: Integration) -> None:
    """Store the projects of the repositories that are known."""
    there = integration.repositories.filter(gone_at=None).order_by()
    names = dict(there.values_list("project_id", "project_name").distinct())
    Project.objects.bulk_create(
        [
            Project(integration=integration, external_id=key, name=name)
            for key, name in names.items()
        ],
        update_conflicts=True,
        unique_fields=["integration", "external_id"],
        update_fields=["name", "is_gone"],
    )
    integration.projects.there().exclude(external_id__in=names).update(is_gone=True)
