"""Which files of a branch extra globs match, for the form in which they are typed."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.forms import Form

from stacks.rules import globs
from stacks.setup.forms import BehaviorForm
from stacks.sources.heads import files_of
from vcs_integrations.models import Repository
from vcs_integrations.providers.base import ProviderError

MATCHES_SHOWN = 20


@dataclass(frozen=True)
class Matches:
    """The first files of a branch that match, and how many do; or why that is not known."""

    branch: str
    problem: str = ""
    has_globs: bool = True
    shown: Sequence[str] = ()
    count: int = 0
    files: int = 0

    @property
    def more(self) -> int:
        return self.count - len(self.shown)


def matches_of(form: BehaviorForm, repository: Repository, branch: str) -> Matches:
    """Return which files at the head of a branch the globs of a form match."""
    if "extra_globs" in form.errors:
        return Matches(branch, problem=in_words(form))
    typed = form.cleaned_data["extra_globs"]
    if not typed:
        return Matches(branch, has_globs=False)
    try:
        files = files_of(repository, branch)
    except ProviderError as error:
        return Matches(branch, problem=f"The files of {branch} could not be read. {error}")
    if files is None:
        return Matches(branch, problem=f"There is no branch {branch}.")
    found = list(globs.matching(typed, files))
    return Matches(branch, shown=found[:MATCHES_SHOWN], count=len(found), files=len(files))


def in_words(form: Form) -> str:
    """Return all that is wrong with a form."""
    return " ".join(str(error) for errors in form.errors.values() for error in errors)
