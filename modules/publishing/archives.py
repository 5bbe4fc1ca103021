"""Archives: the files of a module as a .tar.gz, the same bytes whenever and wherever it is made."""

import gzip
import io
import tarfile
from collections.abc import Mapping

from modules.publishing.contents import File

# 1980-01-01, which every format of archives can hold; some programs warn of 1970.
TIME = 315_532_800
LEVEL = 9


def build(files: Mapping[str, File]) -> bytes:
    """Return an archive of files, by their paths.

    Nothing in it depends on the time, the machine or the user: names are sorted, times, modes and
    owners fixed. Other releases of zlib may compress the same files to other bytes.
    """
    packed = io.BytesIO()
    # Without a name, and with no time of its own.
    with (
        gzip.GzipFile("", "wb", LEVEL, packed, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(files, key=str.encode):
            file = files[path]
            about = tarfile.TarInfo(path)
            about.size, about.mode, about.mtime = len(file.content), file.mode, TIME
            archive.addfile(about, io.BytesIO(file.content))
    return packed.getvalue()
