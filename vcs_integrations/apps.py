from django.apps import AppConfig


class VcsIntegrationsConfig(AppConfig):
    name = "vcs_integrations"
    verbose_name = "VCS integrations"
