"""Functions: code of whoever runs a command, as its options name it."""

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from storage.errors import InvalidInput


def imported(role: str, name: str) -> Callable[..., object]:
    """Return the function that `module:function` names, also in a module of the current folder.

    `role` is what it is to be, such as `handler`. Raises InvalidInput saying what is missing.
    """
    module, _, function = name.partition(":")
    if not module or not function:
        raise InvalidInput(f"a {role} is given as module:function, and {name!r} is not")
    if str(Path.cwd()) not in sys.path:  # the folder of the console script stands there instead
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for member in function.split("."):
            found = getattr(found, member)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"the {role} {name!r} cannot be imported: {error}") from None
    if not callable(found):
        raise InvalidInput(f"the {role} {name!r} is no function")
    named: Callable[..., object] = found
    return named
