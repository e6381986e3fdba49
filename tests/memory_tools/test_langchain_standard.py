"""LangChain's own suites for tools, unit and integration, for every tool."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import ToolsIntegrationTests
from langchain_tests.unit_tests import ToolsUnitTests

from memory_tools.langchain import get_user_memory_tools
from memory_tools.memory import Memory
from memory_tools.operation import Audience
from memory_tools.operations import CATALOG
from storage.canonical import canonical

AGENTS = [name for name, each in CATALOG.items() if each.audience is Audience.AGENT]


class OfEveryOperation:
    """What both suites need: the tool of one operation, bound to a person, and the operation's own example."""

    @pytest.fixture(autouse=True, params=AGENTS)
    def offered(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[None]:
        self.name: str = request.param
        with Memory.open(f"sqlite:///{tmp_path / 'memory.db'}") as memory:
            ada = memory.of(user="ada")
            example = dict(CATALOG[self.name].example)
            if {"namespace", "key"} <= example.keys():
                ada.items.set(example["namespace"], example["key"], "warm")
            for number in range(3):  # examples name a version
                ada.document.append({"summary": "Ada likes jazz.", "parts": {"critic": {"name": f"critic {number}"}}})
            [self.made] = get_user_memory_tools(ada, operations=[self.name])
            yield

    @property
    def tool_constructor(self) -> BaseTool:
        return self.made

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        example = dict(CATALOG[self.name].example)
        assert canonical(example)
        return example


class TestUnit(OfEveryOperation, ToolsUnitTests):
    """The unit suite."""


class TestIntegration(OfEveryOperation, ToolsIntegrationTests):
    """The integration suite."""
