"""The packages of the product, apart from its tests."""

PACKAGES = (
    "accounts",
    "config",
    "core",
    "dashboard",
    "modules",
    "notifications",
    "stacks",
    "vcs_integrations",
)
