"""The form of a schedule: what it starts, and when."""

from datetime import datetime
from typing import Any

from django import forms
from django.http import QueryDict
from django.utils import timezone

from stacks.models import Schedule, Stack
from stacks.models.schedule import Starts
from stacks.rules.stack_names import why_not_confirmed
from stacks.schedules.times import InvalidCron, next_time, next_times, time_zones

MOST = 20  # schedules of a stack
SHOWN = 3  # next times


class ScheduleForm(forms.Form):
    """What a schedule says. Cleaned: the fields of the row, without its next time."""

    what = forms.ChoiceField(
        label="What",
        choices=Starts.choices,
        help_text="Drift detection compares what was applied last with what there is, and changes "
        "nothing. A tracked run plans the head commit. A destroy run plans to remove everything, "
        "and always waits until a person confirms it.",
    )
    cron = forms.CharField(
        label="When",
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        error_messages={"required": "Write when, like 0 6 * * MON-FRI for 6:00 on weekdays."},
        help_text="A cron expression: minute, hour, day of the month, month, day of the week. "
        "0 6 * * MON-FRI is 6:00 on weekdays, 30 */4 * * * every four hours.",
    )
    time_zone = forms.CharField(
        label="Time zone",
        max_length=64,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "spellcheck": "false", "list": "time-zones"}
        ),
        error_messages={"required": "Choose a time zone, like UTC or Europe/Berlin."},
        help_text="A name like UTC or Europe/Berlin.",
    )
    runs_on_drift = forms.BooleanField(
        label="Start a tracked run when drift is found",
        required=False,
        help_text="Only for drift detection. The run plans the head commit; with autodeploy it is "
        "also applied.",
    )
    stack_name = forms.CharField(label="Stack to destroy", max_length=100, required=False)

    def __init__(
        self, data: QueryDict | None, *, stack: Stack, schedule: Schedule | None = None
    ) -> None:
        now = {"what": Starts.DRIFT, "cron": "", "time_zone": "UTC", "runs_on_drift": False}
        if schedule:
            now = {name: getattr(schedule, name) for name in now}
        super().__init__(data, initial=now)
        self.stack, self.schedule = stack, schedule
        self.fields["stack_name"].help_text = f"Only for a destroy run: type {stack.name}"

    def clean_time_zone(self) -> str:
        typed: str = self.cleaned_data["time_zone"]
        names = {name.lower(): name for name in time_zones()}
        if typed.lower() not in names:
            raise forms.ValidationError(
                f"“{typed}” is no time zone. Use a name of the IANA list, like UTC or "
                f"Europe/Berlin."
            )
        return names[typed.lower()]

    def clean_cron(self) -> str:
        return " ".join(self.cleaned_data["cron"].upper().split())

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if "cron" in data and "time_zone" in data:
            try:
                next_time(data["cron"], data["time_zone"], timezone.now())
            except InvalidCron as error:
                self.add_error("cron", f"“{data['cron']}” can’t be used. {error}")
        if data.get("runs_on_drift") and data.get("what") != Starts.DRIFT:
            self.add_error(
                "runs_on_drift", "Only drift detection finds drift. Clear this, or choose that."
            )
        refusal = why_not_confirmed(data.pop("stack_name", ""), self.stack.name)
        if data.get("what") == Starts.DESTROY and refusal:
            self.add_error("stack_name", refusal)
        if self.schedule is None and self.stack.schedules.count() >= MOST:
            raise forms.ValidationError(
                f"A stack has at most {MOST} schedules. Remove one, or change one."
            )
        return data


def shown_times(schedule: Schedule) -> list[datetime]:
    """Return the next times of a schedule in its time zone; none where it can't be read."""
    try:
        return next_times(schedule.cron, schedule.time_zone, timezone.now(), SHOWN)
    except (InvalidCron, LookupError):
        return []
