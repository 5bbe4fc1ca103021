"""What the provider calls the impact of a pull request on the stacks that use a module."""

from modules.models import Module

# No slug of a stack has a dot, and no name of a module.
BEGINNING = "impact."


def report_name(module: Module) -> str:
    """Return the name of its status, which a branch policy may ask for."""
    return f"{BEGINNING}{module.address.replace('/', '.')}"


def is_of_impact(name: str) -> bool:
    return name.startswith(BEGINNING)
