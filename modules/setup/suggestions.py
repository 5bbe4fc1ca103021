"""What the steps of the form say at first, by the repository and folder that were chosen."""

from dataclasses import asdict

from django.conf import settings

from modules.rules.names import suggested

SUGGESTED_FOR = "suggested_for"


def with_suggestions(values: dict[str, str]) -> dict[str, str]:
    """Return what is typed in all steps, with suggestions where nothing of one's own was typed.

    What an earlier source suggested, and was left as it is, follows the new one.
    """
    source = f"{values['repository']}//{values['folder']}"
    if source == values.get(SUGGESTED_FOR):
        return values
    earlier, now = _for(values.get(SUGGESTED_FOR, "")), _for(source)
    changed = {name: now[name] for name in now if values[name] in {"", earlier[name]}}
    return values | changed | {SUGGESTED_FOR: source}


def _for(source: str) -> dict[str, str]:
    """Return what is suggested for a project/repository//folder, by the names of fields."""
    names, _, folder = source.partition("//")
    found = asdict(suggested(names.rpartition("/")[2], folder))
    return {**found, "namespace": settings.MODULE_NAMESPACE}
