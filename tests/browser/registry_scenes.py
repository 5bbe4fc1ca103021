"""The pages of modules that are published, in their main states."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from playwright.sync_api import expect

from modules.documents.markdown import to_html
from modules.documents.reading import Documentation, ModuleDocumentation
from modules.impact.uses import registry_address
from modules.models import Check, CheckState, Module, ModuleDecision, VersionState
from stacks.models import RegistrySource
from stacks.rules.states import State as RunState
from tests.browser.scene import LONG_NAME, Scene, state
from tests.builders import make_module, make_run, make_version

PAGE = "/modules/stackhook/network/azurerm/"
README = f"""# Network

A virtual network with subnets, and **peerings** to others. See [the rules](https://example.com/).

| Input | Meaning |
| --- | --- |
| `address_space` | of the whole network |

1. Choose an address space.
2. Choose subnets:
   - for hosts
   - for [gateways](docs/gateways.md)

> Changing the address space replaces the network.

```hcl
module "network" {{
  source        = "stackhook.example.com/stackhook/network/azurerm"
  address_space = ["10.0.0.0/16"] # {LONG_NAME}{LONG_NAME}
}}
```

## Limits

Up to `{LONG_NAME}` subnets.
"""
SUBNETS = "map(object({\n  cidr = string\n  delegation = optional(string)\n}))"
INPUTS = [
    ("address_space", "list(string)", "Of the whole network, like 10.0.0.0/16.", None),
    ("name", "string", "", None),
    ("password", "string", "Of the gateway.\nAt least 12 characters.", '""'),
    ("subnets", SUBNETS, "What hosts are in.", "{}"),
    (LONG_NAME, "any", LONG_NAME, f'{{\n  "{LONG_NAME}" = true\n}}'),
]
SAID = Documentation(
    inputs=[
        {
            "name": name,
            "type": kind,
            "description": description,
            "default": default,
            "is_sensitive": name == "password",
        }
        for name, kind, description, default in INPUTS
    ],
    outputs=[{"name": "id", "description": "Of the network.", "is_sensitive": False}],
    providers=[{"name": "azurerm", "source": "hashicorp/azurerm", "version": "~> 4.0"}],
    required_version=">= 1.6",
)
BROKEN = Documentation(problems=["main.tf could not be read: Unexpected token at line 3"])
DOCUMENTED = ModuleDocumentation(SAID, {"peering": SAID, "gateway": BROKEN}, "").stored
RESULTS = [
    {"name": "Code", "outcome": "passed", "sentence": "4 files."},
    {"name": "terraform init", "outcome": "passed", "sentence": "Terraform 1.11.4."},
    {"name": "terraform validate", "outcome": "failed", "sentence": "Unsupported argument."},
    {"name": "terraform test", "outcome": "skipped", "sentence": "It has no tests."},
]


def _module(scene: Scene) -> Module:
    repository = scene.integration.repositories.get()
    return make_module(repository, "network", namespace="stackhook", folder="modules/network")


def _published(scene: Scene) -> Module:
    """A module with versions in every state, and a decision about each."""
    module = _module(scene)
    now = timezone.now()
    text: dict[str, Any] = {"author": "Ann Admin", "committed_at": now - timedelta(days=3)}
    documents: dict[str, Any] = {"readme": to_html(README), "documentation": DOCUMENTED}
    versions = [
        make_version(module, "1.0.0", title="First version", downloads=1234, **text),
        make_version(
            module,
            "1.1.0",
            title=LONG_NAME,
            yanked_at=now,
            yanked_by_name="alice",
            yanked_because="It opens every port. Use 1.1.1.",
            **text,
        ),
        make_version(
            module,
            "1.2.0",
            title="Add peerings",
            changelog="Peerings to other networks.\n\n- new input peers\n- no changes otherwise",
            moved_to="b" * 40,
            tag_gone_at=now,
            **text,
            **documents,
        ),
        make_version(module, "1.3.0", state=VersionState.REFUSED, sha="c" * 40, **text),
        make_version(module, "2.0.0-rc.1", title="Try it", **text),
        make_version(module, "2.0.0", state=VersionState.WAITING, sha="d" * 40, **text),
    ]
    Check.objects.create(
        module=module,
        sha="c" * 40,
        state=CheckState.FAILED,
        results=RESULTS,
        failure="terraform validate failed: main.tf, line 3: unsupported argument “cidr”.",
        log=f"Initializing provider plugins…\n{LONG_NAME}{LONG_NAME}\nError: Unsupported argument",
        ended_at=now,
    )
    for version in versions:
        ModuleDecision.objects.create(
            module=module,
            subject=f"Tag v{version.number}",
            rule="tag",
            sentence=f"It names version {version.number}, which is checked and then published.",
            version=version,
        )
    ModuleDecision.objects.create(
        module=module, subject=f"Tag {LONG_NAME}", rule="other", sentence="It names no version."
    )
    return module


@state("modules, none yet")
def _modules_none(scene: Scene) -> None:
    scene.member("/modules/")


@state("modules")
def _modules(scene: Scene) -> None:
    module = _published(scene)
    make_module(module.repository, LONG_NAME[:64].rstrip("-"), namespace="platform-team")
    make_version(make_module(module.repository, "dns", system="aws"), "0.1.0")
    scene.member("/modules/")


@state("create module, source")
def _create_module_source(scene: Scene) -> None:
    assert scene.integration
    scene.member("/modules/new/")
    scene.page.get_by_label("Repository").fill("infra")
    expect(scene.page.get_by_role("option")).to_have_count(1)


@state("create module, name")
def _create_module_name(scene: Scene) -> None:
    assert scene.integration
    scene.member("/modules/new/")
    scene.page.get_by_label("Repository").fill("Platform Team/infrastructure")
    scene.page.keyboard.press("Escape")
    scene.press("Continue")
    scene.page.get_by_label("Name", exact=True).fill("my network")
    scene.press("Continue")
    expect(scene.page.get_by_text("Enter the system")).to_be_visible()


@state("create module, versions")
def _create_module_versions(scene: Scene) -> None:
    assert scene.integration
    scene.member("/modules/new/")
    scene.page.get_by_label("Repository").fill("Platform Team/infrastructure")
    scene.page.keyboard.press("Escape")
    scene.press("Continue")
    scene.page.get_by_label("Name", exact=True).fill("network")
    scene.page.get_by_label("Target system").fill("azurerm")
    scene.press("Continue")
    expect(scene.page.get_by_label("Tests may apply")).to_be_visible()


@state("module")
def _module_page(scene: Scene) -> None:
    _published(scene)
    scene.admin(PAGE)
    scene.page.get_by_text("peering", exact=True).click()
    scene.page.get_by_text("gateway", exact=True).click()


@state("module, without versions")
def _module_without_versions(scene: Scene) -> None:
    _module(scene)
    scene.member(PAGE)


@state("module, versions")
def _module_versions(scene: Scene) -> None:
    _published(scene)
    scene.member(f"{PAGE}versions/")


@state("module, activity")
def _module_activity(scene: Scene) -> None:
    _published(scene)
    scene.member(f"{PAGE}activity/")


@state("version")
def _version(scene: Scene) -> None:
    _published(scene)
    scene.admin(f"{PAGE}versions/1.2.0/")


@state("version, not published")
def _version_refused(scene: Scene) -> None:
    _published(scene)
    scene.member(f"{PAGE}versions/1.3.0/")


@state("version, yanked")
def _version_yanked(scene: Scene) -> None:
    _published(scene)
    scene.admin(f"{PAGE}versions/1.1.0/")


@state("yank version, with errors")
def _yank_version(scene: Scene) -> None:
    _published(scene)
    scene.admin(f"{PAGE}versions/1.0.0/yank/")
    scene.press("Yank")
    expect(scene.page.get_by_text("Say why")).to_be_visible()


@state("restore version")
def _restore_version(scene: Scene) -> None:
    _published(scene)
    scene.admin(f"{PAGE}versions/1.1.0/restore/")


@state("edit module")
def _edit_module(scene: Scene) -> None:
    _module(scene)
    scene.member(f"{PAGE}edit/")


@state("delete module, which stacks use")
def _delete_module(scene: Scene) -> None:
    module = _published(scene)
    run = make_run(scene.stack(), 1, state=RunState.FINISHED)
    address = registry_address(module)
    RegistrySource.objects.create(run=run, address=address, version="1.0.0")
    scene.admin(f"{PAGE}delete/")
    scene.press("Delete")
    expect(scene.page.get_by_text("to delete it anyway.").first).to_be_visible()
