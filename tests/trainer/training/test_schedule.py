import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import TrainingConfig
from trainer.training.schedule import learning_rate_factor

STEPS = 7


def factors(**training: object) -> list[float]:
    asked = TrainingConfig.model_validate(training)
    return [learning_rate_factor(asked, STEPS, step) for step in range(asked.epochs * STEPS + 1)]


def test_the_papers_rate_is_constant():
    assert set(factors(epochs=10)) == {1.0}


def test_warmup_is_a_line_from_zero_that_loses_no_step():
    found = factors(epochs=10, warmup_epochs=2)
    assert found[: 2 * STEPS] == pytest.approx([(step + 1) / (2 * STEPS) for step in range(2 * STEPS)])
    assert set(found[2 * STEPS :]) == {1.0}


def test_a_cosine_falls_from_one_through_a_half_to_zero():
    found = factors(epochs=10, schedule="cosine")
    assert (found[0], found[-1]) == (1.0, pytest.approx(0, abs=1e-12))
    assert found[5 * STEPS] == pytest.approx(0.5)
    assert found[10 * STEPS // 3] == pytest.approx((1 + math.cos(math.pi * (10 * STEPS // 3) / (10 * STEPS))) / 2)


@given(epochs=st.integers(2, 20), warmup=st.integers(0, 19))
def test_after_the_warmup_a_cosine_only_falls(epochs, warmup):
    warmup = min(warmup, epochs - 1)
    found = factors(epochs=epochs, warmup_epochs=warmup, schedule="cosine")
    assert max(found) <= 1
    assert found[warmup * STEPS :] == sorted(found[warmup * STEPS :], reverse=True)
    assert found[: warmup * STEPS] == sorted(found[: warmup * STEPS])
