from hypothesis import given
from hypothesis import strategies as st

from service.embedding.cache.breaker import Breaker

DELAY_S = 5.0


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def opened():
    clock = Clock()
    breaker = Breaker(DELAY_S, clock)
    for _ in range(breaker.failures):
        assert breaker.allows()
        breaker.failed()
    return breaker, clock


def test_it_opens_after_failures_in_a_row_only():
    breaker = Breaker(DELAY_S, Clock())
    for _ in range(10):
        breaker.failed()
        breaker.failed()
        breaker.succeeded()
    assert breaker.state == "closed"
    assert breaker.allows()


def test_while_open_it_allows_nothing():
    breaker, clock = opened()
    clock.now += DELAY_S - 0.001
    assert breaker.state == "open"
    assert not breaker.allows()


def test_after_the_delay_one_trial_goes_through_and_its_success_closes():
    breaker, clock = opened()
    clock.now += DELAY_S
    assert [breaker.allows() for _ in range(3)] == [True, False, False]
    assert breaker.state == "half-open"
    breaker.succeeded()
    assert breaker.state == "closed"
    assert all(breaker.allows() for _ in range(3))


def test_a_trial_that_fails_opens_it_again_for_the_whole_delay():
    breaker, clock = opened()
    clock.now += DELAY_S
    assert breaker.allows()
    breaker.failed()
    assert breaker.state == "open"
    clock.now += DELAY_S - 0.001
    assert not breaker.allows()
    clock.now += 0.001
    assert breaker.allows()


def test_a_trial_that_is_never_heard_of_is_followed_by_another():
    breaker, clock = opened()
    clock.now += DELAY_S
    assert breaker.allows()
    assert not breaker.allows()
    clock.now += DELAY_S
    assert breaker.allows()


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans())))
def test_however_it_goes_a_working_server_is_used_again_after_one_delay(events):
    clock = Clock()
    breaker = Breaker(DELAY_S, clock)
    for passed, works in events:
        clock.now += passed
        if breaker.allows():
            (breaker.succeeded if works else breaker.failed)()
    clock.now += DELAY_S
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.state == "closed"
