"""The files of the deployment, as Docker would read them, and what docs/deploy.md says of them."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator

import click
import pytest

from tests.deployment import (
    ROOT,
    VALUES,
    compose_faults,
    copied,
    dockerfile_faults,
    exec_form,
    filled,
    instructions,
    services,
    variables,
)
from usermemory.commands import main

COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")

SERVICES = services(filled(COMPOSE, VALUES))
OURS = [name for name, service in SERVICES.items() if "build" in service]


class TestFiles:
    def test_nothing_is_wrong_with_the_compose_file(self) -> None:
        assert compose_faults(COMPOSE) == []

    @pytest.mark.parametrize(
        ("right", "wrong", "fault"),
        [
            ("image: postgres:18", "image: postgres", "db: neither built nor an image with a tag"),
            ("    healthcheck: {disable: true} # it serves", "    # it serves", "migrate: does not say how it is"),
            (
                "restart: on-failure:5",
                "restart: always",
                "worker: waits for the end of migrate, which is started again",
            ),
            ("test: [CMD-SHELL", "tests: [CMD-SHELL", "api: waits for the health of redis, which is not checked"),
            ("db: {condition: service_healthy}", "db: {}", "migrate: waits for db in no known way"),
            ("${POSTGRES_PASSWORD:?set it in .env}", "hunter2", "db: POSTGRES_PASSWORD is written out"),
            ("${USERMEMORY_JOB_TOKEN:?set it in .env}", "t0ken", "api: USERMEMORY_JOB_TOKEN is written out"),
            (
                "${USERMEMORY_APP_PASSWORD:?set it in .env}@",
                "x@",
                "api: the password in USERMEMORY_DATABASE is written out",
            ),
            ("127.0.0.1:${USERMEMORY_PORT:-8000}:8000", "8000:8000", "api: listens beyond this machine"),
        ],
    )
    def test_what_would_be_wrong_is_found(self, right: str, wrong: str, fault: str) -> None:
        assert right in COMPOSE
        assert fault in compose_faults(COMPOSE.replace(right, wrong))

    def test_the_database_and_redis_are_published_nowhere(self) -> None:
        assert [name for name, service in SERVICES.items() if "ports" in service] == ["api"]

    def test_what_is_required_stands_in_the_example_without_a_value(self) -> None:
        lines = [line for line in EXAMPLE.splitlines() if line and not line.startswith("#")]
        assert {line.partition("=")[0] for line in lines} == VALUES.keys()
        assert all(line.endswith("=") for line in lines)
        for name in VALUES:
            with pytest.raises(KeyError, match=name):
                filled(COMPOSE, VALUES | {name: ""})

    def test_what_the_example_offers_is_what_compose_reads(self) -> None:
        assert set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE)) == variables(COMPOSE)

    def test_a_filled_in_example_is_not_committed(self) -> None:
        ignored = subprocess.run(
            ["git", "check-ignore", ".env", ".env.worker", ".env.example"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ignored.stdout.split() == [".env", ".env.worker"]

    def test_nothing_is_wrong_with_the_dockerfile(self) -> None:
        assert dockerfile_faults(DOCKERFILE) == []

    @pytest.mark.parametrize(
        ("right", "wrong", "fault"),
        [
            ("python:3.13-slim AS", "python AS", "python may be another one tomorrow"),
            ("USER 10001", "USER root", "it runs as root"),
            ("USER 10001", "", "it runs as root"),
            ("COPY storage ", "ADD https://example.com/storage ", "ADD fetches and unpacks: COPY does neither"),
            ("HEALTHCHECK", "LABEL", "it does not say how it is"),
            ("EXPOSE 8000", "ENV API_TOKEN=t0ken", "API_TOKEN would stay in the image"),
        ],
    )
    def test_what_would_be_wrong_with_an_image_is_found(self, right: str, wrong: str, fault: str) -> None:
        assert right in DOCKERFILE
        assert fault in dockerfile_faults(DOCKERFILE.replace(right, wrong))

    def test_the_build_takes_what_the_wheel_is_made_of_and_nothing_else(self) -> None:
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        packages = re.search(r"^packages = \[(.*)\]$", project, re.MULTILINE)
        assert packages is not None
        wanted = {*re.findall(r'"(\w+)"', packages[1]), "pyproject.toml", "README.md", "LICENSE"}
        allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
        assert copied(DOCKERFILE) == wanted == set(allowed)

    def test_the_image_has_the_extras_that_a_deployment_needs(self) -> None:
        default = next(each.rest for each in instructions(DOCKERFILE) if each.rest.startswith("EXTRAS="))
        assert default == "EXTRAS=postgres,redis,sqs"
        assert f"${{USERMEMORY_EXTRAS:-{default.partition('=')[2]}}}" in COMPOSE


def command_lines() -> Iterator[str]:
    """Yield every command line of ours that a service, the image or the page begins."""
    for name in OURS:
        yield shlex.join(["usermemory", *exec_form(SERVICES[name])])
    default = next(each.rest for each in instructions(DOCKERFILE)[::-1] if each.word == "CMD")
    yield shlex.join(["usermemory", *re.findall(r'"([^"]*)"', default)])
    for block in re.findall(r"^```\w*\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE):
        for line in block.splitlines():
            if found := re.search(r"(?:^|bin/)(usermemory [a-z].*)", line):
                yield found[1]
            if found := re.match(r"docker compose run .*? worker (.*)", line):
                yield f"usermemory {found[1]}"


@pytest.mark.parametrize("line", dict.fromkeys(command_lines()))
def test_the_command_line_knows_what_is_written(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("USERMEMORY_")]:
        monkeypatch.delenv(name)
    _, *arguments = shlex.split(line, comments=True)
    command: click.Command = main
    context = main.make_context("usermemory", arguments)
    while isinstance(command, click.Group) and (rest := [*context._protected_args, *context.args]):
        known, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = command.make_context(known, rest, parent=context)
    assert not isinstance(command, click.Group) or command.invoke_without_command


def test_the_worker_is_given_every_variable_that_it_reads() -> None:
    worker = main.get_command(click.Context(main), "worker")
    assert worker is not None
    read = {name for option in worker.params for name in names_of(option)}
    elsewhere = {
        "USERMEMORY_WORKER_DATABASE",  # in USERMEMORY_DATABASE, where other commands find it, too
        "USERMEMORY_QUEUE",  # the queue is in the database
        "USERMEMORY_DEAD_LETTERS",
        "USERMEMORY_HOSTS",  # the image has no code of a host
    }
    assert read - elsewhere <= SERVICES["worker"]["environment"].keys()


def names_of(option: click.Parameter) -> Iterator[str]:
    """Yield the variables that an option may be given by."""
    given = option.envvar or ()
    yield from [given] if isinstance(given, str) else given


class TestPage:
    def documented(self) -> set[str]:
        """Every name in the first column of the table of the environment."""
        rows = [row for row in PAGE.partition("\n## Environment\n")[2].splitlines() if row.startswith("| `")]
        return {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}

    def test_it_explains_every_variable_of_the_deployment(self) -> None:
        used = variables(COMPOSE) | {name for each in SERVICES.values() for name in each.get("environment", {})}
        assert used - self.documented() == {"POSTGRES_DB"}  # of the image of PostgreSQL, and said right there

    def test_it_explains_every_variable_that_the_program_reads(self) -> None:
        packages = [ROOT / name for name in copied(DOCKERFILE) if (ROOT / name).is_dir()]
        texts = [path.read_text(encoding="utf-8") for package in packages for path in package.rglob("*.py")]
        read = {name for text in texts for name in re.findall(r"\bUSERMEMORY_[A-Z]+(?:_[A-Z]+)*\b", text)}
        assert "USERMEMORY_DATABASE" in read
        assert read - self.documented() == set()
