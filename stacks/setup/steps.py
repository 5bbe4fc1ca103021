"""Forms that create something step by step, where every request carries what was typed."""

from collections.abc import Sequence
from typing import Any

from django import forms
from django.http import HttpRequest

from stacks.sources.finding import without_password


class StepForm(forms.Form):
    """A step of a form that creates a stack, or something else that follows a repository."""

    title: str

    @property
    def understood(self) -> dict[str, str]:
        """What the fields say once what was typed is understood, where that is different."""
        return {}

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that this step decides."""
        return self.cleaned_data


Steps = Sequence[type[StepForm]]


def current_step(request: HttpRequest, steps: Steps) -> int:
    """Return the number of the step that was sent, from 1 on; the first where it makes no sense."""
    numbers = {str(number): number for number in range(1, len(steps) + 1)}
    return numbers.get(request.POST.get("step", ""), 1)


def initial_values(steps: Steps) -> dict[str, str]:
    """Return what the steps say at first, as a browser sends it."""
    return {
        name: "on" if field.initial is True else field.initial or ""
        for step in steps
        for name, field in step.base_fields.items()
    }


def typed_values(request: HttpRequest, steps: Steps, current: int) -> dict[str, str]:
    """Return what is typed in all steps; steps not shown yet have their initial values.

    In the current step, a checkbox that is not sent is not checked.
    """
    not_sent = initial_values(steps) | dict.fromkeys(steps[current - 1].base_fields, "")
    return {
        name: without_password(request.POST.get(name, missing))
        for name, missing in not_sent.items()
    }


def context_of_step(
    steps: Steps, number: int, form: forms.Form, values: dict[str, str]
) -> dict[str, Any]:
    """Return the context of stacks/setup/wizard.html, which shows one step.

    It carries the values of the other steps in hidden fields.
    """
    return {
        "form": form,
        "number": number,
        "steps": steps,
        "is_last": number == len(steps),
        "carried": {name: value for name, value in values.items() if name not in form.fields},
    }
