"""What runs find in their environment: variables and files, of a stack or shared by several."""

from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower
from django.urls import reverse
from django.utils import timezone

from core.encrypted_fields import EncryptedTextField, new_row_id
from stacks.models.stack import Stack
from stacks.rules.states import Kind


class Runs(models.TextChoices):
    """Which runs find a variable."""

    ALL = "all", "All runs"
    TRACKED = "tracked", "Tracked runs only"
    PROPOSED = "proposed", "Proposed runs only"

    @classmethod
    def usual(cls, *, is_secret: bool) -> "Runs":
        """Return which runs find what nobody decided about: code nobody approved, no secret."""
        return cls.TRACKED if is_secret else cls.ALL

    def includes(self, kind: Kind) -> bool:
        """Say whether runs of a kind find it; drift runs find what tracked ones do."""
        found_by = Kind.TRACKED if kind == Kind.DRIFT else kind
        return self == Runs.ALL or self.value == found_by.value


class Variable(models.Model):
    """A variable that runs find, or a file, whose path is the name; a secret is never shown."""

    id = models.BigIntegerField(primary_key=True, default=new_row_id, editable=False)
    name = models.CharField(max_length=200)
    value = EncryptedTextField()
    is_file = models.BooleanField(default=False)
    is_base64 = models.BooleanField(
        default=False, help_text="whether a file holds what its value is the base64 of"
    )
    is_secret = models.BooleanField(default=False)
    runs = models.CharField(
        max_length=20, choices=Runs.choices, help_text="the usual ones, unless others are chosen"
    )

    class Meta:
        abstract = True
        ordering = ("is_file", "name")

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.runs = self.runs or Runs.usual(is_secret=self.is_secret)
        super().save(*args, **kwargs)


class StackVariable(Variable):
    """A variable of one stack, or a file."""

    stack = models.ForeignKey(
        # The constraint below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="variables",
        db_index=False,
    )
    is_checked = models.BooleanField(
        default=False, help_text="whether an admin set it, or confirmed where it sends secrets"
    )

    class Meta(Variable.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=["stack", "is_file", "name"], name="one_variable_per_name"
            ),
            models.CheckConstraint(condition=Q(runs__in=Runs.values), name="variable_runs"),
        )

    def __str__(self) -> str:
        return f"{self.name} of {self.stack}"

    def keep_masked(self, value: str) -> None:
        """Keep a secret value that it had, so that it stays masked."""
        FormerSecret.objects.keep(value, stack=self.stack)


class SharedEnvironment(models.Model):
    """Variables and files that the runs of several stacks find; only admins change it."""

    name = models.CharField(max_length=100)
    description = models.CharField(max_length=500, blank=True)
    priority = models.PositiveSmallIntegerField(
        default=0, help_text="the higher one counts where two shared environments set the same"
    )
    labels = models.JSONField(default=list, blank=True, help_text="which attach it to stacks")
    stacks = models.ManyToManyField(Stack, through="Attachment", related_name="shared_environments")

    class Meta:
        ordering = ("-priority", Lower("name"))
        constraints = (
            models.UniqueConstraint(Lower("name"), name="one_shared_environment_per_name"),
        )

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("stacks:shared_environment", args=[self.pk])

    @property
    def is_secret(self) -> bool:
        """Whether it holds a secret."""
        return self.variables.filter(is_secret=True).exists()


class SharedVariable(Variable):
    """A variable of a shared environment, or a file."""

    environment = models.ForeignKey(
        # The constraint below serves look-ups by environment, too.
        SharedEnvironment,
        on_delete=models.CASCADE,
        related_name="variables",
        db_index=False,
    )

    class Meta(Variable.Meta):
        constraints = (
            models.UniqueConstraint(
                fields=["environment", "is_file", "name"], name="one_shared_variable_per_name"
            ),
            models.CheckConstraint(condition=Q(runs__in=Runs.values), name="shared_variable_runs"),
        )

    def __str__(self) -> str:
        return f"{self.name} of {self.environment}"

    def keep_masked(self, value: str) -> None:
        """Keep a secret value that it had, so that it stays masked."""
        FormerSecret.objects.keep(value, environment=self.environment)


class AttachmentQuerySet(models.QuerySet["Attachment"]):
    def in_order(self) -> Self:
        """With their environments: first what counts first where two of them set the same."""
        return self.select_related("environment").order_by(
            "-is_by_hand", "-environment__priority", Lower("environment__name")
        )


class Attachment(models.Model):
    """A shared environment whose variables a stack's runs find: an admin, or a label, said so."""

    environment = models.ForeignKey(
        # The constraint below serves look-ups by environment, too.
        SharedEnvironment,
        on_delete=models.CASCADE,
        related_name="attachments",
        db_index=False,
    )
    stack = models.ForeignKey(Stack, on_delete=models.CASCADE, related_name="attachments")
    is_by_hand = models.BooleanField(default=False)
    label = models.CharField(max_length=50, blank=True, help_text="the stack's, if one attaches it")

    objects = AttachmentQuerySet.as_manager()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["environment", "stack"], name="one_attachment_per_stack"
            ),
            models.CheckConstraint(
                condition=Q(is_by_hand=True) | ~Q(label=""), name="attached_by_hand_or_label"
            ),
        )

    def __str__(self) -> str:
        return f"{self.environment} of {self.stack}"


class FormerSecretQuerySet(models.QuerySet["FormerSecret"]):
    def keep(
        self,
        *values: str,
        stack: Stack | None = None,
        environment: SharedEnvironment | None = None,
    ) -> None:
        """Keep former secrets of a stack or shared environment in place of the oldest ones.

        The last value counts as the newest.
        """
        owner = {"stack": stack, "environment": environment}
        if new := [FormerSecret(value=value, **owner) for value in values if value]:
            self.bulk_create(new)
            ours = self.filter(**owner)
            newest = ours.values_list("pk", flat=True)[:MOST_FORMER_SECRETS]
            ours.exclude(pk__in=list(newest)).delete()


# How many former secrets of a stack or shared environment are kept, the newest, to be masked. More
# than an environment holds, so that all of its secrets stay masked where it is detached.
MOST_FORMER_SECRETS = 500


class FormerSecret(models.Model):
    """A value that a secret variable had once. It is never shown, only masked."""

    id = models.BigIntegerField(primary_key=True, default=new_row_id, editable=False)
    stack = models.ForeignKey(
        Stack, null=True, blank=True, on_delete=models.CASCADE, related_name="former_secrets"
    )
    environment = models.ForeignKey(
        SharedEnvironment,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="former_secrets",
    )
    value = EncryptedTextField()
    kept_at = models.DateTimeField(default=timezone.now)

    objects = FormerSecretQuerySet.as_manager()

    class Meta:
        ordering = ("-kept_at",)
        constraints = (
            models.CheckConstraint(
                condition=Q(stack__isnull=False, environment=None)
                | Q(stack=None, environment__isnull=False),
                name="former_secrets_have_one_owner",
            ),
        )

    def __str__(self) -> str:
        return f"A former secret of {self.stack or self.environment}"
