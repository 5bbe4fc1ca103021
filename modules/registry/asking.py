"""Who asks the registry, by the token that came, and what they may read."""

from dataclasses import dataclass

from django.db.models import Q
from django.db.models.query import QuerySet
from django.http import HttpRequest

from accounts.models import User
from accounts.tokens.records import valid_token
from modules.models import Download, Module, ModuleVersion
from modules.models.version import ModuleVersionQuerySet
from stacks.models import Run
from stacks.sources.reach import allowed_to
from stacks.tfstate.credentials import USERNAME, run_of_token


@dataclass(frozen=True)
class Asker:
    """A person or a run, one of the two."""

    person: User | None = None
    run: Run | None = None

    @property
    def modules(self) -> QuerySet[Module]:
        """The modules that they may use: a run those of repositories that its code may read."""
        if self.run is None:
            return Module.objects.all()
        return Module.objects.filter(repository__in=allowed_to(self.run.stack))

    @property
    def downloads(self) -> QuerySet[Download]:
        """What they, or earlier runs of the same stack, got before."""
        stack = self.run.stack if self.run else None
        return Download.objects.filter(stack=stack, person=self.person)

    def listed_versions(self, module: Module) -> ModuleVersionQuerySet:
        """Return the published versions that they find, without those that were yanked.

        Terraform asks for no version that is not listed, not even for one that the code names
        exactly. So who got a yanked version before still finds it: nothing breaks for them, and
        nobody else begins to use it.
        """
        got = self.downloads.values("version")
        published = ModuleVersion.objects.filter(module=module).published()
        return published.filter(Q(yanked_at=None) | Q(pk__in=got))

    def note_download(self, version: ModuleVersion) -> None:
        """Store that they got a version."""
        stack = self.run.stack if self.run else None
        Download.objects.get_or_create(version=version, stack=stack, person=self.person)


def bearer_of(request: HttpRequest) -> str:
    """Return the token that came with a request; empty without one (RFC 6750, section 2.1)."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def asker_of(token: str) -> Asker | None:
    """Return whose token it is; None if it is nobody's, or does not hold any more."""
    if token.startswith(USERNAME):
        run = run_of_token(token)
        return Asker(run=run) if run else None
    found = valid_token(token)
    return Asker(person=found.user) if found else None
