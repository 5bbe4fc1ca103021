from django.apps import AppConfig


class StacksConfig(AppConfig):
    name = "stacks"

    def ready(self) -> None:
        from accounts import roles
        from stacks import consumer
        from stacks.lifecycle.team_roles import role_at
        from vcs_integrations.consumer import register

        register(consumer)
        roles.register(role_at)
