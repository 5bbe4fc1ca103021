"""The state that Stackhook keeps for a stack: its versions, its lock, and who may reach it."""

import zlib
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from core.encrypted_fields import EncryptedBytesField
from core.encryption import decrypting
from stacks.models.run import Run
from stacks.models.stack import Stack
from stacks.rules.states import State

# How long a state that somebody uploaded waits to be confirmed.
KEEP_UPLOADS = timedelta(hours=1)


class StateVersion(models.Model):
    """The state as it was at one time, without its content; the newest one counts."""

    stack = models.ForeignKey(
        # The constraint below serves look-ups by stack, too.
        Stack,
        on_delete=models.CASCADE,
        related_name="state_versions",
        db_index=False,
    )
    number = models.PositiveIntegerField(help_text="counts the versions of its stack")
    run = models.ForeignKey(
        Run, null=True, on_delete=models.SET_NULL, related_name="state_versions"
    )
    uploaded_by = models.CharField(
        max_length=150, blank=True, help_text="who uploaded or restored it, where no run wrote it"
    )
    restored_from = models.PositiveIntegerField(
        null=True, blank=True, help_text="the number of the version that it is a copy of"
    )
    serial = models.BigIntegerField(help_text="Terraform's own count")
    lineage = models.CharField(max_length=100, help_text="what versions of one state share")
    tool_version = models.CharField(max_length=100, blank=True)
    resources = models.PositiveIntegerField(default=0)
    size = models.PositiveBigIntegerField(help_text="bytes")
    digest = models.CharField(max_length=64)
    is_deletion = models.BooleanField(default=False, help_text="since then there is no state")
    written_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-number",)
        constraints = (
            models.UniqueConstraint(fields=["stack", "number"], name="one_state_per_number"),
        )

    def __str__(self) -> str:
        return f"Version {self.number}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic(savepoint=False):
            super().save(*args, **kwargs)
            Stack.objects.filter(pk=self.stack_id).plan_again_once_quiet()

    @property
    def before(self) -> int:
        """The number of the version before; 0 for the first one."""
        return self.number - 1

    def keep(self, content: bytes) -> None:
        """Store the content, compressed and encrypted."""
        StateContent.objects.create(version=self, packed=zlib.compress(content))

    def read(self) -> bytes:
        """Return the content. Raises WrongKey if it can't be decrypted."""
        with decrypting("The stored state"):
            return zlib.decompress(StateContent.objects.get(version=self).packed)


class StateContent(models.Model):
    """The content of a version, in its own table so that it is decrypted only where needed."""

    version = models.OneToOneField(StateVersion, on_delete=models.CASCADE, primary_key=True)
    packed = EncryptedBytesField()

    def __str__(self) -> str:
        return f"{self.version} of {self.version.stack}"


class StateUpload(models.Model):
    """A first state that an admin uploaded, until they confirm that it is the right one."""

    stack = models.OneToOneField(
        Stack, on_delete=models.CASCADE, primary_key=True, related_name="state_upload"
    )
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    packed = EncryptedBytesField()
    uploaded_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"Uploaded state of {self.stack}"

    def read(self) -> bytes:
        return zlib.decompress(self.packed)


class StateLock(models.Model):
    """The lock of a stack's state: only its holder may write."""

    stack = models.OneToOneField(
        Stack, on_delete=models.CASCADE, primary_key=True, related_name="state_lock"
    )
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="state_locks")
    taken_while = models.CharField(max_length=20, help_text="the state of its run then")
    lock_id = models.CharField(max_length=100)
    info = models.JSONField(help_text="what Terraform says about it, in its words")
    locked_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"Lock of {self.stack_id}"

    @property
    def is_for_writing(self) -> bool:
        return self.taken_while == State.APPLYING

    @property
    def is_abandoned(self) -> bool:
        """Whether it protects nothing any more: its run only planned, and does so no longer.

        A lock to apply stays: its program may still be running, and a person has to check what it
        did.
        """
        return not self.is_for_writing and self.run.state != self.taken_while


class RunCredential(models.Model):
    """The password with which a run's programs reach the state and the module registry.

    It ends with the run.

    The one exception is an apply whose worker was lost: it keeps the lock that it held then, until
    its time limit ends it.
    """

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="credential"
    )
    password_digest = models.CharField(max_length=64)
    reaches_state = models.BooleanField(
        default=True, help_text="Stackhook kept the state of its stack when it was issued"
    )
    apply_ends_by = models.DateTimeField(
        null=True, blank=True, help_text="when the time limit of its apply ends"
    )
    kept_lock_id = models.CharField(
        max_length=100, blank=True, help_text="the lock that a lost worker's apply held"
    )

    def __str__(self) -> str:
        return f"Credential of {self.run_id}"

    def outlives_its_run(self, lock: StateLock) -> bool:
        """Say whether a lost worker's apply may still use the state under a lock."""
        return (
            lock.is_for_writing
            and (lock.run_id, lock.lock_id) == (self.run_id, self.kept_lock_id)
            and self.apply_ends_by is not None
            and timezone.now() < self.apply_ends_by
        )


def keep_lock_of_lost_apply(run: Run) -> None:
    """Let an apply continue that may outlive its worker: under the lock that it holds, if any."""
    lock = StateLock.objects.filter(run=run, taken_while=State.APPLYING).first()
    if lock:
        RunCredential.objects.filter(run=run).update(kept_lock_id=lock.lock_id)


def prune_uploads() -> None:
    """Remove the uploaded states that nobody confirmed."""
    StateUpload.objects.filter(uploaded_at__lt=timezone.now() - KEEP_UPLOADS).delete()
