import torch

from trainer.seeding import generator


def draw(*where) -> list[float]:
    return torch.rand(4, generator=generator(*where)).tolist()


def test_the_same_position_draws_the_same():
    assert draw(0, "shuffle", 3, 1) == draw(0, "shuffle", 3, 1)


def test_seed_purpose_and_position_each_matter():
    places = [(0, "shuffle"), (1, "shuffle"), (0, "split"), (0, "shuffle", 0), (0, "shuffle", 1), (0, "shuffle", 0, 0)]
    assert len({tuple(draw(*place)) for place in places}) == len(places)
