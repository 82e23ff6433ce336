import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import VisionConfig
from trainer.config.vision import Crops
from trainer.refinement.dino import Distillation, Schedule, decay_groups, spread, untrained
from trainer.refinement.multi_crop import multi_crop
from trainer.seeding import generator

TINY = VisionConfig(
    **{"patch": 4, "dim": 24, "depth": 2, "heads": 3, "head_dim": 32, "bottleneck_dim": 16, "output_dim": 48},
    crops=Crops(local_crops=2),
    batch_size=16,
)
SIZES = (16, 8)


def tiles(n: int = 16, seed: int = 0) -> torch.Tensor:
    """Each tile is a level, a gradient and a little noise, so that its views have something in common."""
    rng = torch.Generator().manual_seed(seed)
    level, slope = torch.randn(2, n, 3, 1, 1, generator=rng)
    ramp = torch.linspace(-1, 1, 16).view(1, 1, 1, 16)
    return level + slope * ramp + 0.1 * torch.randn(n, 3, 16, 16, generator=rng)


def views(step: int = 0, n: int = 16) -> list[torch.Tensor]:
    return multi_crop(tiles(n), TINY.crops, SIZES, generator(0, "test views", step))


def model(vision: VisionConfig = TINY) -> Distillation:
    return untrained(vision, bands=3, image_size=16)


def test_the_loss_is_the_cross_entropy_over_all_pairs_of_different_views():
    """DINO, Eq. 3: of softmax((t - c) / τt) and softmax(s / τs), the mean over pairs and the batch."""
    distillation, given_views, temperature = model().eval(), views(), 0.05
    centre = torch.randn(1, 1, 48, generator=torch.Generator().manual_seed(1)) / 10
    distillation.loss.center.copy_(centre)
    with torch.no_grad():
        outcome = distillation(given_views, temperature)
        targets, _ = distillation.teacher(given_views[:2])
        said, _ = distillation.student(given_views)
    terms = []
    for i, target in enumerate(targets):
        for j, answer in enumerate(said):
            if i != j:
                p = ((target - centre[0]) / temperature).softmax(dim=1)
                terms.append(-(p * (answer / 0.1).log_softmax(dim=1)).sum(dim=1).mean())
    assert len(terms) == 2 * 4 - 2
    assert float(outcome.loss) == pytest.approx(float(torch.stack(terms).mean()), rel=1e-5)
    p = torch.cat([((target - centre[0]) / temperature).softmax(dim=1) for target in targets])
    assert float(outcome.entropy) == pytest.approx(float(-(p * p.log()).sum(dim=1).mean()), rel=1e-5)


def test_the_centre_is_a_moving_average_of_what_the_teacher_says():
    """DINO, Eq. 4: c ← m c + (1 - m) mean over the batch and the global views."""
    distillation, given_views = model(), views()
    expected = torch.zeros(48)
    for _ in range(3):
        with torch.no_grad():
            said, _ = distillation.teacher(given_views[:2])
        expected = 0.9 * expected + 0.1 * torch.cat(said).mean(dim=0)
        distillation(given_views, 0.04)
    torch.testing.assert_close(distillation.loss.center.flatten(), expected)


def test_the_teacher_is_a_moving_average_of_the_student():
    distillation = model()
    with torch.no_grad():
        for parameter in distillation.student.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    student = {name: p.clone() for name, p in distillation.student.named_parameters()}
    before = {name: p.clone() for name, p in distillation.teacher.named_parameters()}
    distillation.follow(0.9)
    for name, parameter in distillation.teacher.named_parameters():
        torch.testing.assert_close(parameter.data, 0.9 * before[name] + 0.1 * student[name])
    assert all(torch.equal(p, student[name]) for name, p in distillation.student.named_parameters())


def test_student_and_teacher_start_alike_and_only_the_student_learns():
    distillation = model()
    student, teacher = distillation.student.state_dict(), distillation.teacher.state_dict()
    assert student.keys() == teacher.keys()
    assert all(torch.equal(student[name], teacher[name]) for name in student)
    distillation(views(), 0.04).loss.backward()
    assert all(parameter.grad is None for parameter in distillation.teacher.parameters())
    learning = [p for p in distillation.student.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in learning)
    assert any(float(p.grad.abs().max()) > 0 for p in learning)


