"""A failure is called by its code, by what a provider answered, or by its class, and never by its message."""

from http import HTTPStatus
from typing import Any

import pytest

from graphs.work.failures import code_of
from storage.errors import Erased, UserMemoryError


class APIConnectionError(Exception):
    """As providers name theirs."""


class JSONDecodeError(Exception):
    """As parsers name theirs."""


class OpenAIAPIError(Exception):
    """Nobody knows where a word ends in it."""


class Answered(Exception):
    """An error with what a provider answered."""

    def __init__(self, **members: Any) -> None:
        super().__init__("Ada drinks tea.")
        self.__dict__.update(members)


class Response:
    """An answer over HTTP."""

    def __init__(self, status_code: object) -> None:
        self.status_code = status_code


class Unasked(Exception):
    """An error that does not bear to be asked."""

    @property
    def response(self) -> object:
        raise RuntimeError("Ada drinks tea.")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Erased(), "erased"),
        (UserMemoryError("Ada drinks tea."), "user_memory_error"),
        (ValueError("Ada drinks tea."), "value_error"),
        (APIConnectionError("Ada drinks tea."), "api_connection_error"),
        (JSONDecodeError("Ada drinks tea."), "json_decode_error"),
        (OpenAIAPIError("Ada drinks tea."), "open_aiapi_error"),
        (OSError(), "os_error"),
        (SystemExit(1), "system_exit"),
    ],
)
def test_a_failure_is_called_by_its_code_or_its_class(error: BaseException, code: str) -> None:
    assert code_of(error) == code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Answered(status_code=429), "http_429"),
        (Answered(status_code=HTTPStatus.BAD_GATEWAY), "http_502"),
        (Answered(response=Response(500)), "http_500"),
        (Answered(status_code=None, response=Response(503)), "http_503"),
        (Answered(status_code="Ada drinks tea."), "answered"),
        (Answered(status_code=True), "answered"),
        (Answered(status_code=-5), "answered"),
        (Answered(response={"Error": {"Code": "Throttling"}}), "answered"),
        (Answered(response=Response("429")), "answered"),
        (Unasked(), "unasked"),
    ],
)
def test_what_a_provider_answered_is_called_by_its_status(error: Exception, code: str) -> None:
    assert code_of(error) == code


def test_the_errors_of_a_provider_s_client_are_called_by_their_status() -> None:
    import httpx
    import openai

    asked: Any = httpx.Request("POST", "http://127.0.0.1/v1")
    answer: Any = httpx.Response(429, request=asked)
    assert code_of(openai.RateLimitError("Ada drinks tea.", response=answer, body=None)) == "http_429"
    assert code_of(httpx.HTTPStatusError("Ada drinks tea.", request=asked, response=answer)) == "http_429"
    assert code_of(openai.APIConnectionError(request=asked)) == "api_connection_error"
