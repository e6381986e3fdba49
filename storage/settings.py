"""Settings: what a database connection needs to start. What an organization allows is data, not settings."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings:
    """How to connect."""

    pool_size: int = 10
    """Connections for transactions, and as many again for what is done in one statement."""

    pool_timeout: float = 30.0
    """Seconds to wait for a free connection before DatabaseUnavailable."""

    busy_timeout: float = 60.0
    """Seconds that a SQLite writer waits for the writer before it."""

    synchronous: Literal["FULL", "NORMAL", "OFF"] = "FULL"
    """SQLite's durability. NORMAL loses acknowledged writes at power loss, OFF also at a crash of the system."""

    role_prefix: str = "usermemory"
    """PostgreSQL: what the names of the five roles begin with. Roles belong to the cluster, not to the database."""
