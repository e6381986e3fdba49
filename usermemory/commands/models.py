"""Models: the chat model that `--model` names, and what it costs."""

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import Any

import click

from graphs.work.prices import Prices
from storage.errors import InvalidInput


def model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--model`, `--price-in` and `--price-out`; the command is called with a model, or None, and Prices."""

    @click.option(
        "--model",
        metavar="PROVIDER:NAME",
        envvar="USERMEMORY_MODEL",
        show_envvar=True,
        help="The chat model that summarizes.  [default: none, by extraction]",
    )
    @click.option(
        "--price-in",
        type=click.FloatRange(min=0),
        metavar="N",
        envvar="USERMEMORY_PRICE_IN",
        show_envvar=True,
        default=0.0,
        help="What a million tokens in cost.",
    )
    @click.option(
        "--price-out",
        type=click.FloatRange(min=0),
        metavar="N",
        envvar="USERMEMORY_PRICE_OUT",
        show_envvar=True,
        default=0.0,
        help="What a million tokens out cost.",
    )
    @wraps(command)
    def run(model: str | None, price_in: float, price_out: float, **rest: Any) -> None:
        asked = None if model is None else chat_model(model)
        command(model=asked, prices=Prices(price_in, price_out), **rest)

    return run


def chat_model(name: str) -> Any:
    """Return the chat model that `name` stands for. Raises InvalidInput saying what is missing."""
    if find_spec("langchain") is None:
        raise InvalidInput("--model needs LangChain: pip install 'usermemory[agents]' and the provider's package")
    from langchain.chat_models import init_chat_model  # noqa: PLC0415 - an extra

    try:
        return init_chat_model(name)
    except Exception as error:  # each provider's package raises what it likes
        raise InvalidInput(f"the model {name!r} cannot be used: {error}") from error
