import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.embedding.worth import ENOUGH_ROWS, HORIZON_ROWS, Recent, worth


def lookups(rows, seconds_per_row, hit_rate):
    return Recent(rows, rows * seconds_per_row, rows * hit_rate)


@pytest.mark.parametrize(
    ("hit_rate", "lookup_s", "model_s", "pays"),
    [(0.5, 1e-6, 10e-6, True), (0.05, 1e-6, 10e-6, False), (1.0, 10e-6, 10e-6, False), (0.0, 0.0, 1.0, False)],
)
def test_a_cache_pays_where_its_hits_save_more_than_its_lookups_cost(hit_rate, lookup_s, model_s, pays):
    assert worth(lookups(1000, lookup_s, hit_rate), Recent(10, 10 * model_s)) == {
        "pays": pays,
        "hit_rate": pytest.approx(hit_rate),
        "lookup_seconds_per_row": pytest.approx(lookup_s),
        "model_seconds_per_row": pytest.approx(model_s),
    }


def test_nothing_is_said_of_what_was_not_measured():
    assert worth(Recent(), Recent()) == dict.fromkeys(
        ("pays", "hit_rate", "lookup_seconds_per_row", "model_seconds_per_row")
    )
    assert worth(lookups(1000, 1e-6, 1.0), Recent())["pays"] is None
    assert worth(lookups(ENOUGH_ROWS - 1, 1e-6, 1.0), Recent(1, 1.0))["pays"] is None
    assert worth(lookups(ENOUGH_ROWS, 1e-6, 1.0), Recent(1, 1.0))["pays"] is True


def test_the_old_fades_and_the_recent_counts():
    recent = Recent()
    for _ in range(5):
        recent.add(HORIZON_ROWS, HORIZON_ROWS * 1e-3)
    for _ in range(20):
        recent.add(HORIZON_ROWS, HORIZON_ROWS * 1e-6, HORIZON_ROWS)
    assert recent.seconds_per_row == pytest.approx(1e-6, rel=0.01)
    assert recent.hit_rate == pytest.approx(1, rel=0.01)


@given(st.lists(st.tuples(st.integers(1, 200_000), st.floats(0, 1)), min_size=1))
def test_rates_stay_within_what_was_measured(measured):
    recent = Recent()
    for rows, rate in measured:
        recent.add(rows, rows * rate)
    rates = [rate for _, rate in measured]
    assert min(rates) - 1e-9 <= recent.seconds_per_row <= max(rates) + 1e-9
    assert recent.rows <= HORIZON_ROWS + 200_000
