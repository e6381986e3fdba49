"""Deployment: what compose.yaml and the Dockerfile say, read without Docker, and what would be wrong with them."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parents[1]

Service = dict[str, Any]

VALUES = {
    "POSTGRES_PASSWORD": "0f1e2d3c",
    "USERMEMORY_APP_PASSWORD": "1f2e3d4c",
    "USERMEMORY_WORKER_PASSWORD": "2f3e4d5c",
    "USERMEMORY_JOB_TOKEN": "3f4e5d6c" * 8,
}
"""What somebody wrote into .env: only what is required."""

_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
_SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|_KEY$")
_WHOLLY_FROM_OUTSIDE = re.compile(r"\$\{\w+:\?[^}]+\}")
_TAGGED = re.compile(r"[a-z0-9][\w./-]*:[\w.-]+")
_CONDITIONS = ("service_healthy", "service_completed_successfully")


def services(text: str) -> dict[str, Service]:
    """Return the services of a compose file; variables stand in them as they are written."""
    found: dict[str, Service] = yaml.safe_load(text)["services"]
    return found


def variables(text: str) -> set[str]:
    """Return the names of the variables that a compose file takes from outside."""
    handed_on = {
        name
        for service in services(text).values()
        for name, value in service.get("environment", {}).items()
        if value is None
    }
    return handed_on | {name for name, _, _ in _VARIABLE.findall(text)}


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return the text with its variables replaced as Compose does. Raises KeyError for one that is required."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if values.get(name):
            return values[name]
        if kind != "-":
            raise KeyError(name)
        return str(rest)

    return _VARIABLE.sub(value, text)


def compose_faults(text: str) -> list[str]:
    """Return what is wrong with a compose file; nothing is looked up anywhere."""
    return [fault for name, each in services(text).items() for fault in _faults(name, each, services(text))]


def _faults(name: str, service: Service, everybody: dict[str, Service]) -> Iterator[str]:
    if "build" not in service and not _TAGGED.fullmatch(service.get("image", "")):
        yield f"{name}: neither built nor an image with a tag"
    if "healthcheck" not in service:
        yield f"{name}: does not say how it is"
    if "restart" not in service:
        yield f"{name}: does not say when it is started again"
    for other, how in service.get("depends_on", {}).items():
        condition = how.get("condition")
        if other not in everybody or condition not in _CONDITIONS:
            yield f"{name}: waits for {other} in no known way"
        elif condition == "service_healthy" and not _is_checked(everybody[other]):
            yield f"{name}: waits for the health of {other}, which is not checked"
        elif condition == "service_completed_successfully" and _starts_for_ever(everybody[other]):
            yield f"{name}: waits for the end of {other}, which is started again"
    for variable, value in service.get("environment", {}).items():
        if value is None:  # handed on as it is
            continue
        if _SECRET.search(variable) and not _WHOLLY_FROM_OUTSIDE.fullmatch(value):
            yield f"{name}: {variable} is written out"
        if (password := _password(value)) and not _WHOLLY_FROM_OUTSIDE.fullmatch(password):
            yield f"{name}: the password in {variable} is written out"
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"{name}: listens beyond this machine"


def _is_checked(service: Service) -> bool:
    return bool(service.get("healthcheck", {}).get("test"))


def _starts_for_ever(service: Service) -> bool:
    return service.get("restart") in ("always", "unless-stopped")


def _password(value: str) -> str | None:
    found = re.match(r"[\w+]+://[^:@/]*:(.*)@", value)
    return found[1] if found else None


class Instruction(NamedTuple):
    """One instruction of a Dockerfile, its lines joined."""

    word: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """Return the instructions of a Dockerfile in order."""
    plain = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    lines = re.sub(r"\\\n\s*", " ", plain).splitlines()
    return [
        Instruction(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]


def dockerfile_faults(text: str) -> list[str]:
    """Return what is wrong with a Dockerfile."""
    return list(_dockerfile_faults(instructions(text)))


def _dockerfile_faults(read: Sequence[Instruction]) -> Iterator[str]:
    starts = [number for number, each in enumerate(read) if each.word == "FROM"]
    for each in (read[number] for number in starts):
        image = each.rest.split()[0]
        if not _TAGGED.fullmatch(image) or image.endswith(":latest"):
            yield f"{image} may be another one tomorrow"
    last = read[starts[-1] :]
    users = [each.rest.partition(":")[0] for each in last if each.word == "USER"]
    if not users or users[-1] in ("0", "root"):
        yield "it runs as root"
    if not any(each.word == "HEALTHCHECK" for each in last):
        yield "it does not say how it is"
    for each in read:
        if each.word == "ADD":
            yield "ADD fetches and unpacks: COPY does neither"
        if each.word in ("ENV", "ARG") and _SECRET.search(each.rest.partition("=")[0]):
            yield f"{each.rest.partition('=')[0]} would stay in the image"


def copied(text: str) -> set[str]:
    """Return what the build takes from the checkout."""
    taken = (each.rest for each in instructions(text) if each.word == "COPY" and "--from" not in each.rest)
    return {source for rest in taken for source in rest.split()[:-1]}


def exec_form(service: Service) -> list[str]:
    """Return the words of a service's command."""
    command = service.get("command", [])
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def moved(url: str, to: str) -> str:
    """Return a database URL with its user and password, for the database and the server of the URL `to`."""
    here, there = sa.make_url(url), sa.make_url(to)
    return there.set(username=here.username, password=here.password).render_as_string(hide_password=False)
