"""The steps of the form that creates a stack; its edit pages use the same steps."""

from typing import Any, cast

from django import forms

from stacks.heads import branches_of
from stacks.models import Stack
from vcs_integrations.models import Integration, Repository, search_key
from vcs_integrations.providers.base import INTERACTIVE, ProviderError, RemoteBranch
from vcs_integrations.refreshing import refresh

SUGGESTIONS = 8
NAME_TAKEN = "Another stack has this name. Choose a different one."


class ComboboxInput(forms.TextInput):
    """A text field with a list of matches; without JavaScript it is just the text field."""

    template_name = "elements/combobox.html"

    def __init__(self, url_name: str) -> None:
        super().__init__({"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"})
        self.url_name = url_name

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        return super().get_context(name, value, attrs) | {"url_name": self.url_name}


class IntegrateVcsForm(forms.Form):
    """Which repository and branch. Cleaned: an Integration, a Repository, a branch name."""

    title = "Integrate VCS"

    provider = forms.ModelChoiceField(
        label="Provider",
        queryset=Integration.objects.none(),
        empty_label=None,
        error_messages={"invalid_choice": "This organization is not linked any more. Choose one."},
    )
    repository = forms.CharField(
        label="Repository",
        max_length=2000,
        widget=ComboboxInput("repository_options"),
        help_text="project/repository. Type to search, or paste a clone URL.",
    )
    branch = forms.CharField(
        label="Branch",
        max_length=500,
        required=False,
        widget=ComboboxInput("branch_options"),
        help_text="The branch to track. Left empty, it is the repository's default branch.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = cast("forms.ModelChoiceField[Integration]", self.fields["provider"])
        choices.queryset = Integration.objects.usable()

    def clean(self) -> dict[str, Any]:
        """Find the repository, then its branch: each needs what stands before it."""
        data = self.cleaned_data
        if "provider" not in data or "repository" not in data:
            return data
        try:
            data["repository"] = find_repository(data["provider"], data["repository"])
        except forms.ValidationError as error:
            self.add_error("repository", error)
            return data
        try:
            data["branch"] = find_branch(data["repository"], data.get("branch", ""))
        except forms.ValidationError as error:
            self.add_error("branch", error)
        return data

    @property
    def understood(self) -> dict[str, str]:
        """What the fields say once the repository and its branch were found."""
        return {
            "repository": str(self.cleaned_data["repository"]),
            "branch": self.cleaned_data["branch"],
        }

    @property
    def stack_fields(self) -> dict[str, Any]:
        """The columns of a stack that this form decides."""
        return {
            "repository": self.cleaned_data["repository"],
            "branch": self.cleaned_data["branch"],
        }


class NameStackForm(forms.Form):
    """What people call it, and from which folder it runs."""

    title = "Name stack"

    name = forms.CharField(label="Name", max_length=100)
    description = forms.CharField(
        label="Description",
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    project_root = forms.CharField(
        label="Project root",
        max_length=500,
        required=False,
        help_text="The folder to run from, like infra/network; the top of the repository if empty.",
    )
    labels = forms.CharField(
        label="Labels",
        max_length=500,
        required=False,
        help_text="Separated by commas.",
    )

    def __init__(self, *args: Any, stack: Stack | None = None, **kwargs: Any) -> None:
        self.stack = stack
        super().__init__(*args, **kwargs)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = Stack.objects.exclude(pk=self.stack.pk if self.stack else 0)
        if others.filter(name=name).exists():
            raise forms.ValidationError(NAME_TAKEN)
        return name

    def clean_project_root(self) -> str:
        path: str = self.cleaned_data["project_root"]
        parts = [part for part in path.split("/") if part not in {"", "."}]
        if ".." in parts or "\\" in path or not path.isprintable():
            raise forms.ValidationError(
                "Use a folder inside the repository, with / between its parts, like infra/network."
            )
        return "/".join(parts)

    def clean_labels(self) -> list[str]:
        words = (word.strip() for word in self.cleaned_data["labels"].split(","))
        labels = list(dict.fromkeys(word for word in words if word))
        if any(len(label) > 50 for label in labels):
            raise forms.ValidationError("A label has at most 50 characters.")
        return labels


def repositories_matching(integration: Integration, text: str) -> list[Repository]:
    """Return offered repositories that fit what was typed or pasted, a few more than fit a list."""
    offered = Repository.objects.offered().filter(integration=integration)
    pasted = integration.provider.parse_repository_url(text)
    if pasted:
        names = search_key(f"{pasted.project_name}/{pasted.name}")
        return list(offered.filter(search_text=names))
    return list(offered.matching(text)[:51])


def known_repository(integration: Integration, text: str) -> Repository | None:
    """Return the repository that was typed or pasted, if the stored list has it."""
    pasted = integration.provider.parse_repository_url(text)
    names = f"{pasted.project_name}/{pasted.name}" if pasted else text.strip()
    repositories = integration.repositories.filter(gone_at=None)
    return repositories.filter(search_text=search_key(names)).first()


def find_repository(integration: Integration, text: str) -> Repository:
    """Return the repository that was typed or pasted, or say what is wrong with it."""
    pasted = integration.provider.parse_repository_url(text)
    if pasted and pasted.organization.key != integration.organization_key:
        raise forms.ValidationError(
            f"This address is of the organization {pasted.organization.name}. Choose that one as "
            f"provider, or a repository of {integration.organization_name}."
        )
    names = f"{pasted.project_name}/{pasted.name}" if pasted else text.strip()
    repository = known_repository(integration, text)
    if repository is None:  # perhaps made after the list was read
        failure = refresh(integration, INTERACTIVE)
        if failure:
            raise forms.ValidationError(f"“{names}” is not in the last list. {failure}")
        repository = known_repository(integration, text)
    if repository is None:
        raise forms.ValidationError(
            f"{integration.organization_name} has no repository “{names}” that the token may "
            f"read.{_did_you_mean(_alike(integration, names))}"
        )
    if repository.is_disabled:
        raise forms.ValidationError(
            f"{repository} is disabled in {integration.provider.name}. Enable it there, or choose "
            f"another."
        )
    return repository


def find_branch(repository: Repository, text: str) -> str:
    """Return the branch that was typed, or the default branch, or say what is wrong."""
    try:
        names = [branch.name for branch in branches_of(repository)]
    except ProviderError as error:
        raise forms.ValidationError(f"The branches could not be read. {error}") from error
    wanted = text.strip().removeprefix("refs/heads/") or repository.default_branch
    if not names:
        raise forms.ValidationError(f"{repository} is empty. Push a first commit, then try again.")
    if wanted not in names:
        alike = [name for name in names if search_key(wanted) in search_key(name)]
        if not wanted:
            raise forms.ValidationError(f"{repository} has no default branch. Choose a branch.")
        raise forms.ValidationError(
            f"{repository} has no branch “{wanted}”.{_did_you_mean(alike or names)}"
        )
    return wanted


def branches_matching(repository: Repository, text: str) -> list[RemoteBranch]:
    """Return branches with every word typed, the default one first. Raises ProviderError."""
    words = search_key(text).split()
    found = [
        branch
        for branch in branches_of(repository)
        if all(word in search_key(branch.name) for word in words)
    ]
    return sorted(found, key=lambda branch: branch.name != repository.default_branch)


def _alike(integration: Integration, names: str) -> list[str]:
    """Return repositories whose names hold the last part of what was typed."""
    offered = Repository.objects.offered().filter(integration=integration)
    last = names.rpartition("/")[2]
    return [str(repository) for repository in offered.matching(last)[:SUGGESTIONS]]


def _did_you_mean(names: list[str]) -> str:
    listed = ", ".join(f"“{name}”" for name in names[:SUGGESTIONS])
    return f" Is it one of {listed}?" if listed else ""
