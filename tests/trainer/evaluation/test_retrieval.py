import torch

from trainer.evaluation import retrieval
from trainer.evaluation.retrieval import retrieval_ranks


def test_matched_embeddings_rank_first():
    assert retrieval_ranks(torch.eye(7), torch.eye(7) * 3).tolist() == [1] * 7


def test_ranks_by_hand():
    """Place 0 is nearer to tiles 1 and 2 than to its own; place 2 is nearest to its own."""
    location = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.2]])
    image = torch.tensor([[0.0, 1.0], [1.0, 0.1], [1.0, 0.3]])
    assert retrieval_ranks(location, image).tolist() == [3, 3, 1]


def test_a_constant_embedding_ranks_last():
    assert retrieval_ranks(torch.ones(5, 2), torch.ones(5, 2)).tolist() == [5] * 5


def test_chunks_change_nothing(monkeypatch):
    a, b = torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(0))
    whole = retrieval_ranks(a, b)
    monkeypatch.setattr(retrieval, "CHUNK", 7)
    assert torch.equal(retrieval_ranks(a, b), whole)
