"""The steps of the form that creates a stack; its edit pages use the same steps."""

from collections import Counter
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet, Value
from django.db.models.functions import Lower
from django.http import QueryDict

from core.words import comma_separated
from stacks.models import Backend, Stack, Tool
from stacks.rules import globs
from stacks.rules.stack_names import why_not_confirmed
from stacks.rules.versions import LONGEST_CONSTRAINT, InvalidVersion, read_choice
from stacks.setup.steps import StepForm
from stacks.sources.comboboxes import ComboboxInput
from stacks.sources.finding import find_branch, find_repository, inner_folder, pasted_branch
from vcs_integrations.models import Integration, Repository

NAME_TAKEN = "Another stack has this name. Choose a different one."
MOST_GLOBS = 50
LONGEST_GLOB = 200


class StackStepForm(StepForm):
    """A step of the form that creates a stack, which can be filled in again."""

    change_note = ""

    @classmethod
    def initial_of(cls, stack: Stack) -> dict[str, Any]:
        """Return what the fields say of a stack now."""
        return {name: getattr(stack, name) for name in cls.base_fields}


class ProviderField(forms.ModelChoiceField[Integration]):
    """One choice for each integration; the address distinguishes those with the same name."""

    names: Counter[str]

    def offer(self, integrations: QuerySet[Integration]) -> None:
        self.names = Counter(integrations.values_list("organization_name", flat=True))
        self.queryset = integrations

    def label_from_instance(self, integration: Integration) -> str:
        is_alone = self.names[integration.organization_name] == 1
        return str(integration) if is_alone else f"{integration} ({integration.organization_url})"


