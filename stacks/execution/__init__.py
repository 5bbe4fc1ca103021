"""Executing runs: what `manage.py run_worker` does."""
