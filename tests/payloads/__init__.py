"""Webhooks as Azure DevOps sends them, named `event__variant`."""

from pathlib import Path

PAYLOADS = Path(__file__).parent
