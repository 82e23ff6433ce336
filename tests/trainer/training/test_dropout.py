import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from trainer.processes import Share
from trainer.training.dropout import WholeBatchDropout


def dropped(given: Tensor, share: Share, *, p: float = 0.5, passes: int = 1, training: bool = True) -> list[Tensor]:
    with WholeBatchDropout(share, torch.Generator().manual_seed(0)):
        return [functional.dropout(given, p, training) for _ in range(passes)]


@given(rows=st.integers(1, 20), processes=st.integers(1, 5), each=st.integers(1, 3))
def test_processes_drop_what_one_alone_would(rows, processes, each):
    """In a second pass too, and with several network rows for each of the batch."""
    batch = torch.ones(rows, each, 4)
    whole = dropped(batch.flatten(0, 1), Share(rows), passes=2)
    shares = [Share(rows, rank, processes) for rank in range(processes)]
    parts = [dropped(batch[share.own].flatten(0, 1), share, passes=2) for share in shares]
    assert all(map(torch.equal, whole, (torch.cat(each_pass) for each_pass in zip(*parts, strict=True))))


def test_a_share_is_dropped_and_the_rest_makes_up_for_it():
    first, second = dropped(torch.ones(1000, 50), Share(1000), p=0.2, passes=2)
    assert set(first.unique().tolist()) == {0.0, 1.25}
    assert first.mean().item() == pytest.approx(1, abs=0.01)
    assert not torch.equal(first, second)


def test_nothing_is_dropped_but_in_training():
    batch = torch.ones(5, 4)
    assert dropped(batch, Share(5), training=False)[0] is batch


def test_what_was_drawn_elsewhere_makes_no_difference():
    batch = torch.ones(30, 4)
    before = dropped(batch, Share(30))[0]
    torch.rand(7)
    assert torch.equal(before, dropped(batch, Share(30))[0])
