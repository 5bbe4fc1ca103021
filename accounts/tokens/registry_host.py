"""Under which host Terraform and OpenTofu find the module registry, and the token for it."""

from urllib.parse import urlsplit

PREFIX = "TF_TOKEN_"
DEFAULT_PORT = 443


def host_of(public_url: str) -> str:
    """Return the host of the registry as module addresses begin with it; with a port if it has one.

    The default port is left out, as the programs do when they compare hosts.
    """
    parts = urlsplit(public_url)
    port = f":{parts.port}" if parts.port not in {None, DEFAULT_PORT} else ""
    return f"{parts.hostname}{port}"


def why_unusable(public_url: str) -> str:
    """Say why the programs take no modules from an installation, and what to do; else nothing.

    "Remote Service Discovery", "Discovery Process", says https; without a dot in its host, they
    take the address of a module for a folder's.
    """
    parts = urlsplit(public_url)
    if parts.scheme != "https":
        return (
            f"Terraform and OpenTofu load modules over https only, and Stackhook is at "
            f"{public_url}. Ask the operator to serve it over https and to set PUBLIC_URL."
        )
    host = parts.hostname or ""
    if "." not in host:
        return (
            f"Terraform and OpenTofu take a registry's host by its dots, and {host} has none. Ask "
            f"the operator to set PUBLIC_URL to a full host name, like stackhook.example.com."
        )
    return ""


def token_variable(public_url: str) -> str:
    """Return the name of the environment variable with the token for the registry.

    "CLI Configuration File", "Environment Variable Credentials": a dot is an underscore, a hyphen
    two. A port stays as it is: such a name can be given to a program, though no shell takes it.
    """
    return PREFIX + host_of(public_url).replace("-", "__").replace(".", "_")
