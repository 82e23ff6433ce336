import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.processes import ALONE, Processes, Share


@given(rows=st.integers(0, 500), count=st.integers(1, 9))
def test_shares_are_the_batch_in_order_and_differ_by_one_row_at_most(rows, count):
    batch = list(range(rows))
    parts = [batch[Processes(rank, count).share(rows).own] for rank in range(count)]
    assert [row for part in parts for row in part] == batch
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_alone_everything_is_its_own():
    value = torch.arange(4.0)
    share = ALONE.share(4)
    assert share == Share(4)
    assert all(found is value for found in (share.whole(value), share.total(value), share.logsumexp(value)))
    ALONE.meet("cpu")
    ALONE.wait()


def test_torchrun_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch):
    told = {"TORCHELASTIC_RUN_ID": "none", "RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert Processes.of_environment() == Processes(rank=5, count=8, local_rank=1, local_count=4)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert Processes.of_environment() == ALONE
