"""Which parts of a secret are masked, and in which forms programs print them."""

import base64
import html
import json
import re
import shlex
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacks.execution.output.hcl import names_set_in
from stacks.execution.output.logs import Log
from stacks.execution.output.masking import MASK, MOST_PARTS, Masker
from stacks.execution.output.terminal import harmless
from stacks.models import Run
from tests.builders import make_run, make_stack
from tests.stacks.execution.conftest import log_of
from vcs_integrations.models import Integration

PASSWORD = 'Hunter2-Hunter2+"é\\/ <&>${x}%{y}'
PLAIN = "Hunter2-Hunter2"


@pytest.fixture
def run(linked: Integration) -> Run:
    return make_run(make_stack(linked, "Network"), 1)


def pretty(value: object) -> str:
    return json.dumps(value, indent=2)


@pytest.mark.parametrize(
    "secret",
    [
        '{ user="sa", password="Hunter2-Hunter2" }',
        '{user="sa"\npassword   =   "Hunter2-Hunter2"}',
        '{ "user" : "sa", "password" : "Hunter2-Hunter2" }',
        '["sa", ["Hunter2-Hunter2"]]',
        '{ a = { b = [{ c = "Hunter2-Hunter2" }] } }',
        '{\n  # it\'s "the\n  /* " */ password = "Hunter2-Hunter2" // " \n}',
        "{ password = <<EOT\nHunter2-Hunter2\nEOT\n}",
        "{\n  password = <<-EOT\n    Hunter2-Hunter2\n    EOT\n}",
        '{"user": "sa", "password": "Hunter2-Hunter2"}',
        '{"password": "Hunter2\\u002dHunter2"}',
        '"Hunter2-Hunter2"',
        json.dumps([json.dumps({"a": json.dumps({"b": PLAIN})})]),
        '{ "json" = "{\\"password\\":\\"Hunter2-Hunter2\\"}" }',
        base64.b64encode(b'{"password": "Hunter2-Hunter2"}').decode(),
        '{"broken": ["Hunter2-Hunter2", ',
        "[" * 5000 + '"Hunter2-Hunter2"',
        "DB_USER=sa\nDB_PASSWORD=Hunter2-Hunter2\n",
        "export DB_PASSWORD='Hunter2-Hunter2' # for now\n",
        "[client]\nuser = sa\npassword = Hunter2-Hunter2\n",
        "users:\n- name: sa\n  user:\n    token: Hunter2-Hunter2\n",
        "Server=tcp:db.example.com,1433;User ID=sa;Password=Hunter2-Hunter2;Encrypt=True",
        "Driver={ODBC Driver};Uid=sa;Pwd={Hunter2-Hunter2};",
        "cache.example.com:6380,password=Hunter2-Hunter2,ssl=True",
        "host=db user=sa password=Hunter2-Hunter2 sslmode=require",
        "postgres://sa:Hunter2-Hunter2@db.example.com/app?sslmode=require",
        "postgres://sa:Hunter2%2DHunter2@db.example.com/app",
        "https://Hunter2-Hunter2:x-oauth-basic@git.example.com/a.git",
        "https://store.example.com/c?sp=r&sig=Hunter2%2DHunter2&se=1",
        "Authorization: Bearer Hunter2-Hunter2",
        "sa:Hunter2-Hunter2",
        "Hunter2-Hunter2\n",
        "  \n  Hunter2-Hunter2  \r\n",
        "one line of it\r\nHunter2-Hunter2\r\n",
    ],
)
@pytest.mark.parametrize(
    "printed",
    [
        lambda one: f'  + password = "{one}"',
        lambda one: base64.b64encode(f"user:{one}:".encode()).decode(),
    ],
    ids=["plain", "base64"],
)
def test_what_a_secret_holds_is_masked_separately(
    secret: str, printed: Callable[[str], str]
) -> None:
    masked = Masker([secret]).mask(printed(PLAIN))
    assert MASK in masked
    assert "Hunter" not in masked and base64.b64encode(b"unter2-Hunter").decode() not in masked


