"""What a job prints, as a log: cut into chunks, masked, harmless, colored."""

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from stacks.execution.output.logs import CHUNK, Log, Style, as_text, lines_as_html
from stacks.execution.output.masking import MASK, Masker
from stacks.execution.output.terminal import harmless
from stacks.execution.tools.terraform import read_plan
from stacks.models import LogChunk, Run, Stack
from tests.builders import make_run, make_stack
from tests.stacks.execution.conftest import log_of
from vcs_integrations.models import Integration

pytestmark = pytest.mark.without_resources


@pytest.fixture
def run(linked: Integration) -> Run:
    return make_run(make_stack(linked, "Network"), 1)


@pytest.fixture
def stack(linked: Integration) -> Stack:
    return make_stack(linked, "Network")


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_a_secret_is_masked_wherever_the_output_was_cut(run: Run, size: int) -> None:
    log = Log(run, Masker(["hunter2-secret", "two\nlines of it"]))
    printed = ("a hunter2-secret b\n" * 30 + "two\nlines of it" + "é€𝄞" * 20).encode()
    for start in range(0, len(printed), size):
        log.write(printed[start : start + size])
    log.flush()
    text = log_of(run)
    assert "hunter2" not in text and "lines of it" not in text
    assert text.count(MASK) == 31
    assert text.endswith("é€𝄞" * 20)


def test_a_secret_in_a_line_without_an_end_is_masked(run: Run) -> None:
    log = Log(run, Masker(["hunter2-secret"]))
    line = ("x" * 97 + "hunter2-secret") * 3000
    for start in range(0, len(line), 1000):
        log.write(line[start : start + 1000].encode())
    log.flush()
    text = log_of(run)
    assert text == line.replace("hunter2-secret", MASK)
    assert max(len(one) for one in run.log.values_list("text", flat=True)) <= CHUNK


@pytest.mark.parametrize("before", ["", "u", "us", "user:"])
@pytest.mark.parametrize("after", ["", "\n", ":x"])
@pytest.mark.parametrize("secret", ["hunter2", "hunter2-secret", "hünter2~~???>>>secret"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_is_masked_in_base64_also_as_a_part(
    before: str, after: str, secret: str, encode: Callable[[bytes], bytes]
) -> None:
    encoded = encode(f"{before}{secret}{after}".encode()).decode()
    left = Masker([secret]).mask(encoded)
    assert MASK in left
    # Of the edges there are three characters at most, beside those of what is around it.
    longest = len(encode(f"{before}{after}".encode())) + 4
    assert len(left.replace(MASK, "")) <= longest
    assert Masker([secret]).mask("nothing to hide") == "nothing to hide"


@pytest.mark.parametrize(
    "printed",
    [
        r'a"b&c',
        r'plain = "a\"b&c"',
        r'{"password":"a\"b\u0026c"}',
        r'json = "{\"password\":\"a\\\"b\\u0026c\"}"',
    ],
)
def test_a_secret_is_masked_as_terraform_prints_it_in_outputs_and_json(printed: str) -> None:
    left = Masker(['a"b&c']).mask(printed)
    assert MASK in left and "c" not in left


@pytest.mark.parametrize("start", [180, 190, 197, 199, 488, 495, 499])
def test_a_secret_is_masked_in_a_plan_wherever_what_is_long_is_cut(start: int) -> None:
    text = "x" * start + "hunter2-secret"
    plan = {
        "resource_changes": [{"address": text, "change": {"actions": ["create"]}}],
        "output_changes": {text: {"actions": ["create"], "after": text}},
    }
    summary = read_plan(json.dumps(plan).encode(), Masker(["hunter2-secret"]).mask)
    assert summary
    assert "h" not in summary.resources[0]["address"]
    assert "h" not in summary.outputs[0]["name"]


def test_short_values_hide_nothing(run: Run) -> None:
    masker = Masker(["", "a", "no"])
    assert masker.mask("a banana and no more") == "a banana and no more"


def test_a_log_is_cut_at_its_limit_and_says_so(run: Run, settings: Settings) -> None:
    settings.RUN_LOG_MB = 1
    log = Log(run, Masker([]))
    for _ in range(30):
        log.write(b"0123456789abcdef\n" * 5000)
    log.flush()
    text = log_of(run)
    assert 1024 * 1024 <= len(text) < 1024 * 1024 + 100
    assert text.endswith("The log is cut here: it has 1 MB.\n")
    after = Log(run, Masker([]))
    after.write(b"more\n")
    after.flush()
    assert log_of(run) == text


@given(st.text(alphabet="\x1b[]0;1m2JP\x07\\ab\n\r\x9b\x00\u202e<&é"))
def test_whatever_is_printed_nothing_but_text_and_colors_is_left(printed: str) -> None:
    text = harmless(printed)
    assert harmless(text) == text
    plain = as_text(text)
    assert not {"\x1b", "\x07", "\x00", "\x9b", "\u202e"} & set(plain)
    html = "".join(lines_as_html(text))
    assert "\x1b" not in html and "<a" not in html and "<b" not in html


def test_colors_become_classes_and_go_on_in_the_next_chunk(run: Run) -> None:
    html = list(lines_as_html("a\x1b[1;32mb\n\x1b[39mc\x1b[0md\x1b[38;5;9me\x1b[m<"))
    assert html == [
        'a<span class="log-green log-bold">b</span>',
        '<span class="log-bold">c</span>de&lt;',
    ]
    log = Log(run, Masker([]))
    log.write(b"\x1b[31mred\n")
    log.flush()
    log.write(b"still red\x1b[0m\n")
    log.flush()
    assert [[*lines_as_html(one)] for one in run.log.values_list("text", flat=True)] == [
        ['<span class="log-red">red</span>', ""],
        ['<span class="log-red">still red</span>', ""],
    ]
    assert Style().after("\x1b[4;2;91m").sequence == "\x1b[31;2;4m"


def test_a_log_has_phases_and_numbers_its_lines_also_where_another_worker_goes_on(
    run: Run,
) -> None:
    phase = LogChunk.Phase
    log = Log(run, Masker([]))
    log.write(b"one\ntwo\nno end")
    log.enter(phase.INITIALIZING)
    log.write(b"four\n\x1b[0m")
    log.enter(phase.PLANNING)
    log.say("five")
    after = Log(run, Masker([]))
    after.enter(phase.FETCHING)
    after.say("six")
    after.flush()
    assert list(run.log.values_list("phase", "first_line", "text")) == [
        ("fetching", 1, "one\ntwo\n"),
        ("fetching", 3, "no end"),
        ("fetching", 3, "\n"),
        ("initializing", 4, "four\n"),
        ("initializing", 5, "\x1b[0m"),
        ("planning", 5, "\x1b[1mfive\x1b[0m\n"),
        ("fetching", 6, "\x1b[1msix\x1b[0m\n"),
    ]
