from django.apps import AppConfig


class StacksConfig(AppConfig):
    name = "stacks"

    def ready(self) -> None:
        from stacks.deciding.intake import Batch
        from stacks.models import stacks_depending_on
        from vcs_integrations.connections import dependents
        from vcs_integrations.webhooks import consumer

        dependents.register(stacks_depending_on)
        consumer.register(Batch)
