from django.apps import AppConfig


class StacksConfig(AppConfig):
    name = "stacks"

    def ready(self) -> None:
        from stacks.deciding.intake import take_in_delivery
        from stacks.models import stacks_depending_on
        from vcs_integrations.connections import dependents
        from vcs_integrations.webhooks import processing

        dependents.register(stacks_depending_on)
        processing.register(take_in_delivery)