def test_views_of_one_side_go_through_together_and_come_apart_in_order():
    encoder, given_views = model().eval().student, views()
    with torch.no_grad():
        said, embeddings = encoder(given_views)
        for number, view in enumerate(given_views):
            alone, embedding = encoder([view])
            torch.testing.assert_close(said[number], alone[0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(embeddings[16 * number : 16 * (number + 1)], embedding, atol=1e-5, rtol=1e-5)


def test_the_last_layer_s_weights_have_unit_norm():
    layer = model().student.head.last_layer
    with torch.no_grad():
        columns = layer(torch.eye(16))
    torch.testing.assert_close(columns.norm(dim=0), torch.ones(48))
    assert not layer.weight_g.requires_grad


def test_decay_is_on_matrices_alone():
    student = model().student
    decayed, free = decay_groups(student)
    assert (decayed["decays"], free["decays"]) == (True, False)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in free["params"])
    learning = {id(p) for p in student.parameters() if p.requires_grad}
    assert {id(p) for p in decayed["params"] + free["params"]} == learning


def test_schedules_are_dino_s():
    schedule = Schedule(VisionConfig(batch_size=512), 1000)
    rates = [schedule.learning_rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-3 / 100)
    assert rates[99] == rates[100] == pytest.approx(1e-3)  # 5e-4 · 512 / 256, after a tenth of the steps
    assert rates[-1] == pytest.approx(1e-6)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    middle = 100 + 899 / 2
    expected = 1e-6 + (1e-3 - 1e-6) * (1 + math.cos(math.pi * (549 - 100) / 899)) / 2
    assert rates[int(middle)] == pytest.approx(expected)
    assert (schedule.weight_decay(0), schedule.weight_decay(999)) == pytest.approx((0.04, 0.4))
    assert (schedule.teacher_momentum(0), schedule.teacher_momentum(999)) == pytest.approx((0.996, 1.0))
    assert [schedule.teacher_temperature(step) for step in (0, 150, 300, 999)] == pytest.approx(
        [0.04, 0.055, 0.07, 0.07]
    )
    assert [schedule.last_layer_is_frozen(step) for step in (0, 9, 10, 999)] == [True, True, False, False]


@given(st.integers(1, 50), st.floats(0, 1), st.floats(0, 1))
def test_schedules_hold_for_any_number_of_steps(steps, warmup, temperature_warmup):
    vision = VisionConfig(warmup_share=warmup, temperature_warmup_share=temperature_warmup)
    schedule = Schedule(vision, steps)
    for step in range(steps):
        assert 0 < schedule.learning_rate(step) <= 5e-4 / 4 * (1 + 1e-9)
        assert 0.04 <= schedule.teacher_temperature(step) <= 0.07 + 1e-9
        assert 0.996 <= schedule.teacher_momentum(step) <= 1


def test_spread_tells_collapse():
    rng = torch.Generator().manual_seed(0)
    assert float(spread(torch.randn(4000, 64, generator=rng))) == pytest.approx(1, abs=0.02)
    assert float(spread(torch.ones(50, 64))) == pytest.approx(0, abs=1e-4)
    assert float(spread(torch.arange(1.0, 9)[:, None] * torch.ones(8, 64))) == pytest.approx(0, abs=1e-3)


def test_the_loss_falls_and_nothing_collapses():
    """Once centring has spread what the teacher says, the student comes to say the same, tile by tile."""
    distillation = model()
    optimizer = torch.optim.AdamW(distillation.student.parameters(), lr=1e-3)
    losses, spreads, entropies = torch.zeros(3, 150)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for step in range(150):
            outcome = distillation(views(step), 0.04)
            optimizer.zero_grad()
            outcome.loss.backward()
            optimizer.step()
            distillation.follow(0.98)
            losses[step], entropies[step], spreads[step] = outcome.loss.detach(), outcome.entropy, outcome.spread
    assert float(losses[-20:].mean()) < 0.6 * float(losses[20:40].mean())
    assert float(spreads[-20:].min()) > 0.3
    assert float(entropies[-20:].mean()) < 0.5 * math.log(48)
