import asyncio

import numpy as np
import pytest

from service.embedding import comparison as comparison_module
from service.embedding.backends.fake import FakeBackend
from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.comparison import compare
from service.errors import DeadlineExceeded
from service.metrics import Metrics
from tests.service.embedding.test_agreement import brute_force, cka, gaussian

FOREVER = float("inf")


def compared(rows, k, deadline=FOREVER):
    async def main():
        batcher = Batcher(FakeBackend(4), BatchLimits(8, 1000, 2), Metrics(), "m")
        try:
            return await compare(batcher, rows, k, deadline)
        finally:
            assert batcher.queued_points == 0
            await batcher.close()

    return asyncio.run(main())


@pytest.mark.parametrize("unit_products", [1, 1000, 2**24])
def test_each_two_models_however_the_work_is_cut(monkeypatch, unit_products):
    monkeypatch.setattr(comparison_module, "UNIT_PRODUCTS", unit_products)
    rows = [gaussian(seed, 25, dim) for seed, dim in ((0, 4), (1, 7), (2, 4))]
    agreements = compared(rows, 3)
    assert [agreement.models for agreement in agreements] == [(0, 1), (0, 2), (1, 2)]
    near = [brute_force(of_model, 3) for of_model in rows]
    for agreement in agreements:
        one, other = agreement.models
        assert agreement.cka == pytest.approx(cka(rows[one], rows[other]), rel=1e-9)
        common = sum(len(a & b) for a, b in zip(near[one], near[other], strict=True))
        assert agreement.neighbours == pytest.approx(common / 75)


def test_a_model_agrees_with_itself_and_with_what_is_itself_turned():
    rows = gaussian(3, 20, 5)
    turned = rows[:, ::-1] * np.float32(2)
    (agreement,) = compared([rows, turned], 5)
    assert agreement.cka == pytest.approx(1)
    assert agreement.neighbours == 1


def test_one_model_has_nobody_to_agree_with():
    assert compared([gaussian(4, 5, 3)], 2) == []


def test_where_a_model_embeds_all_places_alike_there_is_no_cka():
    (agreement,) = compared([np.ones((4, 2), np.float32), gaussian(5, 4, 2)], 2)
    assert agreement.cka is None
    assert 0 <= agreement.neighbours <= 1


def test_a_deadline_that_has_passed_ends_it():
    with pytest.raises(DeadlineExceeded):
        compared([gaussian(6, 30, 4), gaussian(7, 30, 4)], 3, deadline=0)
