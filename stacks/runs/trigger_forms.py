"""The form that triggers a run: of which code, what it does, and to which resources."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django import forms
from django.http import QueryDict

from stacks.lifecycle.drift import applied_run
from stacks.lifecycle.triggering import NOTHING_APPLIED, commit_of
from stacks.models import Stack
from stacks.rules import addresses
from stacks.rules.stack_names import why_not_confirmed
from stacks.rules.states import Kind, Operation
from stacks.sources.comboboxes import ComboboxInput
from stacks.sources.commits import find_commit, full_id
from vcs_integrations.providers.events import RemoteCommit

# How many resources of a state are listed at once; a filter finds the others.
MOST_LISTED = 200
GONE = "%(value)s is not in the state any more. Choose among the resources that are listed."


class Row(NamedTuple):
    """A resource of the state, as the form lists it."""

    address: str
    is_target: bool
    is_replaced: bool


class AddressesField(forms.CharField):
    """Addresses that are typed, one a line. Cleaned: a list, each only once."""

    widget = forms.Textarea(attrs={"rows": 2, "spellcheck": "false", "autocomplete": "off"})

    def __init__(self, **kwargs: Any) -> None:
        most = addresses.MOST * (addresses.LONGEST + 2)
        super().__init__(max_length=most, required=False, **kwargs)

    def to_python(self, value: Any) -> Any:
        typed = (line.strip() for line in str(super().to_python(value)).splitlines())
        return list(dict.fromkeys(line for line in typed if line))


def _initial(typed: QueryDict | None) -> dict[str, Any]:
    """Return what the form shows unchecked: what was typed where only the list was filtered."""
    if typed is None:
        return {"kind": Kind.TRACKED, "operation": Operation.APPLY}
    several = {name: typed.getlist(name) for name in ("targets", "replacements")}
    return typed.dict() | several


class TriggerForm(forms.Form):
    """What to run. `resources` are the addresses in the state, None if these are not known."""

    kind = forms.ChoiceField(
        label="Code",
        help_text="A tracked run plans, and applies what is confirmed. A proposed run only plans, "
        "and finds no secrets of tracked runs. Drift detection compares the state with what there "
        "is, and changes nothing.",
    )
    branch = forms.CharField(
        label="Branch",
        max_length=500,
        required=False,
        widget=ComboboxInput("stacks:branch_options", waiting="Reading branches…"),
        help_text="Only for a proposed run.",
    )
    commit = forms.CharField(
        label="Commit",
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Only for a proposed run. The full id of a commit on that branch. Left empty, it "
        "is the branch’s newest commit.",
    )
    operation = forms.ChoiceField(
        label="Operation",
        choices=Operation.choices,
        help_text="Refresh only updates the state to what there is, and changes no resource. "
        "Destroy removes everything that the state holds, or only what is targeted.",
    )
    targets = forms.MultipleChoiceField(required=False, error_messages={"invalid_choice": GONE})
    replacements = forms.MultipleChoiceField(
        required=False, error_messages={"invalid_choice": GONE}
    )
    more_targets = AddressesField(
        label="Other targets",
        help_text="Optional, one address a line, like module.network or azurerm_subnet.a[0]. The "
        "plan is limited to targets and what they depend on.",
    )
    more_replacements = AddressesField(
        label="Other resources to replace",
        help_text="Optional, one address a line. They are destroyed and created again.",
    )
    note = forms.CharField(label="Note", max_length=500, required=False, help_text="Optional.")
    stack_name = forms.CharField(label="Stack to destroy", max_length=100, required=False)

    def __init__(
        self, data: QueryDict | None, *, stack: Stack, resources: Sequence[str] | None
    ) -> None:
        is_sent = data is not None and "filter" not in data
        super().__init__(data if is_sent else None, initial=_initial(data))
        self.stack, self.resources = stack, list(resources or [])
        # The words with which the list of resources is narrowed down.
        self.find = data.get("find", "")[:500] if data else ""
        self.fields["kind"].choices = [  # type: ignore[attr-defined]
            (Kind.TRACKED.value, f"Tracked: the head commit of {stack.branch}"),
            (Kind.PROPOSED.value, "Proposed: another branch or commit"),
            (Kind.DRIFT.value, "Drift detection: the commit that was applied last"),
        ]
        choices = [(address, address) for address in self.resources]
        for name in ("targets", "replacements"):
            self.fields[name].choices = choices  # type: ignore[attr-defined]
        self.fields["stack_name"].help_text = f"Only for Destroy: type {stack.name}"
        # The commit of a proposed or a drift run, once it was found.
        self.found: RemoteCommit | None = None

    @property
    def rows(self) -> list[Row]:
        """What is listed of the state: what was chosen, then what matches the filter."""
        chosen = {name: set(self[name].value() or []) for name in ("targets", "replacements")}
        is_chosen = chosen["targets"] | chosen["replacements"]
        words = self.find.lower().split()
        matching = [
            one
            for one in self.resources
            if one not in is_chosen and all(word in one.lower() for word in words)
        ]
        listed = [one for one in self.resources if one in is_chosen] + matching[:MOST_LISTED]
        return [Row(one, one in chosen["targets"], one in chosen["replacements"]) for one in listed]

    @property
    def is_cut(self) -> bool:
        """Whether the state holds more than is listed at once."""
        return len(self.resources) > MOST_LISTED

    def clean_commit(self) -> str:
        typed: str = self.cleaned_data["commit"]
        return full_id(typed) if typed else ""

    def clean_more_targets(self) -> list[str]:
        typed: list[str] = self.cleaned_data["more_targets"]
        for text in typed:
            if not addresses.is_target(text):
                raise forms.ValidationError(
                    f"“{text[:100]}” is no address of a resource or a module. Write it as plans "
                    f"do, like module.network.azurerm_subnet.a[0]."
                )
        return typed

    def clean_more_replacements(self) -> list[str]:
        typed: list[str] = self.cleaned_data["more_replacements"]
        for text in typed:
            if not addresses.is_resource(text):
                raise forms.ValidationError(
                    f"“{text[:100]}” is no address of a resource. Write it as plans do, like "
                    f"module.network.azurerm_subnet.a[0]."
                )
        return typed

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        for name in ("targets", "replacements"):
            data[name] = list(dict.fromkeys(data.get(name, []) + data.get(f"more_{name}", [])))
            if len(data[name]) > addresses.MOST:
                self.add_error(
                    f"more_{name}",
                    f"These are {len(data[name])} addresses, and a run takes {addresses.MOST}. "
                    f"Name their module instead.",
                )
        if data.get("kind") == Kind.DRIFT:
            self._check_drift(data)
        else:
            self._check_operation(data)
        if data.get("kind") == Kind.PROPOSED and not self.errors:
            self._find_commit(data)
        return data

    def _check_drift(self, data: dict[str, Any]) -> None:
        """Have drift detection compare everything, whatever operation is chosen beside it."""
        data["operation"] = Operation.REFRESH_ONLY
        if data["targets"] or data["replacements"]:
            self.add_error(
                "kind", "Drift detection compares everything. Clear the targets and replacements."
            )
        elif applied := applied_run(self.stack):
            self.found = commit_of(applied)
        else:
            self.add_error("kind", NOTHING_APPLIED)

    def _check_operation(self, data: dict[str, Any]) -> None:
        operation = data.get("operation")
        if operation != Operation.APPLY and data["replacements"]:
            self.add_error(
                "operation",
                "Terraform replaces resources only when it plans and applies. Choose “Plan and "
                "apply”, or clear what to replace.",
            )
        if operation != Operation.DESTROY:
            return
        if data.get("kind") == Kind.PROPOSED:
            self.add_error(
                "operation", "A proposed run can’t destroy. Choose the tracked code to destroy."
            )
        elif refusal := why_not_confirmed(data.get("stack_name", ""), self.stack.name):
            self.add_error("stack_name", refusal)

    def _find_commit(self, data: dict[str, Any]) -> None:
        branch, sha = data["branch"], data["commit"]
        if not branch and not sha:
            self.add_error("branch", "Choose a branch, or enter a commit of the tracked branch.")
            return
        try:
            data["branch"], self.found = find_commit(self.stack, branch or self.stack.branch, sha)
        except forms.ValidationError as error:
            self.add_error("commit" if sha else "branch", error)
