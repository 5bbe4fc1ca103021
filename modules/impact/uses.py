"""Which stacks use a module, as their runs recorded it.

What counts is the last tracked run of each stack that came out of its initialization: what it got
of the module from this registry, and what git fetched of the module's repository.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django.conf import settings
from django.db.models import Q

from accounts.tokens.registry_host import host_of
from modules.models import Module
from modules.models.module import parts_of
from stacks.models import ModuleSource, RegistrySource, Run, Stack
from stacks.models.module_source import newest_initialized_runs

S = TypeVar("S", RegistrySource, ModuleSource)


@dataclass(frozen=True)
class Use:
    """A stack that uses a module: its run, and what that got of it from the registry and by git."""

    run: Run
    from_registry: tuple[RegistrySource, ...]
    from_git: tuple[ModuleSource, ...]

    @property
    def stack(self) -> Stack:
        return self.run.stack


def registry_address(module: Module) -> str:
    """Return what code writes as the source of a module from this installation's registry."""
    return f"{host_of(settings.PUBLIC_URL)}/{module.address}"


def uses_by(stack: Stack) -> list[tuple[Module, Use]]:
    """Return the modules that a stack uses, by their addresses."""
    newest = newest_initialized_runs().filter(pk=stack.pk)
    run = Run.objects.filter(pk__in=newest).select_related("stack").first()
    if run is None:
        return []
    prefix = f"{host_of(settings.PUBLIC_URL)}/"
    got = list(run.registry_sources.filter(address__startswith=prefix))
    fetched = list(run.module_sources.all())
    if not got and not fetched:  # mostly
        return []
    wanted = Q(repository__in={one.repository_id for one in fetched})
    for one in got:
        wanted |= Q(**parts_of(one.address.removeprefix(prefix)))
    found = []
    for module in Module.objects.filter(wanted).with_repository():
        address, folders = registry_address(module), _folders_of_modules(module)
        from_registry = tuple(one for one in got if one.address == address)
        of_repository = (one for one in fetched if one.repository_id == module.repository_id)
        from_git = tuple(one for one in of_repository if _uses(one, module, folders))
        if from_registry or from_git:
            found.append((module, Use(run, from_registry, from_git)))
    return found


def users_of(module: Module) -> list[Use]:
    """Return the stacks that use a module, the last use first."""
    newest = newest_initialized_runs()
    got = RegistrySource.objects.filter(address=registry_address(module), run__in=newest)
    fetched = module.repository.module_sources.of_newest_runs()
    folders = _folders_of_modules(module)
    from_registry = _by_run(got)
    from_git = _by_run(one for one in fetched if _uses(one, module, folders))
    runs = Run.objects.filter(pk__in={*from_registry, *from_git}).for_pages()
    uses = [
        Use(run, tuple(from_registry.get(run.pk, ())), tuple(from_git.get(run.pk, ())))
        for run in runs.select_related("stack__repository__integration")
    ]
    return sorted(uses, key=lambda use: (use.run.created_at, use.run.pk), reverse=True)


def _by_run(sources: Iterable[S]) -> dict[int, list[S]]:
    found: dict[int, list[S]] = {}
    for one in sources:
        found.setdefault(one.run_id, []).append(one)
    return found


def _folders_of_modules(module: Module) -> list[str]:
    """Return the folders of all modules in a module's repository, the longest first."""
    siblings = Module.objects.filter(repository=module.repository_id)
    return sorted(set(siblings.values_list("folder", flat=True)), key=len, reverse=True)


def _uses(source: ModuleSource, module: Module, folders: Sequence[str]) -> bool:
    """Say whether what git fetched of a repository is used as a module of it.

    A folder belongs to the module that is nearest above it. Where no folder is known, it may be.
    """
    nearest = (
        next((folder for folder in folders if _is_in(one, folder)), None) for one in source.folders
    )
    return not source.folders or module.folder in nearest


def _is_in(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(f"{folder}/")
