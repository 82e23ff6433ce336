import torch

from trainer.seeding import generator
from trainer.training.batches import RowBatches, draw_views


def test_fewer_rows_than_a_batch_are_one_batch():
    assert [batch.tolist() for batch in RowBatches(torch.arange(3), 8)] == [[0, 1, 2]]
    assert [batch.tolist() for batch in RowBatches(torch.arange(7), 3)] == [[0, 1, 2], [3, 4, 5]]


def test_views_are_drawn_alike_and_anew_for_each_step():
    one, same, other = (draw_views(4, 10_000, generator(0, "view", 0, step)) for step in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    shares = torch.bincount(one, minlength=4) / len(one)
    assert shares.sub(0.25).abs().max() < 0.02


def test_one_view_is_always_the_plain_one():
    assert not draw_views(1, 100, generator(0, "view")).any()
