import pytest

from memory_tools.memory import Memory
from storage.database import Database
from tests.memory_tools.tools import VICTIM


@pytest.fixture
def memory(database: Database) -> Memory:
    """Several people, each with an item that says whose it is."""
    opened = Memory(database)
    for user in ("ada", VICTIM):
        opened.of(user=user).items.set("prefs", "whose", user)
    opened.of(user=VICTIM, organization="acme").items.set("prefs", "whose", "victim of acme")
    opened.of(phone="+12025550143").items.set("prefs", "whose", "phone")
    return opened