@pytest.mark.parametrize("holder", [json.dumps, lambda one: json.dumps({"a": [one]}), pretty])
@pytest.mark.parametrize(
    "write",
    [
        lambda one: json.dumps(one),
        lambda one: json.dumps(json.dumps({"a": one})),
        lambda one: json.dumps(json.dumps(json.dumps([one], ensure_ascii=False))),
        # Go's encoder, which jsonencode has
        lambda one: json.dumps(one, ensure_ascii=False).replace("<", "\\u003c")
        .replace(">", "\\u003e").replace("&", "\\u0026"),
        # HCL in quotes, and in a heredoc
        lambda one: '"' + one.replace("\\", "\\\\").replace('"', '\\"')
        .replace("${", "$${").replace("%{", "%%{") + '"',
        lambda one: f"<<EOT\n{one.replace('${', '$${').replace('%{', '%%{')}\nEOT",
        lambda one: quote(one, safe=""),
        lambda one: quote(one, safe="").lower().replace("hunter", "Hunter"),
        lambda one: quote_plus(one),
        lambda one: quote(one),
        lambda one: base64.b64encode(one.encode()).decode(),
        lambda one: base64.urlsafe_b64encode(f"user:{one}".encode()).decode(),
    ],
)  # fmt: skip
def test_what_a_secret_holds_is_masked_as_programs_write_it(
    holder: Callable[[str], str], write: Callable[[str], str]
) -> None:
    masked = Masker([holder(PASSWORD)]).mask(write(PASSWORD))
    assert MASK in masked
    assert "Hunter" not in masked and "SHVudGVy" not in masked and "dW50ZXI" not in masked
    assert "x}" not in masked and "%7Bx" not in masked and "%7bx" not in masked


KEY = "kX9/vR2+wL5'mN8\"qT1$zB4&yD7<cF0>hJ3 " * 3 + "end-of-it"
ALIGNED = base64.b64encode(KEY.encode()).decode()


def folded(text: str, width: int = 76, before: str = "") -> str:
    lines = [text[at : at + width] for at in range(0, len(text), width)]
    return "".join(f"{before}{line}\n" for line in lines)


@pytest.mark.parametrize(
    "printed",
    [
        folded(ALIGNED),
        folded(ALIGNED, before="\x1b[31m│\x1b[0m \x1b[0m"),
        folded(ALIGNED, before='terraform_data.a["x y"] (local-exec): '),
        folded(ALIGNED, before="\x1b[0m\x1b[1mterraform_data.a (local-exec):\x1b[0m \x1b[0m"),
        folded(ALIGNED, before="      + "),
        base64.encodebytes(KEY.encode()).decode(),
        folded(base64.b64encode(f"x{KEY}\n".encode()).decode()),
        folded(base64.b64encode(folded(ALIGNED).encode()).decode()),
        base64.b64encode(base64.b64encode(f"user:{KEY}".encode())).decode(),
        base64.urlsafe_b64encode(base64.urlsafe_b64encode(KEY.encode())).decode(),
        folded(KEY.encode().hex(), 60),
        KEY.encode().hex().upper(),
        KEY.encode().hex(" "),
        KEY.encode().hex(":").upper(),
        KEY[::-1],
        quote_plus(KEY),
        quote_plus(KEY, safe="/"),
        quote(quote(KEY, safe=""), safe=""),
        re.sub("%..", lambda found: found[0].lower(), quote(KEY)),
        html.escape(KEY),
        html.escape(KEY).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        shlex.quote(KEY),
        KEY.replace("'", "'\\''"),
        "".join(one if one.isalnum() else f"\\{one}" for one in KEY),
        repr(KEY),
        "".join(f"\x1b[01;31m\x1b[K{one}\x1b[m\x1b[K" for one in KEY),
        folded(KEY, 20),
        "\n".join(f"\x1b[31m│\x1b[0m {word}" for word in KEY.split(" ")),
        " ".join(KEY),
    ],
)
def test_a_secret_is_masked_in_every_usual_encoding_however_it_is_broken(printed: str) -> None:
    left = re.sub(r"\x1b\[[0-9;]*m|[\s│]", "", Masker([KEY]).mask(harmless(printed)))
    assert MASK in left
    # What base64 mixes with its neighbors stays, as do the prefixes of lines.
    assert len(left.replace(MASK, "")) < 45


@pytest.mark.parametrize("size", [1, 5, 76, 200, 5000])
@pytest.mark.parametrize("before", ["", "terraform_data.a (local-exec): "])
def test_a_secret_is_masked_across_lines_that_come_one_by_one(
    run: Run, size: int, before: str
) -> None:
    log = Log(run, Masker([KEY]))
    printed = ("Begin\n" + folded(ALIGNED, before=before) + "End\n").encode()
    for start in range(0, len(printed), size):
        log.write(printed[start : start + size])
    log.flush()
    assert log_of(run) == f"Begin\n{before}{MASK}\nEnd\n"


