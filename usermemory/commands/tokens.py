"""Token options: who may ask a server over HTTP, and by which names and addresses it is reached."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

TOKENS = ("issuer", "jwks_url", "key_file", "organization_claim", "api_keys")
"""The options that say whose tokens are valid."""

REACHED = ("url", "allow_host", "allow_origin")
"""Those that say how the server is reached."""

SESSION_SECRET = "USERMEMORY_SESSION_SECRET"
"""The variable with the secret of signed cookies."""

JOB_TOKEN = "USERMEMORY_JOB_TOKEN"
"""The variable with the token of those who set work off."""

_OPTIONS = (
    click.option(
        "--url", metavar="URL", help="The address at which clients know the server; tokens have to be for it."
    ),
    click.option("--issuer", metavar="URL", help="Take JWTs of this issuer; people are known by their `sub`."),
    click.option("--jwks-url", metavar="URL", help="Where the issuer publishes its keys."),
    click.option(
        "--key-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The key that is shared with the issuer: the bytes of a file, but for a line end.",
    ),
    click.option("--organization-claim", metavar="NAME", help="The claim of a token that names the organization."),
    click.option("--api-keys", is_flag=True, help="Take the keys that `usermemory keys` made."),
    click.option("--allow-host", metavar="NAME", multiple=True, help="A further name of the server. May be repeated."),
    click.option("--allow-origin", metavar="URL", multiple=True, help="Whose web pages may ask. May be repeated."),
)


def token_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of TOKENS and REACHED."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def verifiers_of(memory: Any, organization: str, audience: Iterable[str], **tokens: Any) -> Iterator[Any]:
    """Yield what knows the tokens that the options allow. Raises InvalidInput and UnsafeRole where none could be known.

    `audience` are the addresses that tokens of an issuer may be for.
    """
    from memory_tools.keys import ApiKeys  # noqa: PLC0415 - the help needs neither database nor cryptography
    from memory_tools.tokens import JwtVerifier  # noqa: PLC0415
    from storage.errors import InvalidInput  # noqa: PLC0415

    if tokens["api_keys"]:
        yield _usable(ApiKeys(memory))
    if tokens["issuer"] is None:
        if tokens["jwks_url"] or tokens["key_file"] or tokens["organization_claim"]:
            raise InvalidInput("say whose tokens are verified that way: add --issuer URL")
        return
    addresses = list(audience)
    if not addresses:
        raise InvalidInput("tokens have to be for this server: add --url, the address at which clients know it")
    key_file: Path | None = tokens["key_file"]
    yield JwtVerifier(
        issuer=tokens["issuer"],
        audience=addresses,
        jwks_url=tokens["jwks_url"],
        key=key_file.read_bytes().rstrip(b"\r\n") if key_file else None,
        organization=organization,
        organization_claim=tokens["organization_claim"],
    )


def _usable(keys: Any) -> Any:
    """Return the keys if this database role may look for one. Else every key would be refused, one by one."""
    from storage.errors import UnsafeRole  # noqa: PLC0415

    try:
        keys.verify(f"um_{'0' * 12}_{'0' * 43}")
    except UnsafeRole:
        raise UnsafeRole("keys are looked up with the application's URL: this one is the worker's") from None
    return keys


def refuse(names: Iterable[str], because: str) -> None:
    """Refuse what was written and would have no effect."""
    context = click.get_current_context()
    said = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if said:
        raise click.UsageError(f"--{said[0].replace('_', '-')} {because}.")
