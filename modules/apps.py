from django.apps import AppConfig


class ModulesConfig(AppConfig):
    name = "modules"

    def ready(self) -> None:
        from modules import consumer
        from stacks.module_registry import register

        register(consumer)
