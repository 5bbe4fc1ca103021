"""The steps of the form that creates a stack; its edit pages use the same steps."""

from typing import Any, cast

from django import forms
from django.db.models import Value
from django.db.models.functions import Lower

from stacks.models import Stack
from stacks.sources import find_branch, find_repository, pasted_branch
from vcs_integrations.models import Integration

NAME_TAKEN = "Another stack has this name. Choose a different one."


class ComboboxInput(forms.TextInput):
    """A text field with a list of matches; without JavaScript it is just the text field."""

    template_name = "elements/combobox.html"

    def __init__(self, url_name: str, waiting: str = "") -> None:
        """`waiting` is shown in place of a list that takes a while to read."""
        super().__init__({"autocomplete": "off", "autocapitalize": "off", "spellcheck": "false"})
        self.url_name = url_name
        self.waiting = waiting

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        more = {"url_name": self.url_name, "waiting": self.waiting}
        return super().get_context(name, value, attrs) | more


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
        help_text="project/repository. Type to search, or paste an address.",
    )
    branch = forms.CharField(
        label="Branch",
        max_length=500,
        required=False,
        widget=ComboboxInput("branch_options", waiting="Reading branches…"),
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
        help_text="Optional.",
    )
    project_root = forms.CharField(
        label="Project root",
        max_length=500,
        required=False,
        help_text="Optional. The folder to run from, like infra/network; the top if empty.",
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

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        others = Stack.objects.exclude(pk=self.stack.pk if self.stack else 0)
        if self.stack and name == self.stack.name:
            return name
        same = others.alias(folded=Lower("name")).filter(folded=Lower(Value(name)))
        if same.exists():
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
