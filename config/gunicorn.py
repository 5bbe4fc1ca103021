"""How gunicorn serves Stackhook: processes rather than threads, for SQLite's sake."""

import sys

from django.core.exceptions import ImproperlyConfigured

from config import environment

environment.read_env_file(environment.BASE_DIR / ".env")

try:
    bind = f"127.0.0.1:{environment.port('PORT', 8000)}"
    workers = environment.count("WEB_CONCURRENCY", 2)
except ImproperlyConfigured as error:
    sys.exit(f"Stackhook can't start: {error}")
# Loading before forking turns a wrong setting into one sentence and an exit.
preload_app = True
# Unlinking, the slowest answer, gives up after 20 seconds.
timeout = 30
control_socket_disable = True
loglevel = "warning"
