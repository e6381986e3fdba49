"""Security."""

import sqlalchemy as sa


def require_safe(connection: sa.Connection) -> None:
    """Raise UnsafeRole unless safe."""
