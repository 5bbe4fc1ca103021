"""What everything that runs programs of the system shares."""

MEGABYTE = 1024 * 1024
# Where the system's programs are looked for, whatever the worker's own PATH is.
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
