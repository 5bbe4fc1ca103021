"""Planning the code that a pull request of a module proposes, in place of what a stack uses.

The commit is fetched before any code runs, as git has the token then. It lies inside, and takes
the place of each folder that the tool installed of the module; the tool is initialized again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stacks.execution.checkout.workspace import Git
from stacks.execution.failure import RunFailed
from stacks.execution.git_proxy.proxy import Served
from stacks.execution.isolation.system import MEGABYTE
from stacks.execution.modules.manifest import FOLDER, Installed
from stacks.execution.modules.record import installed_modules
from stacks.lifecycle.module_changes import proposed_module_of, why_module_is_not_planned
from stacks.models import ProposedModule
from stacks.sources.reach import NotReadable, readable_by

PROPOSED = "proposed"
# Proposed code may call the module again, which is installed by another initialization.
MOST_ROUNDS = 3
NO_FOLDER = 3
# $1 is the folder of installed modules, $2 that of the proposed code; then, three by three, an
# installed module, the folder that takes its place, and the folder in there that is called. None
# may be a link: the tool would take what is not there for not installed, and fetch it.
REPLACE = f"""
top=$1 from=$2
shift 2
while [ $# -gt 0 ]; do
  rm -rf -- "$top/$1" || exit
  [ "$(cd "$from/$2" && pwd -P)" = "$(cd "$from" && pwd -P)${{2:+/$2}}" ] || exit {NO_FOLDER}
  cp -aT -- "$from/$2" "$top/$1" || exit
  [ "$(cd "$top/$1/$3" && pwd -P)" = "$(cd "$top/$1" && pwd -P)${{3:+/$3}}" ] || exit {NO_FOLDER}
  shift 3
done
"""


@dataclass(frozen=True)
class Replacement:
    """An installed module by its key, what takes its place, and which folder of that is called."""

    key: str
    source: str
    called: str


def fetch(git: Git) -> ProposedModule | None:
    """Fetch what a run plans in place of a module; None if it is no such run.

    To be called before any code runs. Raises RunFailed, LimitReached and Stopped.
    """
    run = git.run
    proposed = proposed_module_of(run)
    if reason := why_module_is_not_planned(run):
        raise RunFailed(reason)
    if proposed is None:
        return None
    repository = proposed.pull_request.repository
    if not readable_by(run.stack).filter(pk=repository.pk).exists():
        raise RunFailed(
            f"The code of this stack may not read {repository}. An admin can allow it on the "
            f"stack's page, under Module access."
        )
    git.log.say(f"Fetching commit {proposed.sha[:8]} of {repository}, which is proposed")
    git.sandbox.collect(["mkdir", "--", PROPOSED], {}, git.is_unwanted, MEGABYTE)
    if not git.fetch(repository.clone_url, proposed.sha, proposed.refs, PROPOSED):
        raise git.failed(f"Commit {proposed.sha[:8]} of {repository} could not be fetched.")
    return proposed


def initialize_with(
    proposed: ProposedModule, git: Git, served: Served, initialize: Callable[[], bool]
) -> bool:
    """Put proposed code in place of what was installed, and initialize again; say if that worked.

    `initialize` has the tool do it, and says if it worked. Raises RunFailed, LimitReached and
    Stopped.
    """
    done: set[Installed] = set()
    for _ in range(MOST_ROUNDS):
        installed = installed_modules(git.sandbox)
        # What was replaced and has another source by now was fetched once more.
        new = [one for one in installed if one not in done]
        found = _replacements(proposed, new, served)
        if not found:
            break
        _replace(proposed, git, list(found.values()))
        done |= set(found)
        if not initialize():
            return False
    if not done:
        raise RunFailed(
            f"At commit {git.run.sha[:8]} the code of the stack does not use {proposed.address}, "
            f"so there was nothing to plan with the proposed code."
        )
    return True


def _replacements(
    proposed: ProposedModule, installed: Sequence[Installed], served: Served
) -> dict[Installed, Replacement]:
    """Return what takes the place of each installed module that is the proposed one."""
    found = {}
    for one in installed:
        called = one.place_in(one.key)
        if called is None:
            continue
        if one.registry_address == proposed.address:
            found[one] = _of_registry(one, called, proposed.folder)
        elif one.is_from_git and _is_of(proposed, one, served):
            found[one] = Replacement(one.key, "", called)
    return found


def _of_registry(one: Installed, called: str, folder: str) -> Replacement:
    """Return what takes the place of a version from the registry.

    What was downloaded holds the module's folder alone, or the whole repository.
    """
    below = one.source.partition("//")[2]
    module = called.removesuffix(below).strip("/") if below else called
    return Replacement(one.key, "" if module == folder else folder, called)


def _is_of(proposed: ProposedModule, one: Installed, served: Served) -> bool:
    try:
        return served.readable.find(one.git_url).pk == proposed.pull_request.repository_id
    except NotReadable:
        return False


def _replace(proposed: ProposedModule, git: Git, found: Sequence[Replacement]) -> None:
    words = [word for one in found for word in (one.key, one.source, one.called)]
    folders = [git.sandbox.path("workspace", name) for name in (FOLDER, PROPOSED)]
    command = ["sh", "-c", REPLACE, "replace", *folders, *words]
    _, code = git.sandbox.collect(command, {}, git.is_unwanted, MEGABYTE)
    if code == NO_FOLDER:
        named = ", ".join(sorted({f"“{one.called or one.source or 'the top'}”" for one in found}))
        raise RunFailed(
            f"The proposed code of {proposed.address} lacks a folder that the stack uses, or it is "
            f"a link: {named[:300]}."
        )
    if code:
        raise RunFailed(f"The proposed code of {proposed.address} could not be put in place.")
    keys = ", ".join(one.key for one in found)
    git.log.say(f"Planning with the proposed code of {proposed.address} in {keys[:500]}")
