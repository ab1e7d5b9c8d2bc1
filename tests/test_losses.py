"""Loss terms, compositing and MADGRAD: the authors' arrays, and answers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from tests.conftest import Arrays
from text2live_cli.config import Schedule
from text2live_cli.engine import losses
from text2live_cli.engine.edit_layer import EditLayer
from text2live_cli.engine.optimizer import FlatMadgrad

TOLERANCE = 1e-5


def close(ours: torch.Tensor, theirs: torch.Tensor, atol: float = TOLERANCE) -> None:
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def test_spherical_distance_and_its_gradient(loss_arrays: Arrays) -> None:
    x = loss_arrays["losses/x"].requires_grad_()
    distance = losses.spherical_distance(x, loss_arrays["losses/y"]).mean()
    distance.backward()
    close(distance.detach(), loss_arrays["losses/spherical"])
    assert x.grad is not None
    close(x.grad, loss_arrays["losses/spherical_grad_x"])


def test_cosine_distance(loss_arrays: Arrays) -> None:
    distance = losses.cosine_distance(loss_arrays["losses/x"], loss_arrays["losses/y"]).mean()
    close(1.2 * distance, loss_arrays["losses/cosine_x1p2"])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_text_and_directional_loss_with_the_authors_draws(loss_arrays: Arrays, seed: int) -> None:
    drawn = loss_arrays[f"losses/seed{seed}/idx"]
    shares = torch.bincount(drawn, minlength=14) / len(drawn)
    composite = loss_arrays["losses/out_embeddings"].reshape(-1, 32)
    source = loss_arrays["losses/in_embeddings"].reshape(-1, 32)
    target = loss_arrays["losses/target_embeddings"]
    roi = loss_arrays["losses/source_embeddings"]
    text = losses.text_loss(composite, target, shares, "spherical")
    close(text, loss_arrays[f"losses/seed{seed}/clip_loss"])
    direction = losses.directional_loss(composite, source, target, roi, shares)
    close(direction, loss_arrays[f"losses/seed{seed}/dir_loss"])


def test_sparsity_terms(loss_arrays: Arrays) -> None:
    alphas = [loss_arrays["losses/alpha_0"], loss_arrays["losses/alpha_1"]]
    l1 = torch.stack([losses.alpha_l1(alpha) for alpha in alphas]).mean()
    l0 = torch.stack([losses.alpha_l0(alpha) for alpha in alphas]).mean()
    close(l1, loss_arrays["losses/alpha_image_l1"])
    close(l0, loss_arrays["losses/alpha_image_l0"])


def test_sparsity_of_nothing_and_of_everything() -> None:
    nothing, everything = torch.zeros(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert losses.alpha_l1(nothing) == 0
    assert losses.alpha_l0(nothing) == 0
    assert losses.alpha_l1(everything) == 1
    assert float(losses.alpha_l0(everything)) == pytest.approx(2 / (1 + math.exp(-5)) - 1)


def test_distances_of_equal_opposite_and_right_angled() -> None:
    x = torch.tensor([[2.0, 0.0]])
    y = torch.tensor([[1.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])
    close(losses.cosine_distance(x, y), torch.tensor([[0.0, 1.0, 2.0]]))
    quarter = 2 * (math.pi / 4) ** 2
    expected = torch.tensor([[0.0, quarter, math.pi**2 / 2]])
    close(losses.spherical_distance(x, y), expected, 1e-2)


def test_keep_loss_counts_only_what_is_relevant() -> None:
    relevancy = torch.tensor([[[[1.0, 0.7], [0.6, 0.0]]]])
    alpha = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])
    assert float(losses.keep_loss(alpha, relevancy)) == pytest.approx(0.7**2 / 4)


def test_bootstrap_loss_by_hand_at_the_size_of_the_relevancy() -> None:
    alpha = torch.tensor([0.0, 1.0]).expand(1, 1, 2, 2)  # at four columns 0, ¼, ¾, 1
    relevancy = torch.tensor([0.0, 0.25, 0.25, 0.0]).expand(1, 1, 4, 4)
    assert float(losses.bootstrap_loss(alpha, relevancy)) == pytest.approx((0.25 + 1) / 4)


def test_gradients_of_the_hand_written_losses() -> None:
    shares = torch.tensor([0.25, 0.75], dtype=torch.float64)
    x, s, t, r = (torch.randn(n, 5, dtype=torch.float64) for n in (3, 3, 2, 2))
    x.requires_grad_()
    for distance in ("spherical", "cosine"):
        assert torch.autograd.gradcheck(lambda x: losses.text_loss(x, t, shares, distance), x)  # noqa: B023
    assert torch.autograd.gradcheck(lambda x: losses.directional_loss(x, s, t, r, shares), x)


def test_composite_and_screen_are_the_authors(loss_arrays: Arrays) -> None:
    layer = EditLayer.from_rgba(loss_arrays["render/net_output"])
    close(layer.over(loss_arrays["render/background"]), loss_arrays["render/composite"])
    close(layer.over_green_screen(), loss_arrays["render/edit_on_greenscreen"])
    close(layer.alpha.expand(-1, 3, -1, -1), loss_arrays["render/alpha"])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_compositing_by_hand(alpha: float) -> None:
    layer = EditLayer(torch.full((1, 3, 2, 2), 0.8), torch.full((1, 1, 2, 2), alpha))
    composite = layer.over(torch.full((1, 3, 2, 2), 0.2))
    close(composite, torch.full((1, 3, 2, 2), 0.2 + 0.6 * alpha))


def test_madgrad_and_schedule_are_the_authors(loss_arrays: Arrays) -> None:
    a, b = loss_arrays["madgrad/A"], loss_arrays["madgrad/b"]
    x0 = loss_arrays["madgrad/x0"]
    module = torch.nn.Module()
    module.head, module.tail = (torch.nn.Parameter(part.clone()) for part in x0.split([2, 4]))
    optimizer = FlatMadgrad(module, Schedule())
    for step in range(5):
        optimizer.zero_grad()
        x = torch.cat([module.head, module.tail])
        (0.5 * x @ a @ x - b @ x).backward()
        rate = Schedule().learning_rate_at(step, 1000)
        assert rate == pytest.approx(float(loss_arrays["madgrad/lr"][step]))
        assert optimizer.step(rate)
        close(torch.cat([module.head, module.tail]), loss_arrays["madgrad/x"][step])
        close(optimizer.state()["s"], loss_arrays["madgrad/s"][step])
        close(optimizer.state()["grad_sum_sq"], loss_arrays["madgrad/grad_sum_sq"][step])


def test_a_step_that_is_not_finite_changes_nothing() -> None:
    module = torch.nn.Linear(3, 2)
    optimizer = FlatMadgrad(module, Schedule())
    for poison in (False, True, False):
        before = {name: value.clone() for name, value in optimizer.state().items()}
        optimizer.zero_grad()
        out = module(torch.ones(1, 3)).sum()
        (out * float("nan") if poison else out).backward()
        taken = optimizer.step(1e-2)
        assert bool(taken) is not poison
        after = optimizer.state()
        assert torch.equal(after["weights"], before["weights"]) is poison
        assert all(value.isfinite().all() for value in after.values())


def test_the_learning_rate_keeps_its_shape_and_its_floor() -> None:
    schedule = Schedule()
    assert schedule.learning_rate_at(0, 60) == 2.5e-3
    assert schedule.learning_rate_at(30, 60) == pytest.approx(schedule.learning_rate_at(500, 1000))
    assert schedule.learning_rate_at(548, 1000) > 1e-5
    assert schedule.learning_rate_at(550, 1000) == 1e-5
