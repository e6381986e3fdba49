"""Prices are per million tokens, costs in millionths."""

import pytest

from graphs.work.prices import FREE, Prices
from storage.provenance import TokenUsage


@pytest.mark.parametrize(
    ("prices", "tokens", "micros"),
    [
        (Prices(2.5, 10), TokenUsage(1_000_000, 0), 2_500_000),
        (Prices(2.5, 10), TokenUsage(10, 5), 75),
        (Prices(0.15, 0.6), TokenUsage(3, 1), 1),
        (FREE, TokenUsage(1_000_000, 1_000_000), 0),
        (Prices(2.5, 10), None, 0),
    ],
)
def test_what_tokens_cost(prices: Prices, tokens: TokenUsage | None, micros: int) -> None:
    assert prices.micros(tokens) == micros
