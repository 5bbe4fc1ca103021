"""What pages show of a module: inputs, outputs and providers, read from code that is anybody's."""

import pytest

from modules.documents import asking, reading
from modules.documents.reading import read_module
from modules.documents.readme import render

CODE = b"""
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.0", configuration_aliases = [aws.east] }
    old = "~> 2.1"
  }
}

variable "tags" {
  description = "What \\"every\\" resource\\nis tagged with, like $${name}"
  type        = map(object({ key = string, size = optional(number, 3) }))
  default = {
    a = [1, "x", null, true]
    b = { c = upper("d") }
  }
}

variable "password" {
  type      = string
  sensitive = true
}

output "id" {
  description = <<-EOT
    The ID.
      Indented
  EOT
  value       = terraform_data.this.id
  sensitive   = true
}

module "inner" {
  source = "./modules/inner"
}

resource "terraform_data" "this" {
  input = { for key, value in var.tags : key => value if value != null }
}
"""


def test_inputs_outputs_and_providers_are_read() -> None:
    own = read_module({"main.tf": CODE}).own
    password, tags = own.inputs
    assert password == {
        "name": "password",
        "type": "string",
        "description": "",
        "default": None,
        "is_sensitive": True,
    }
    assert tags["type"] == "map(object({key = string, size = optional(number, 3)}))"
    assert tags["description"] == 'What "every" resource\nis tagged with, like ${name}'
    assert tags["default"] == '{\n  a = [1, "x", null, true]\n  b = {\n    c = upper("d")\n  }\n}'
    [output] = own.outputs
    assert output == {
        "name": "id",
        "description": "The ID.\n  Indented",
        "is_sensitive": True,
    }
    assert own.required_version == ">= 1.5"
    assert own.providers == [
        {"name": "aws", "source": "hashicorp/aws", "version": "~> 5.0"},
        {"name": "old", "source": "hashicorp/old", "version": "~> 2.1"},
    ]
    assert own.problems == []


def test_several_files_and_json_are_read_together() -> None:
    own = read_module(
        {
            "variables.tf": b'variable "b" {}\n',
            "more.tf.json": b'{"variable": {"a": {"default": ["x", 1], "description": "A"}}}',
            "examples/main.tf": b'variable "of_an_example" {}\n',
            "notes.txt": b'variable "none" {}\n',
        }
    ).own
    assert [(one["name"], one["default"]) for one in own.inputs] == [("a", "[x, 1]"), ("b", None)]


def test_submodules_are_read_apart() -> None:
    module = read_module(
        {
            "main.tf": b'variable "own" {}\n',
            "modules/inner/main.tf": b'variable "of_inner" {}\n',
            "modules/inner/deeper/main.tf": b'variable "deeper" {}\n',
        }
    )
    assert [one["name"] for one in module.own.inputs] == ["own"]
    assert list(module.submodules) == ["inner"]
    assert [one["name"] for one in module.submodules["inner"].inputs] == ["of_inner"]
    assert module.stored["submodules"]["inner"]["inputs"][0]["name"] == "of_inner"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"variable {", "main.tf could not be read: "),
        (b"x = " + b"[" * 20_000 + b"]" * 20_000, "main.tf is nested too deeply to be read."),
    ],
)
def test_a_file_that_cant_be_read_is_named_and_the_others_are_shown(
    content: bytes, problem: str
) -> None:
    own = read_module({"main.tf": content, "other.tf": b'variable "there" {}\n'}).own
    assert [one["name"] for one in own.inputs] == ["there"]
    [named] = own.problems
    assert named.startswith(problem)


def test_what_no_database_stores_is_left_out() -> None:
    code = b'{"variable": {"a\\u0000": {"description": "\\ud800\\u0000d", "default": "\\ud800"}}}'
    stored = read_module({"main.tf.json": code, "README.md": b"a\0b"}).stored
    assert [one["name"] for one in stored["inputs"]] == ["a"]
    assert "\0" not in str(stored)
    str(stored).encode()


def test_code_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "SECONDS", 1)
    module = read_module({"main.tf": b'variable "x" {\n  default = 1 + 1\n}\n' * 20_000})
    assert module.own.problems == [
        "It takes too long to read for its README, inputs and outputs to be shown."
    ]
    huge = read_module({"main.tf": b"#" * (reading.LARGEST_CODE + 1)})
    assert huge.own.problems == ["Its code is too large for its inputs and outputs to be shown."]


def readme_of(markdown: str) -> str:
    return render(read_module({"README.md": markdown.encode()}).readme)


def test_a_readme_is_shown_as_html_below_the_headings_of_its_page() -> None:
    html = readme_of("# Title\n\n##### Deep\n\n| a |\n|---|\n| ~~1~~ |\n\n3. *three*\n\n`x < y`\n")
    assert "<h3>Title</h3>" in html
    assert "<h6>Deep</h6>" in html
    assert "<td><s>1</s></td>" in html
    assert '<ol start="3">' in html
    assert "<code>x &lt; y</code>" in html


@pytest.mark.parametrize(
    "markdown",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](JaVaScRiPt&colon;alert(1))",
        "[a](data:text/html;base64,PHN2Zz4=)",
        "[a](vbscript:x)",
        "![a](https://example.com/pixel.png)",
        "![a](x 'onerror=alert(1)')",
        "<style>*{display:none}</style>",
        '<form action="/sign-out/"><button>x</button></form>',
        "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
        '[a](https://example.com/"onmouseover="alert(1))',
    ],
)
def test_nothing_active_of_a_readme_reaches_a_page(markdown: str) -> None:
    html = readme_of(markdown)
    for forbidden in ("<script", "<img", "<style", "<form", "<iframe", '"onmouseover', "<svg"):
        assert forbidden not in html
    assert 'href="javascript' not in html.lower()
    assert 'href="data' not in html.lower()
    assert 'href="vbscript' not in html.lower()


def test_the_sanitizer_alone_is_enough() -> None:
    html = render('<a href="javascript:x" onclick="x">a</a><script>x</script><p class="page">b</p>')
    assert html == '<a rel="nofollow noopener noreferrer">a</a><p>b</p>'


def test_links_within_the_repository_lead_nowhere_and_others_bring_no_referrer() -> None:
    html = readme_of("[a](docs/x.md) [b](#usage) [c](//example.com) [d](https://example.com/?a=1)")
    assert html.count("href=") == 1
    assert 'href="https://example.com/?a=1" rel="nofollow noopener noreferrer"' in html
