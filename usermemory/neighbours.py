"""Neighbours: the packages of this distribution have plain names, so each makes sure that it got the one beside it."""

import sys
from importlib.util import find_spec
from pathlib import Path


def require_neighbour(name: str, beside: str) -> None:
    """Raise ImportError when `import name` would find another package than the one in the folder of `beside`.

    `beside` is the `__file__` of the package that is about to import it. The cure is in the message: a project of
    the caller's own, or another distribution, has a folder of the same name that comes first on `sys.path`.
    """
    wanted = Path(beside).resolve().parents[1] / name
    loaded = sys.modules.get(name)
    spec = getattr(loaded, "__spec__", None) or find_spec(name)
    found = None if spec is None or spec.origin is None else Path(spec.origin).resolve().parent
    if spec is not None and found is None:  # a folder without __init__.py
        found = Path(next(iter(spec.submodule_search_locations or ["?"])))
    if found != wanted:
        raise ImportError(
            f"usermemory needs its own package `{name}` in {wanted}, but `import {name}` finds {found}. "
            f"Rename that folder, or start Python elsewhere, or uninstall the distribution it came from.",
            name=name,
            path=str(found),
        )