class IntegrateVcsForm(StackStepForm):
    """Which repository and branch. Cleaned: an Integration, a Repository, a branch name."""

    title = "Integrate VCS"

    provider = ProviderField(
        label="Provider",
        queryset=Integration.objects.none(),
        empty_label=None,
        error_messages={
            "required": "Choose an organization.",
            "invalid_choice": "This organization is not linked any more. Choose one.",
        },
    )
    repository = forms.CharField(
        label="Repository",
        max_length=2000,
        error_messages={"required": "Choose a repository."},
        widget=ComboboxInput("stacks:repository_options"),
        help_text="project/repository. Type to search, or paste an address.",
    )
    branch = forms.CharField(
        label="Branch",
        max_length=500,
        required=False,
        widget=ComboboxInput("stacks:branch_options", waiting="Reading branches…"),
        help_text="The branch to track. Left empty, it is the repository's default branch.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast(ProviderField, self.fields["provider"]).offer(Integration.objects.usable())

    @classmethod
    def initial_of(cls, stack: Stack) -> dict[str, Any]:
        return {
            "provider": stack.integration.pk,
            "repository": str(stack.repository),
            "branch": stack.branch,
        }

    def clean(self) -> dict[str, Any]:
        """Find the repository, then its branch: the second needs the first."""
        data = self.cleaned_data
        if "provider" not in data or "repository" not in data:
            return data
        typed_branch = data.get("branch") or pasted_branch(data["provider"], data["repository"])
        try:
            data["repository"] = find_repository(data["provider"], data["repository"])
        except forms.ValidationError as error:
            self.add_error("repository", error)
            return data
        try:
            data["branch"] = find_branch(data["repository"], typed_branch)
        except forms.ValidationError as error:
            self.add_error("branch", error)
        return data

    @property
    def understood(self) -> dict[str, str]:
        return {
            "repository": str(self.cleaned_data["repository"]),
            "branch": self.cleaned_data["branch"],
        }

    @property
    def columns(self) -> dict[str, Any]:
        return {
            "repository": self.cleaned_data["repository"],
            "branch": self.cleaned_data["branch"],
        }


class NameStackForm(StackStepForm):
    """What people call it, and from which folder it runs."""

    title = "Name stack"

    name = forms.CharField(
        label="Name", max_length=100, error_messages={"required": "Give the stack a name."}
    )
    description = forms.CharField(
        label="Description",
        max_length=500,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Optional.",
    )
    project_root = forms.CharField(
        label="Project root",
        max_length=500,
        required=False,
        help_text="Optional. The folder to run from, like infra/network. Left empty, it is the top "
        "of the repository.",
    )
    labels = forms.CharField(
        label="Labels",
        max_length=500,
        required=False,
        help_text="Optional, separated by commas.",
    )

    def __init__(self, *args: Any, stack: Stack | None = None, **kwargs: Any) -> None:
        self.stack = stack
        super().__init__(*args, **kwargs)

    @classmethod
    def initial_of(cls, stack: Stack) -> dict[str, Any]:
        return super().initial_of(stack) | {"labels": ", ".join(stack.labels)}

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if not name.isprintable():
            raise forms.ValidationError("A name has no line breaks or control characters.")
        if self.stack and name == self.stack.name:
            return name
        if _named(name).exclude(pk=self.stack.pk if self.stack else 0).exists():
            raise forms.ValidationError(NAME_TAKEN)
        return name

    def clean_project_root(self) -> str:
        return inner_folder(self.cleaned_data["project_root"])

    def clean_labels(self) -> list[str]:
        labels = comma_separated(self.cleaned_data["labels"])
        if any(len(label) > 50 for label in labels):
            raise forms.ValidationError("A label has at most 50 characters.")
        return labels


def suggested_name(repository: Repository, branch: str) -> str:
    """Return a name for a stack of a repository that is not taken; empty if there is none."""
    names = (repository.name, f"{repository.name} {branch}")
    return next((name for name in names if len(name) <= 100 and not _named(name).exists()), "")


def _named(name: str) -> QuerySet[Stack]:
    return Stack.objects.alias(folded=Lower("name")).filter(folded=Lower(Value(name)))


class BehaviorForm(StackStepForm):
    """What becomes a run."""

    title = "Define behavior"
    change_note = "What becomes a run from now on; runs that exist stay as they are."

    path_rule = forms.BooleanField(
        label="Run only when files under the project root change",
        required=False,
        initial=True,
        help_text="Off: every push of the tracked branch runs, and every push of any other branch "
        "as proposed code.",
    )
    extra_globs = forms.CharField(
        label="Also run on these paths",
        max_length=MOST_GLOBS * LONGEST_GLOB,
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="Optional. Files elsewhere whose change also runs the stack, one glob a line, "
        "written as in a .gitignore: modules/**/*.tf, *.tfvars, /versions.tf. A glob that begins "
        "with ! takes back what the globs above it matched, but never files under the project "
        "root. Lines that begin with # are dropped.",
    )
    runs_drafts = forms.BooleanField(
        label="Run draft pull requests",
        required=False,
        initial=True,
        help_text="Off: a pull request runs once it is published.",
    )
    runs_forks = forms.BooleanField(
        label="Run pull requests from forks",
        required=False,
        help_text="Careful: whoever can fork the repository can then have code of their own run "
        "here, before anybody of your team has read it.",
    )
    pull_requests_only = forms.BooleanField(
        label="Run other branches through pull requests only",
        required=False,
        help_text="On: other branches run only once a pull request proposes them. The tracked "
        "branch always runs.",
    )
    autodeploy = forms.BooleanField(
        label="Autodeploy",
        required=False,
        help_text="On: every tracked run is applied as soon as it is planned, except for destroy "
        "runs, plans that destroy every resource in the state, and plans that could not be read. "
        "Off: each plan waits until somebody has read and confirmed it.",
    )
    plans_merged = forms.BooleanField(
        label="Plan pull requests as merged",
        required=False,
        initial=True,
        help_text="On: a pull request's plan shows what merging it into the tracked branch "
        "changes. Off: its newest commit is planned as it is, even where it is behind.",
    )
    plans_again = forms.BooleanField(
        label="Plan pull requests again when the tracked branch or the state moves",
        required=False,
        initial=True,
        help_text="Off: an older plan stays, and its status and comment say that it is out of "
        "date.",
    )
    fetches_submodules = forms.BooleanField(
        label="Fetch submodules",
        required=False,
        initial=True,
        help_text="On: submodules are fetched from the repositories that Module access allows, "
        "with the integration's token. Any other submodule fails the run. Off: submodules stay "
        "empty folders.",
    )
    fetches_lfs = forms.BooleanField(
        label="Fetch Git LFS files",
        required=False,
        initial=True,
        help_text="On: a run fails if a file can't be fetched. Off: Git LFS files stay pointers.",
    )

    runs_on_modules = forms.BooleanField(
        label="Run when its modules change",
        required=False,
        help_text="On: a push to a repository of the same organization that the last tracked run "
        "used as a module, and to the branch or tag that its source names, starts a tracked run of "
        "the newest commit. A source that names a commit never does.",
    )

    @classmethod
    def initial_of(cls, stack: Stack) -> dict[str, Any]:
        return super().initial_of(stack) | {"extra_globs": "\n".join(stack.extra_globs)}

    def clean_extra_globs(self) -> list[str]:
        typed = (
            glob.strip()
            for line in map(str.strip, self.cleaned_data["extra_globs"].split("\n"))
            # Braces are refused as they were typed, so the commas in them divide nothing.
            for glob in ([line] if "{" in line or line.startswith("#") else line.split(","))
        )
        kept = [_plain_glob(glob) for glob in typed if glob and not glob.startswith("#")]
        # The last glob that matches decides: of the same twice, the last one counts.
        found = list(dict.fromkeys(reversed(kept)))[::-1]
        if found and all(glob.startswith("!") for glob in found):
            raise forms.ValidationError(
                "These globs only take files back, and no glob above them matches any. Begin with "
                "a glob without !."
            )
        if len(found) > MOST_GLOBS:
            raise forms.ValidationError(
                f"These are {len(found)} globs, and a stack takes {MOST_GLOBS}. Use wider ones."
            )
        return found


class BackendForm(StackStepForm):
    """What plans and applies, and who keeps the state."""

    title = "Configure backend"
    change_note = (
        "A change moves no state: what the stack manages already is unknown to another backend, "
        "and planned a second time."
    )

    tool = forms.ChoiceField(
        label="Tool",
        choices=Tool.choices,
        initial=Tool.TERRAFORM,
        help_text="The one that the code is written for. A state that one of them has written is "
        "not always readable for the other.",
    )
    tool_version = forms.CharField(
        label="Version",
        max_length=LONGEST_CONSTRAINT,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Optional. One version, like 1.11.4, or a constraint, like ~> 1.11. Left empty, "
        "the code says it: .terraform-version (for OpenTofu .opentofu-version) in the project root "
        "or at the top of the repository, else required_version. Each run shows which version it "
        "uses.",
    )
    backend = forms.ChoiceField(
        label="State storage",
        choices=Backend.choices,
        initial=Backend.STACKHOOK,
        help_text="Stackhook keeps it encrypted, with every version, and needs no set-up. If the "
        "code names a backend, like azurerm, and has a state there, choose that: otherwise all of "
        "it is planned a second time.",
    )

    def clean_tool_version(self) -> str:
        typed: str = self.cleaned_data["tool_version"]
        if not typed:
            return ""
        try:
            return str(read_choice(typed))
        except InvalidVersion as error:
            raise forms.ValidationError(str(error)) from None


def _plain_glob(typed: str) -> str:
    """Return a glob as it is kept. Raises ValidationError with what is wrong."""
    if len(typed) > LONGEST_GLOB:
        raise forms.ValidationError(f"A glob has at most {LONGEST_GLOB} characters.")
    try:
        return globs.plain(typed)
    except globs.InvalidGlob as error:
        raise forms.ValidationError(f"“{typed}” {error}") from None


class DeleteStackForm(forms.Form):
    """The stack's name, typed by whoever deletes it."""

    stack_name = forms.CharField(
        label="Stack to delete",
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, data: QueryDict | None, stack: Stack) -> None:
        super().__init__(data)
        self.stack = stack
        self.fields["stack_name"].help_text = f"To confirm, type {stack.name}"

    def clean_stack_name(self) -> str:
        typed: str = self.cleaned_data["stack_name"]
        if refusal := why_not_confirmed(typed, self.stack.name):
            raise ValidationError(refusal)
        return typed
