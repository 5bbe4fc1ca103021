from django.apps import AppConfig


class StacksConfig(AppConfig):
    name = "stacks"

    def ready(self) -> None:
        from stacks.models import dependents_of
        from vcs_integrations import dependents

        dependents.register(dependents_of)
