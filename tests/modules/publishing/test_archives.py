"""Archives: which files they hold, what is refused, and that they are the same bytes each time."""

import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping

import pytest
from django.conf import settings

from modules.publishing import contents
from modules.publishing.archives import build
from modules.publishing.contents import (
    FILE,
    LINK,
    MEGABYTE,
    PROGRAM,
    SUBMODULE,
    File,
    NotArchivable,
    files_of,
    read_listing,
)

Tree = Mapping[str, tuple[str, bytes]]


def listing(tree: Tree) -> bytes:
    """Return a tree as `git ls-tree -r -z -l` prints it; each path names its own object."""
    lines = b""
    for number, (path, (mode, content)) in enumerate(tree.items()):
        kind, size = ("commit", "-") if mode == SUBMODULE else ("blob", str(len(content)))
        lines += f"{mode} {kind} {number:040x} {size:>7}\t".encode() + os.fsencode(path) + b"\0"
    return lines


def archived(tree: Tree) -> dict[str, File]:
    found = read_listing(listing(tree))
    return files_of(found, {f"{n:040x}": one for n, (_, one) in enumerate(tree.values())})


def unpacked(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as opened:
        return {one.name: one for one in opened.getmembers()}


def test_files_keep_their_content_and_whether_they_may_be_executed() -> None:
    tree = {"main.tf": (FILE, b"a"), "b/run.sh": (PROGRAM, b"b"), "old": ("100664", b"c")}
    files = archived(tree)
    assert files == {
        "main.tf": File(b"a", 0o644),
        "b/run.sh": File(b"b", 0o755),
        "old": File(b"c", 0o644),
    }
    members = unpacked(build(files))
    assert list(members) == ["b/run.sh", "main.tf", "old"]
    for one in members.values():
        assert (one.uid, one.gid, one.uname, one.gname, one.mtime) == (0, 0, "", "", 315_532_800)
        assert one.isfile() and one.mode in {0o644, 0o755}


def test_a_link_becomes_what_it_leads_to() -> None:
    tree = {
        "LICENSE": (FILE, b"free"),
        "shared/a.tf": (FILE, b"a"),
        "shared/deep/b.tf": (PROGRAM, b"b"),
        "modules/x/LICENSE": (LINK, b"../../LICENSE"),
        "modules/x/shared": (LINK, b"../../shared"),
        "modules/x/again": (LINK, b"./shared/deep"),  # through another link
        "alias": (LINK, b"modules/x/LICENSE"),
    }
    files = archived(tree)
    assert {path: one.content for path, one in files.items() if path.startswith("modules")} == {
        "modules/x/LICENSE": b"free",
        "modules/x/shared/a.tf": b"a",
        "modules/x/shared/deep/b.tf": b"b",
        "modules/x/again/b.tf": b"b",
    }
    assert files["alias"].content == b"free"
    assert all(one.isfile() for one in unpacked(build(files)).values())


@pytest.mark.parametrize(
    "target",
    [
        b"/etc/passwd",
        b"../outside.tf",
        b"../../../../etc/passwd",
        b"inner/../../outside",
        b"..\\outside",
        b"a/" * 300,
        b"way/up/x",
    ],
)
def test_a_link_that_leads_out_of_the_folder_is_refused(target: bytes) -> None:
    tree = {
        "main.tf": (FILE, b""),
        "inner/x": (FILE, b""),
        "way": (LINK, b"."),
        "up": (LINK, b".."),
        "leak": (LINK, target),
    }
    tree = tree if b"way" in target else {path: tree[path] for path in tree if path[:2] != "up"}
    with pytest.raises(NotArchivable, match="leads out of the module's folder"):
        archived({"leak": tree.pop("leak")} | tree)


@pytest.mark.parametrize(
    ("links", "sentence"),
    [
        ({"a": b"a"}, "leads to itself"),
        ({"a": b"b", "b": b"a"}, "leads to itself"),
        ({"a": b"nowhere"}, "leads to nothing"),
        ({"a": b"."}, "leads to a folder that holds it"),
        ({"inner/a": b"../inner"}, "leads to a folder that holds it"),
        ({"x/a": b"../y", "y/b": b"../x"}, "leads to a folder that holds it"),
    ],
)
def test_a_link_that_never_ends_or_leads_to_nothing_is_refused(
    links: Mapping[str, bytes], sentence: str
) -> None:
    tree = {"main.tf": (FILE, b"")} | {path: (LINK, one) for path, one in links.items()}
    with pytest.raises(NotArchivable, match=sentence):
        archived(tree)


@pytest.mark.parametrize(
    "path",
    [
        "../evil.tf",
        "a/../../evil.tf",
        "/etc/evil",
        "a//b",
        "./a",
        ".git/config",
        "a/.GIT/hooks/post-checkout",
        "..\\evil.tf",
        "a\nb",
        "a\x1b[31m",
        os.fsdecode(b"\xff.tf"),
        "a\u202etf.exe",
    ],
)
def test_a_name_that_is_no_path_inside_is_refused(path: str) -> None:
    with pytest.raises(NotArchivable) as refused:
        archived({path: (FILE, b"")})
    assert str(refused.value).isprintable()


def test_a_name_that_is_there_twice_or_file_and_folder_is_refused() -> None:
    one = listing({"a": (FILE, b"")})
    with pytest.raises(NotArchivable, match="twice"):
        read_listing(one + one)
    with pytest.raises(NotArchivable, match="a file and a folder"):
        archived({"a": (LINK, b"b"), "a/b": (FILE, b"")})


def test_submodules_and_files_of_git_lfs_are_refused() -> None:
    with pytest.raises(NotArchivable, match="“sub” is a submodule"):
        archived({"sub": (SUBMODULE, b"")})
    pointer = contents.LFS + b"\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    with pytest.raises(NotArchivable, match=r"“big\.zip” is kept by Git LFS"):
        archived({"big.zip": (FILE, pointer)})
    with pytest.raises(NotArchivable, match="mode 160755"):
        archived({"odd": ("160755", b"")})


def test_what_is_too_large_is_refused_before_its_content_is_read() -> None:
    half = b"0" * (33 * MEGABYTE)
    with pytest.raises(NotArchivable, match="more than 64 MB"):
        read_listing(listing({"a": (FILE, half), "b": (FILE, half)}))
    many = {f"{number}.tf": (FILE, b"") for number in range(contents.MOST_FILES + 1)}
    with pytest.raises(NotArchivable, match="more than 10,000 files"):
        read_listing(listing(many))


def test_links_make_much_of_little_only_up_to_the_limits() -> None:
    """Each folder holds ten links to the next, and the last one a file."""
    began = time.monotonic()
    tree = {f"d{n}/l{m}": (LINK, f"../d{n + 1}".encode()) for n in range(9) for m in range(10)}
    with pytest.raises(NotArchivable, match="more than 10,000 files"):
        archived(tree | {"d9/file": (FILE, b"")})
    large = {f"l{n}": (LINK, b"file") for n in range(70)} | {"file": (FILE, b"0" * MEGABYTE)}
    with pytest.raises(NotArchivable, match="more than 64 MB"):
        archived(large)
    chain = {f"d{n}/l": (LINK, f"../d{n + 1}".encode()) for n in range(5_000)}
    with pytest.raises(NotArchivable, match="longer than 500 bytes"):
        archived(chain | {"d5000/file": (FILE, b"")})
    assert time.monotonic() - began < 60


def generated(number: int) -> dict[str, File]:
    """Return the files of a module that chance made, with long, wide and deep names."""
    chance = random.Random(number)  # noqa: S311
    files = {}
    for _ in range(chance.randrange(1, 40)):
        depth = chance.randrange(1, 6)
        words = ["main.tf", "ü-名前", "x" * 90, "Z", "a b", "~", "模块", "#"]
        path = "/".join(chance.choice(words) + str(chance.randrange(9)) for _ in range(depth))
        mode = chance.choice([0o644, 0o755])
        files[path] = File(chance.randbytes(chance.randrange(5_000)), mode)
    items = list(files.items())
    random.shuffle(items)  # in whatever order git lists them
    return dict(items)


ELSEWHERE = """
import hashlib, os, sys, time
os.umask(0o{umask})
sys.path.insert(0, {top!r})
import time_machine
from modules.publishing.archives import build
from tests.modules.publishing.test_archives import generated
with time_machine.travel({moment!r}):
    print(*(hashlib.sha256(build(generated(number))).hexdigest() for number in range(50)))
"""


def test_fifty_modules_are_the_same_bytes_on_every_machine() -> None:
    here = [hashlib.sha256(build(generated(number))).hexdigest() for number in range(50)]
    assert len(set(here)) == 50
    machines = [
        ("000", "1971-01-01", {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "1"}),
        ("077", "2099-12-31", {"TZ": "America/Lima", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "2"}),
    ]
    for umask, moment, variables in machines:
        script = ELSEWHERE.format(umask=umask, moment=moment, top=str(settings.BASE_DIR))
        environment = os.environ | variables | {"DJANGO_SETTINGS_MODULE": "tests.settings"}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True
        )
        assert done.stdout.split() == here, done.stderr
