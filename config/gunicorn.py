"""How gunicorn serves Stackhook: processes rather than threads, for SQLite's sake."""

import os
from pathlib import Path

from config import environment

environment.read_env_file(Path(__file__).resolve().parent.parent / ".env")

bind = f"127.0.0.1:{environment.port('PORT', 8000)}"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# Loading before forking turns a wrong setting into one sentence and an exit.
preload_app = True
# Save and Test, the slowest answers, give up after 6 seconds.
timeout = 30
control_socket_disable = True
loglevel = "warning"
