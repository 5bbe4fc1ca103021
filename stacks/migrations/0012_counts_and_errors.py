"""Runs count what else their plan does, and keep the errors that they ended with."""

from typing import Any

from django.db import migrations, models


def count_outputs(apps: Any, _: Any) -> None:
    """Count the outputs that the plans of earlier runs list."""
    runs = apps.get_model("stacks", "Run").objects
    for pk in list(runs.exclude(plan=None).values_list("pk", flat=True)):
        one = runs.filter(pk=pk)  # plans may be long, so one at a time
        one.update(changed_outputs=len(one.get().plan.get("outputs", [])))


class Migration(migrations.Migration):

    dependencies = [
        ('stacks', '0011_open_pull_requests'),
    ]

    operations = [
        migrations.AddField(
            model_name='run',
            name='changed_outputs',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='errors',
            field=models.TextField(blank=True, help_text='as its program printed them, masked and cut'),
        ),
        migrations.AddField(
            model_name='run',
            name='forgotten',
            field=models.PositiveIntegerField(default=0, help_text='no longer managed, but not destroyed'),
        ),
        migrations.AddField(
            model_name='run',
            name='imported',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='run',
            name='moved',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.RunPython(count_outputs, migrations.RunPython.noop),
    ]
