"""A disk that takes longer to flush, for one program: most disks are slower than this machine's."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

FLUSHES = ("fsync", "fdatasync")
SOURCE = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <time.h>
    int {name}(int file) {{
        struct timespec pause = {{0, {milliseconds} * 1000000L}};
        nanosleep(&pause, 0);
        return ((int (*)(int)) dlsym(RTLD_NEXT, "{name}"))(file);
    }}
"""


@contextmanager
def slow_disk(milliseconds: int) -> Iterator[dict[str, str]]:
    """Yield variables of a program whose flushes each take so much longer; needs a C compiler."""
    folder = Path(tempfile.mkdtemp(prefix="slow-disk-"))
    folder.chmod(0o755)  # PostgreSQL runs as a user of its own
    source, library = folder / "slow_disk.c", folder / "slow_disk.so"
    functions = [SOURCE.format(name=name, milliseconds=milliseconds) for name in FLUSHES]
    source.write_text(dedent("".join(functions)))
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-w", "-o", library, source, "-ldl"], check=True)
        yield {"LD_PRELOAD": str(library)}
    finally:
        shutil.rmtree(folder)
