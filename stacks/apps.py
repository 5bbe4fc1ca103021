from django.apps import AppConfig


class StacksConfig(AppConfig):
    name = "stacks"

    def ready(self) -> None:
        from stacks.models import stacks_depending_on
        from vcs_integrations import dependents

        dependents.register(stacks_depending_on)
