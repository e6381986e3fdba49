from types import SimpleNamespace
from typing import Any

import pytest

from memory_tools.context import MemoryContext
from memory_tools.memory import Memory
from memory_tools.run import Run, identify, person
from storage.errors import InvalidIdentity, NoIdentity
from storage.identity import Identity


@pytest.fixture
def memory() -> Any:
    with Memory.open("sqlite://") as opened:
        yield opened


@pytest.mark.parametrize(
    "context",
    [
        MemoryContext(user_id="ada", organization="acme"),
        SimpleNamespace(user_id="ada", organization="acme", other=7),
        {"user_id": "ada", "organization": "acme", "other": 7},
    ],
)
def test_every_shape_of_context_names_the_same_person(memory: Memory, context: object) -> None:
    assert person(memory, context).identity == Identity.of(user="ada", organization="acme")


def test_a_phone_number_is_enough(memory: Memory) -> None:
    context = MemoryContext(phone="+1 202 555 0143")
    assert person(memory, context).identity == Identity.of(phone="+12025550143")


@pytest.mark.parametrize("context", [None, {}, object(), {"user": "ada"}, MemoryContext(), {"phone": "anonymous"}])
def test_whoever_is_not_named_has_no_memory(memory: Memory, context: object) -> None:
    with pytest.raises(NoIdentity):
        person(memory, context)


@pytest.mark.parametrize(
    "context",
    [
        {"user_id": ""},
        {"user_id": 7},
        {"phone": 12025550143},
        {"user_id": "ada", "organization": None},
        {"user_id": "ada", "phone": "+12025550143", "phone_verified": "false"},
    ],
)
def test_a_name_that_is_none_is_refused(memory: Memory, context: object) -> None:
    with pytest.raises(InvalidIdentity):
        person(memory, context)


def test_a_person_of_another_memory_is_refused(memory: Memory) -> None:
    with Memory.open("sqlite://") as other, pytest.raises(NoIdentity):
        person(memory, other.of(user="ada"))
    ada = memory.of(user="ada")
    assert person(memory, ada) is ada


@pytest.mark.parametrize(
    "context",
    [
        {"userId": "ada", "organizationId": "acme"},
        {"user_id": "ada", "organization_id": "acme"},
        SimpleNamespace(user_id="ada", organization_id="acme"),
        {"user_id": "ada", "metadata": {"organizationId": "acme"}},
    ],
)
def test_every_spelling_of_a_tenant_is_the_same_tenant(memory: Memory, context: object) -> None:
    """A name that is overlooked would put the people of all organizations into one."""
    expected = Identity.of(user="ada", organization="acme")
    assert person(memory, context).identity == expected
    assert identify(memory, Run(context)).identity == expected


def test_a_caller_whom_the_context_knows_by_its_metadata_is_known_to_every_door(memory: Memory) -> None:
    context = {"organizationId": "acme", "metadata": {"phoneNumber": "+1234567890"}}
    found = identify(memory, Run(context, configurable={"user_id": "somebody else"}))
    assert found.identity == Identity.of(organization="acme", phone="+1234567890")


def test_a_server_without_authentication_names_nobody(memory: Memory) -> None:
    with pytest.raises(NoIdentity):
        identify(memory, Run(configurable={"langgraph_auth_user_id": "", "user_id": "", "thread_id": "t"}))
