"""The steps of the form that creates a module, and the forms that change it."""

from collections.abc import Callable
from typing import Any, cast

from django import forms
from django.conf import settings

from modules.models import Module, VersionsFrom
from modules.rules.names import LONGEST, as_name, why_not_name, why_not_system, why_not_tag_prefix
from modules.setup.folders import find_folder
from stacks.setup.forms import IntegrateVcsForm
from stacks.setup.steps import StepForm
from stacks.sources.comboboxes import ComboboxInput
from stacks.sources.finding import find_branch

ADDRESS_TAKEN = "Another module has this address. Choose a different name."


def folder_field() -> forms.CharField:
    """Return the field for the folder that a module is published from."""
    return forms.CharField(
        label="Folder",
        max_length=500,
        required=False,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off"}),
        help_text="Optional. The folder that has the module, like modules/network. Left empty, it "
        "is the top of the repository.",
    )


class ModuleSourceForm(IntegrateVcsForm):
    """Which repository, branch and folder. Cleaned as the form for stacks, and a path."""

    folder = folder_field()

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if not self.errors and data.get("folder"):
            try:
                data["folder"] = find_folder(data["repository"], data["branch"], data["folder"])
            except forms.ValidationError as error:
                self.add_error("folder", error)
        return data

    @property
    def understood(self) -> dict[str, str]:
        return super().understood | {"folder": self.cleaned_data["folder"]}

    @property
    def columns(self) -> dict[str, Any]:
        return super().columns | {"folder": self.cleaned_data["folder"]}


class NameModuleForm(StepForm):
    """The address that code uses the module by. Cleaned: its parts."""

    title = "Name module"

    name = forms.CharField(
        label="Name",
        max_length=LONGEST,
        error_messages={"required": "Give the module a name."},
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off"}),
        help_text="What the module makes, like network. Lower case.",
    )
    system = forms.CharField(
        label="Target system",
        max_length=LONGEST,
        error_messages={"required": "Enter the system that the module is written for."},
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off"}),
        help_text="What it is written for, usually its main provider, like azurerm. Letters and "
        "digits only.",
    )
    namespace = forms.ChoiceField(
        label="Namespace",
        error_messages={"required": "Choose a namespace."},
        help_text="What the address begins with. An address never changes, because code elsewhere "
        "names it.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        values = self.data if self.is_bound else self.initial
        project = str(values.get("repository", "")).rpartition("/")[0]
        choices = {settings.MODULE_NAMESPACE: f"{settings.MODULE_NAMESPACE} (this installation)"}
        if own := as_name(project):
            choices.setdefault(own, f"{own} (the project {project})")
        cast(forms.ChoiceField, self.fields["namespace"]).choices = list(choices.items())

    def clean_name(self) -> str:
        return _checked(self.cleaned_data["name"].lower(), why_not_name)

    def clean_system(self) -> str:
        return _checked(self.cleaned_data["system"].lower(), why_not_system)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if {"namespace", "name", "system"} <= set(data) and Module.objects.filter(**data).exists():
            self.add_error("name", ADDRESS_TAKEN)
        return data

    @property
    def understood(self) -> dict[str, str]:
        return {name: self.cleaned_data[name] for name in ("name", "system")}


class PublishForm(StepForm):
    """What makes a version, and what its tests may do."""

    title = "Publish versions"

    versions_from = forms.ChoiceField(
        label="Versions from",
        choices=VersionsFrom.choices,
        initial=VersionsFrom.TAGS,
        help_text="Tags: a tag like v1.2.3 publishes that version. File: a commit on the branch "
        "publishes the version in .stackhook/module.yml, once it names a new one.",
    )
    tag_prefix = forms.CharField(
        label="Prefix of tags",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off"}),
        help_text="Optional, for several modules in one repository: with the prefix network, the "
        "tag network/v1.2.3 publishes version 1.2.3, and v1.2.3 publishes none.",
    )
    applies_tests = forms.BooleanField(
        label="Tests may apply",
        required=False,
        help_text="On: tests of the module (terraform test) may create what they test, and destroy "
        "it afterwards. Off: tests that apply are skipped, and those that plan run.",
    )

    def clean_tag_prefix(self) -> str:
        return _checked(self.cleaned_data["tag_prefix"].removesuffix("/"), why_not_tag_prefix)

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if data.get("versions_from") == VersionsFrom.FILE:
            data["tag_prefix"] = ""
        return data


class EditModuleForm(PublishForm):
    """What may change of a module: where its versions come from, and what makes one."""

    branch = forms.CharField(
        label="Branch",
        max_length=500,
        required=False,
        widget=ComboboxInput("stacks:branch_options", waiting="Reading branches…"),
        help_text="The branch to track. Left empty, it is the repository's default branch.",
    )
    folder = folder_field()
    field_order = ("branch", "folder")

    def __init__(self, data: Any, module: Module) -> None:
        initial = {name: getattr(module, name) for name in self.base_fields}
        super().__init__(data, initial=initial)
        self.module = module

    def clean(self) -> dict[str, Any]:
        data = super().clean()
        if not {"branch", "folder"} & set(self.changed_data):
            return data
        if self.module.is_detached:
            raise forms.ValidationError(
                "The module is detached, so its branches and folders can't be read. Link its "
                "organization again, then change them."
            )
        if {"branch", "folder"} <= set(data):
            field = "branch"
            try:
                data["branch"] = find_branch(self.module.repository, data["branch"])
                field = "folder"
                data["folder"] = find_folder(self.module.repository, data["branch"], data["folder"])
            except forms.ValidationError as error:
                self.add_error(field, error)
        return data


class DeleteModuleForm(forms.Form):
    """The address, typed where stacks use the module."""

    address = forms.CharField(
        label="Address of the module",
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, data: Any, module: Module, *, is_used: bool) -> None:
        super().__init__(data)
        self.module = module
        self.is_used = is_used

    def clean_address(self) -> str:
        typed: str = self.cleaned_data["address"]
        if self.is_used and typed.strip() != self.module.address:
            raise forms.ValidationError(
                f"Stacks use this module. Type {self.module.address} to delete it anyway."
            )
        return typed


class YankForm(forms.Form):
    """Why a version is taken back."""

    reason = forms.CharField(
        label="Reason",
        max_length=500,
        error_messages={"required": "Say why, for those who use this version."},
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="Shown on the pages of the module and of the version.",
    )


def _checked(text: str, why_not: Callable[[str], str]) -> str:
    """Return a text as it was typed. Raises ValidationError with what is wrong."""
    if reason := why_not(text):
        raise forms.ValidationError(reason)
    return text
