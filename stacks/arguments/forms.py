"""The form of a stack's arguments."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.http import QueryDict

from stacks.arguments.arguments import MOMENTS
from stacks.arguments.checks import (
    OF_APPLY,
    OF_PLAN,
    why_not_argument,
    why_not_backend_config,
    why_not_file,
    why_not_workspace,
)
from stacks.environment.variables import held_for_providers
from stacks.models import Backend, Stack

MOST_LINES = 20
LONGEST_LINE = 2000
ADMINS_ONLY = "Only an admin may change this."
# Fields that members may read and not change: they can send a state and secrets elsewhere.
ADMINS_FIELDS = ("backend_config", *MOMENTS)


class LinesField(forms.CharField):
    """Several values, one on each line."""

    def __init__(self, **kwargs: Any) -> None:
        attributes = {"rows": 2, "spellcheck": "false", "autocapitalize": "off"}
        kwargs["widget"] = forms.Textarea(attrs=attributes)
        super().__init__(required=False, max_length=MOST_LINES * LONGEST_LINE, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> Any:
        lines = _lines_of(super().clean(self.prepare_value(value)))
        if len(lines) > MOST_LINES:
            raise forms.ValidationError(f"Enter at most {MOST_LINES} lines.")
        if any(len(line) > LONGEST_LINE for line in lines):
            raise forms.ValidationError(f"A line has at most {LONGEST_LINE} characters.")
        return lines

    def has_changed(self, initial: Any, data: Any) -> bool:
        stored, typed = self.prepare_value(initial), self.prepare_value(data)
        return not self.disabled and _lines_of(stored or "") != _lines_of(typed or "")


class WordsField(LinesField):
    """Several options, divided by spaces or lines."""

    def clean(self, value: Any) -> Any:
        return [word for line in super().clean(value) for word in line.split()]


def _lines_of(text: str) -> list[str]:
    return list(filter(None, map(str.strip, text.splitlines())))


class ArgumentsForm(forms.Form):
    """What Terraform is run with. Fields that the reader may not change are disabled."""

    var_files = LinesField(
        label="Variable files",
        help_text="One on each line, from the project root: environments/prod.tfvars or "
        "../prod.tfvars. The commit has to have them, and a change of one runs the stack.",
    )
    workspace = forms.CharField(
        label="Workspace",
        required=False,
        max_length=90,
        widget=forms.TextInput({"autocapitalize": "off", "spellcheck": "false"}),
        help_text="For a backend in the code. A tracked run creates the workspace if there "
        "is none. State that Stackhook keeps has no workspaces: use one stack for each "
        "environment, and a variable or a variable file instead of terraform.workspace.",
    )
    plan_arguments = WordsField(
        label="Arguments for plan", help_text=f"Allowed: {', '.join(OF_PLAN)}."
    )
    apply_arguments = WordsField(
        label="Arguments for apply", help_text=f"Allowed: {', '.join(OF_APPLY)}."
    )
    backend_config = LinesField(
        label="Backend configuration",
        help_text="For a backend that the code names in part. On each line name=value, or the path "
        "of a file from the project root. Secrets go into the environment, as ARM_ACCESS_KEY, for "
        "example.",
    )

    def __init__(self, data: QueryDict | None, stack: Stack, *, reader_is_admin: bool) -> None:
        fields = ("var_files", "workspace", "plan_arguments", "apply_arguments", "backend_config")
        now = {name: getattr(stack, name) for name in fields}
        commands = {name: list(stack.commands.get(name, ())) for name in MOMENTS}
        super().__init__(data, initial=now | commands)
        self.stack = stack
        for moment, text in MOMENTS.items():
            self.fields[moment] = LinesField(label=f"{text.capitalize()}")
        if reader_is_admin:
            return
        for name in ADMINS_FIELDS:
            self.fields[name].disabled = True
        if held_for_providers(stack):
            # Another one has another state, which the stack's secrets may open.
            self.fields["workspace"].disabled = True
            self.fields["workspace"].help_text = ADMINS_ONLY

    @property
    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if name not in MOMENTS]

    @property
    def command_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in MOMENTS]

    def clean_var_files(self) -> list[str]:
        return self._each("var_files", lambda one: why_not_file(self.stack.project_root, one))

    def clean_workspace(self) -> str:
        name: str = self.cleaned_data["workspace"]
        reason = why_not_workspace(name) if name else ""
        if name and self.stack.backend == Backend.STACKHOOK and "workspace" in self.changed_data:
            reason = (
                "Stackhook keeps the state of this stack, through Terraform's http backend, which "
                "has no workspaces: terraform.workspace would be “default”. Use a variable, or "
                "first choose the backend in the code under Configure backend."
            )
        if reason:
            raise forms.ValidationError(reason)
        return name

    def clean_plan_arguments(self) -> list[str]:
        return self._each("plan_arguments", lambda one: why_not_argument(one, OF_PLAN))

    def clean_apply_arguments(self) -> list[str]:
        return self._each("apply_arguments", lambda one: why_not_argument(one, OF_APPLY))

    def clean_backend_config(self) -> list[str]:
        lines: list[str] = self.cleaned_data["backend_config"]
        is_changed = "backend_config" in self.changed_data
        if lines and is_changed and self.stack.backend == Backend.STACKHOOK:
            raise forms.ValidationError(
                "Stackhook keeps the state of this stack, so there is nothing to configure. First "
                "choose the backend in the code under Configure backend."
            )
        root = self.stack.project_root
        return self._each("backend_config", lambda one: why_not_backend_config(root, one))

    @property
    def stack_fields(self) -> dict[str, Any]:
        """The columns of a stack that the form decides."""
        data = self.cleaned_data
        found = {name: value for name, value in data.items() if name not in MOMENTS}
        return found | {"commands": {name: data[name] for name in MOMENTS if data[name]}}

    @property
    def changed_labels(self) -> str:
        """What was changed, for the audit log."""
        names = [str(self.fields[name].label).lower() for name in self.changed_data]
        return ", ".join(
            name if name not in MOMENTS.values() else f"commands {name}" for name in names
        )

    def _each(self, name: str, why_not: Callable[[str], str]) -> list[str]:
        """Return the values of a field. Raises ValidationError with what is wrong with each."""
        values: list[str] = self.cleaned_data[name]
        if name not in self.changed_data:  # as it was stored
            return values
        if reasons := list(filter(None, map(why_not, values))):
            raise forms.ValidationError(reasons)
        return list(dict.fromkeys(values))
