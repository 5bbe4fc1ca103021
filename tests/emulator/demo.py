"""The sample organization of the demo."""

from .server import Emulator

ORGANIZATION = "fabrikam"
TOKEN = "demo-token-for-the-local-emulator-only-not-a-secret-0000"
_PROVIDER = 'terraform {\n  required_version = ">= 1.5"\n}\n'
_INFRASTRUCTURE = {
    "README.md": "# Infrastructure\n\nNetwork and cluster of the platform team.\n",
    "versions.tf": _PROVIDER,
    "network/main.tf": (
        'variable "cidr" {\n  type    = string\n  default = "10.20.0.0/16"\n}\n\n'
        'resource "terraform_data" "network" {\n  input = var.cidr\n}\n\n'
        'output "cidr" {\n  value = terraform_data.network.output\n}\n'
    ),
    "cluster/main.tf": (
        'variable "nodes" {\n  type    = number\n  default = 3\n}\n\n'
        'resource "terraform_data" "cluster" {\n  input = { nodes = var.nodes }\n}\n\n'
        'output "nodes" {\n  value = terraform_data.cluster.output.nodes\n}\n'
    ),
    "main.tf": 'module "network" {\n  source = "./network"\n}\n\nmodule "cluster" {\n'
    '  source = "./cluster"\n}\n',
}


def seed(emulator: Emulator) -> None:
    """Add the sample organization, unless it is there already."""
    if emulator.organization(ORGANIZATION):
        return
    organization = emulator.add_organization(ORGANIZATION)
    organization.add_token({"vso.code_write"}, secret=TOKEN)

    platform = organization.add_project("Platform Team")
    infrastructure = platform.add_repository("infrastructure", _INFRASTRUCTURE)
    infrastructure.push(
        {"cluster/main.tf": _INFRASTRUCTURE["cluster/main.tf"].replace("= 3", "= 5")},
        branch="develop",
        message="Try five nodes",
    )
    infrastructure.push(
        {"network/dns.tf": _resource("dns", "platform.example")},
        branch="feature/network",
        message="Add a DNS zone\n\nThe zone is empty for now.",
    )
    modules = platform.add_repository("terraform modules", _files("module"))
    modules.push({"bucket/main.tf": _resource("bucket", "logs")}, message="Add the bucket module")
    platform.add_repository("empty")
    platform.add_repository("retired", _files("retired")).disable()

    zurich = organization.add_project("Zürich")
    office = zurich.add_repository("büro-netz", _files("office"))
    office.push({"wifi.tf": _resource("wifi", "guests")}, "develop", "Add the guests' network")

    web = organization.add_project("Web")
    shop = web.add_repository("shop", _files("shop"))
    shop.push({"queue.tf": _resource("queue", "orders")}, "feature/queue", "Queue the orders")


def _files(name: str) -> dict[str, str | None]:
    return {
        "versions.tf": _PROVIDER,
        "variables.tf": f'variable "name" {{\n  type    = string\n  default = "{name}"\n}}\n',
        "main.tf": f'resource "terraform_data" "{name}" {{\n  input = var.name\n}}\n',
        "outputs.tf": f'output "name" {{\n  value = terraform_data.{name}.output\n}}\n',
    }


def _resource(kind: str, value: str) -> str:
    return f'resource "terraform_data" "{kind}" {{\n  input = "{value}"\n}}\n'