def test_colors_outlast_a_mask_and_words_beside_it_stay() -> None:
    masker = Masker(["hunter2-secret", "abcd"])
    assert masker.mask("a \x1b[31mhunter2\x1b[1m-secret\x1b[0m b") == (
        f"a \x1b[31m{MASK}\x1b[1m\x1b[0m b"
    )
    # A short secret is not found by leaving out the spaces between words.
    assert masker.mask("a b c d, grab cd") == "a b c d, grab cd"
    assert masker.mask("ab\ncd") == MASK


@pytest.mark.parametrize("character", ["\x07", "\u200e", "\ufeff", "\xa0", "\x1b", "\x7f"])
def test_a_secret_is_masked_though_characters_of_it_are_not_shown(character: str) -> None:
    secret = f"Hunter2{character}Hunter2"
    go = {"\x07": r"\a", "\x1b": r"\x1b", "\x7f": r"\x7f"}
    for printed in (
        harmless(secret),
        secret.replace(character, go.get(character, f"\\u{ord(character):04x}")),
    ):
        assert Masker([secret]).mask(f"'{printed}'") == f"'{MASK}'"


def test_ordinary_words_stay_readable_whatever_secrets_hold() -> None:
    secrets = [
        '{ user="sa", ssl=true, port=1433, zone="eu-1", password="Hunter2-Hunter2" }',
        "Server=db;Encrypt=True;Password=Hunter2-Hunter2",
        "postgres://postgres:Hunter2-Hunter2@db/app?sslmode=require",
        "LOG_LEVEL=warning\nPASSWORD=Hunter2-Hunter2",
    ]
    text = "sa, true: port 1433 in eu-1; password is required by postgres, a warning. Encrypt=True"
    assert Masker(secrets).mask(text) == text


def test_names_are_no_secrets() -> None:
    masker = Masker(['{ administrator = "Hunter2-Hunter2", "password" : "Hunter3-Hunter3" }'])
    assert masker.mask('administrator "password"') == 'administrator "password"'


def test_numbers_are_masked_too() -> None:
    assert Masker(['{"pin": 48151623, "l": [-42.108]}']).mask("48151623 -42.108") == (
        f"{MASK} {MASK}"
    )


def test_secrets_that_overlap_leave_nothing_of_either() -> None:
    masker = Masker(["first-second", "second-third"])
    assert masker.mask("a first-second-third b") == f"a {MASK} b"


def test_a_secret_with_a_thousand_values_is_masked_whole_and_in_part() -> None:
    values = [f"value-{number:04}" for number in range(1000)]
    masker = Masker([json.dumps(values)])
    assert masker.mask(" ".join(values)) == " ".join([MASK] * 1000)
    assert not masker.has_more


def test_beyond_the_limit_secrets_are_masked_as_wholes() -> None:
    first, second = (
        json.dumps([f"{name}-{number:05}" for number in range(MOST_PARTS)]) for name in "ab"
    )
    masker = Masker([first, second])
    assert masker.has_more
    assert masker.mask(f"a-00000 {second}") == f"{MASK} {MASK}"


@given(st.text(alphabet='"\\{}[]=:#/*<-EOT\n\r x1$%;&@\ud800é'))
def test_any_text_is_a_secret(secret: str) -> None:
    text = secret.encode(errors="replace").decode()
    masked = Masker([text]).mask(f"a {text} b").replace(MASK, "")
    assert len(text.strip()) < 4 or text.strip() not in masked


@pytest.mark.parametrize(
    ("file", "names"),
    [
        ("", set()),
        ('r = "x"\ns=1\n', {"r", "s"}),
        ("my-input = [\n  1,\n]\nmap = { inner = 1 }\n", {"my-input", "map"}),
        ('# a = 1\n// b = 1\n/* c = 1\nd = 1 */ e = "f = 1"\n', {"e"}),
        ("a = <<EOT\nb = 1\nEOT\nc = <<-EOT\n  d = 1\n  EOT\n", {"a", "c"}),
        ('a = "${"b"}"\nc = 1 == 2\n', {"a", "c"}),
        ("a = <<NEVER\nb", {"a"}),
        ("é = 1\r\n_b = 2\r\n", {"é", "_b"}),
        ('a = "it never ends\nb = 1', {"a", "b"}),
        ("]]] a = 1", set()),
    ],
)
def test_names_that_a_file_of_variables_sets(file: str, names: set[str]) -> None:
    assert names_set_in(file) == names
