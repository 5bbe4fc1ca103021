"""The forms of dependencies on other stacks, and of who may read a state."""

import re
from typing import Any

from django import forms

from core.words import comma_separated
from stacks.models import Backend, Stack

# As Terraform takes names of outputs
OUTPUT_NAME = re.compile(r"[^\W\d][\w-]*")
MOST_OUTPUTS = 100
LONGEST_NAME = 200
TAKEN = "{stack} runs after {on} already. Remove that first."


class DependencyForm(forms.Form):
    """After which stack another one runs, and after which of its outputs changed."""

    on = forms.ModelChoiceField(
        label="Run after",
        queryset=Stack.objects.none(),
        empty_label=None,
        error_messages={"invalid_choice": "Choose a stack on which this one doesn't depend yet."},
    )
    outputs = forms.CharField(
        label="Outputs",
        max_length=(LONGEST_NAME + 2) * MOST_OUTPUTS,
        required=False,
        help_text="Separated by commas. Left empty, a change of any output counts.",
    )

    def __init__(self, data: Any, stack: Stack) -> None:
        super().__init__(data)
        others = Stack.objects.exclude(pk=stack.pk).filter(backend=Backend.STACKHOOK)
        field: Any = self.fields["on"]
        field.queryset = others.exclude(pk__in=stack.dependencies.values("on"))

    def clean_outputs(self) -> list[str]:
        names = comma_separated(self.cleaned_data["outputs"])
        for name in names:
            if not OUTPUT_NAME.fullmatch(name) or len(name) > LONGEST_NAME:
                raise forms.ValidationError(f"“{name[:50]}” is not the name of an output.")
        if len(names) > MOST_OUTPUTS:
            raise forms.ValidationError(f"Name at most {MOST_OUTPUTS} outputs, or none.")
        return names


class GrantForm(forms.Form):
    """Which stack may read the outputs of another one."""

    reader = forms.ModelChoiceField(
        label="Stack",
        queryset=Stack.objects.none(),
        empty_label=None,
        error_messages={"invalid_choice": "Choose a stack that may not read the outputs yet."},
    )
    is_for_proposed = forms.BooleanField(
        label="Proposed runs may read them, too",
        required=False,
        help_text="Careful: whoever can open a pull request to that stack can then read all "
        "outputs, also sensitive ones, before anybody has reviewed the code.",
    )

    def __init__(self, data: Any, stack: Stack) -> None:
        super().__init__(data)
        others = Stack.objects.exclude(pk=stack.pk).with_repository()
        field: Any = self.fields["reader"]
        field.queryset = others.exclude(pk__in=stack.state_grants.values("reader"))
