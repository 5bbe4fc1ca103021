from django.apps import AppConfig


class StacksConfig(AppConfig):
    name = "stacks"

    def ready(self) -> None:
        from stacks import consumer
        from vcs_integrations.consumer import register

        register(consumer)
