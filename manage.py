#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db import Error

from config import database


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        run()
    except ImproperlyConfigured as error:
        sys.exit(f"Stackhook can't start: {error}")


def run() -> None:
    try:
        execute_from_command_line(sys.argv)
    except Error:
        database.refuse_unreachable()
        raise


if __name__ == "__main__":
    main()
