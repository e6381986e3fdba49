"""What the acceptance tests of the seeds share: the service as a host runs it, and the memory of who does its work."""

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest
from fastapi import FastAPI

from memory_tools.memory import Memory
from storage.database import Database
from tests.http_api.calling import TOKENS
from tests.mcp_server.serving import Held
from usermemory.serve import create_service

JOB_TOKEN = "a-token-of-the-jobs-that-is-long-enough"

JOBS = {"Authorization": f"Bearer {JOB_TOKEN}"}
"""The headers of whoever sets work off."""

Serve: TypeAlias = Callable[..., FastAPI]


@pytest.fixture
def app(database: Database) -> Memory:
    """The memory of the application."""
    return Memory(database, through="http")


@pytest.fixture
def memory(operators_database: Database) -> Memory:
    """The memory of whoever does the work: the worker's URL."""
    return Memory(operators_database)


@pytest.fixture
def serve(app: Memory, memory: Memory) -> Serve:
    """Return the service, with further options."""

    def make(**options: Any) -> FastAPI:
        return create_service(
            app,
            operator_memory=memory,
            verifiers=[Held(TOKENS)],
            job_token=JOB_TOKEN,
            url="http://127.0.0.1",
            authorization_servers=["https://issuer.example.com"],
            **options,
        )

    return make
