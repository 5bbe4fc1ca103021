from django.db import migrations


def carry_over(apps, schema_editor):
    """Enter who saw webhook passwords into the audit log."""
    LogEntry = apps.get_model("auditlog", "LogEntry")
    ContentType = apps.get_model("contenttypes", "ContentType")
    for reveal in apps.get_model("vcs_integrations", "PasswordReveal").objects.order_by("at"):
        kind, _ = ContentType.objects.get_or_create(
            app_label="vcs_integrations", model="integration"
        )
        LogEntry.objects.create(
            content_type=kind,
            object_pk=reveal.integration_id,
            object_id=reveal.integration_id,
            object_repr=f"Azure DevOps · {reveal.integration.organization_name}",
            action=3,
            timestamp=reveal.at,
            additional_data={
                "verb": "password_revealed", "person": reveal.username, "note": "",
            },
        )


class Migration(migrations.Migration):

    dependencies = [
        ('auditlog', '0017_add_actor_email'),
        ('contenttypes', '0002_remove_content_type_name'),
        ('vcs_integrations', '0005_notices'),
    ]

    operations = [
        migrations.RunPython(carry_over, migrations.RunPython.noop),
        migrations.DeleteModel(name='PasswordReveal'),
    ]
