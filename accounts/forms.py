"""Forms about people: sign in, add a person, change their role or password."""

from typing import Any, cast

from axes.utils import reset
from django import forms
from django.contrib.auth.forms import (
    AuthenticationForm,
    PasswordChangeForm,
    UserCreationForm,
    UsernameField,
)
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import (
    password_validators_help_texts,
    validate_password,
)
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, QueryDict

from accounts.models import User
from accounts.roles import Role, role_of
from accounts.throttling import is_own_password

NO_ROLE = ("", "No role")
EMAIL_HELP = "Notices about linked organizations go to admins who have one."


@transaction.atomic
def give_role(person: User, role: str) -> None:
    """Make `role` the person's only role; with an empty one they have none."""
    person.groups.remove(*Group.objects.filter(name__in=Role.values))
    if role:
        person.groups.add(Group.objects.get(name=role))


def password_rules() -> str:
    """Return what a password must be like, in sentences."""
    return " ".join(password_validators_help_texts())


class SignInForm(AuthenticationForm):
    """Name and password; a name longer than any is refused before it is looked up or noted."""

    username = UsernameField(
        label="Username", max_length=150, widget=forms.TextInput(attrs={"autofocus": True})
    )


class OwnPasswordForm(PasswordChangeForm):
    """One's own new password, and the old one to prove who asks."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        super().__init__(cast(User, request.user), request.POST or None)
        self.fields["new_password1"].help_text = password_rules()
        self.fields["new_password2"].help_text = ""

    def clean_old_password(self) -> str:
        password: str = self.cleaned_data["old_password"]
        if not is_own_password(self.request, self.user, password):
            raise ValidationError(self.error_messages["password_incorrect"])
        return password


class AddPersonForm(UserCreationForm[User]):
    """A new person with a first password, which they can change after signing in."""

    role = forms.ChoiceField(
        label="Role",
        choices=Role.choices,
        initial=Role.MEMBER,
        help_text="Viewers only read; members create and run stacks; approvers also confirm runs "
        "where a stack leaves that to them; admins also link organizations and manage people.",
    )

    class Meta:
        model = User
        fields = ["username", "email"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].help_text = "Letters, digits and @ . + - _"
        self.fields["email"].label = "E-mail address"
        self.fields["email"].help_text = EMAIL_HELP
        self.fields["password1"].help_text = password_rules()
        self.fields["password2"].help_text = ""

    @transaction.atomic
    def save(self, commit: bool = True) -> User:
        person = super().save(commit)
        give_role(person, self.cleaned_data["role"])
        return person


class OwnEmailForm(forms.ModelForm[User]):
    """One's own e-mail address."""

    class Meta:
        model = User
        fields = ["email"]
        labels = {"email": "E-mail address"}
        help_texts = {"email": EMAIL_HELP}

    def save(self, commit: bool = True) -> User:
        # Only that: an admin may give them another password in this moment.
        self.instance.save(update_fields=["email"])
        return self.instance


class EditPersonForm(forms.Form):
    """Another role or address or, for who forgot it, another password."""

    email = forms.EmailField(
        label="E-mail address", max_length=254, required=False, help_text=EMAIL_HELP
    )
    role = forms.ChoiceField(label="Role", choices=[NO_ROLE, *Role.choices], required=False)
    password = forms.CharField(
        label="New password",
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Leave empty to keep the present one.",
    )

    def __init__(self, data: QueryDict | None, person: User) -> None:
        self.person = person
        super().__init__(data, initial={"role": role_of(person), "email": person.email})
        if person.is_superuser:
            self.fields["role"].disabled = True
            self.fields["role"].help_text = "A superuser is always an admin."

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if password:
            validate_password(password, self.person)
        return password

    @property
    def changes(self) -> str:
        """What is changed, for the audit log."""
        role = dict([NO_ROLE, *Role.choices])[self.cleaned_data["role"]]
        changes = {"role": role, "password": "New password", "email": "E-mail address"}
        return ", ".join(changes[name] for name in self.changed_data)

    def save(self) -> None:
        give_role(self.person, self.cleaned_data["role"])
        self.person.email = self.cleaned_data["email"]
        self.person.save(update_fields=["email"])
        if self.cleaned_data["password"]:
            self.person.set_password(self.cleaned_data["password"])
            self.person.save(update_fields=["password"])
            reset(username=self.person.get_username())  # wrong passwords of before don't count
