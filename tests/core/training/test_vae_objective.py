"""The VAE's loss against direct computations: the default, free bits, edges."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.config.schema import TrainVaeSettings, VaeSettings
from core.models.vae import build_vae
from core.training.loop import micro_batches
from core.training.vae_objective import VaeObjective, beyond_free_bits, edge_distance, kl_by_site, without_overshoot


def objective(**changes: object) -> VaeObjective:
    """A tiny VAE with the same weights each time."""
    torch.manual_seed(0)
    vae = build_vae(VaeSettings(latent_channels=2, block_out_channels=(8, 8)), channels=1, image_size=16)
    return VaeObjective(vae, TrainVaeSettings(**changes))  # type: ignore[arg-type]


def batch(count: int = 4) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(1)
    images = torch.rand(count, 1, 16, 16, generator=source) * 2 - 1
    return {"images": images, "noise": torch.randn(count, 2, 8, 8, generator=source)}


def test_the_default_loss_is_error_a_pixel_plus_weighted_kl_a_picture_to_the_last_bit() -> None:
    network, given = objective().network, batch()
    posterior = network.encode(given["images"]).latent_dist
    drawn = network.decode(posterior.mean + posterior.std * given["noise"]).sample
    mean, log_variance = posterior.mean, posterior.logvar
    kl = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance).sum(dim=(1, 2, 3)).mean()
    losses = objective()(**given)
    assert set(losses) == {"loss", "reconstruction", "kl"}
    assert losses["kl"].item() == kl.item()
    assert losses["loss"].item() == (((drawn - given["images"]) ** 2).mean() + 1e-5 * kl).item()


def test_kl_of_each_latent_is_that_of_torch_distributions() -> None:
    mean, log_variance = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, (0.5 * log_variance).exp()), normal(0.0, 1.0))
    torch.testing.assert_close(kl_by_site(mean, log_variance), expected)


def test_a_channel_below_the_floor_is_not_pulled_and_one_above_is() -> None:
    mean = torch.zeros(2, 2, 2, 2)
    mean[:, 0], mean[:, 1] = 0.1, 2.0  # four sites: 0.02 and 8 nats a picture
    mean.requires_grad_()
    counted = beyond_free_bits(kl_by_site(mean, torch.zeros_like(mean)), 1.0)
    counted.backward()
    assert counted.item() == pytest.approx(1.0 + 8.0)
    assert mean.grad is not None
    assert (mean.grad[:, 0] == 0).all()
    torch.testing.assert_close(mean.grad[:, 1], torch.full((2, 2, 2), 2.0 / 2))  # mean over two pictures


def test_free_bits_change_the_loss_and_not_the_kl_that_is_told() -> None:
    given = batch()
    plain, free = objective(kl_weight=0.5)(**given), objective(kl_weight=0.5, free_bits=1000.0)(**given)
    assert free["kl"].item() == plain["kl"].item()
    assert free["loss"].item() == pytest.approx(plain["reconstruction"].item() + 0.5 * 2 * 1000.0)


def test_one_micro_batch_equals_four_with_free_bits_and_edges() -> None:
    given = batch(8)
    changes = {"kl_weight": 1.0, "free_bits": float(_middle_channel_kl(given)), "edge_weight": 1.0}
    whole = objective(**changes)(**given)
    parts = [objective(**changes)(**part) for part in micro_batches(given, count=4)]
    for name, value in whole.items():
        assert sum(part[name].item() for part in parts) / 4 == pytest.approx(value.item(), rel=1e-5)


def _middle_channel_kl(given: dict[str, torch.Tensor]) -> torch.Tensor:
    """A floor that some pictures are below and others above."""
    posterior = objective().network.encode(given["images"]).latent_dist
    return kl_by_site(posterior.mean, posterior.logvar).sum(dim=(2, 3)).detach().median()


@pytest.mark.parametrize(("distance", "expected"), [(nn.MSELoss(), 4.0 / 3), (nn.L1Loss(), 2.0 / 3)])
def test_the_edge_term_of_a_known_picture(distance: nn.Module, expected: float) -> None:
    step = torch.tensor([-1.0, -1.0, 1.0, 1.0]).expand(1, 1, 4, 4)  # one edge of 2 among three differences a row
    flat = torch.zeros(1, 1, 4, 4)
    assert edge_distance(flat, step, distance).item() == pytest.approx(expected)
    assert edge_distance(flat.mT, step.mT, distance).item() == pytest.approx(expected)
    assert edge_distance(step + 0.3, step, distance).item() == pytest.approx(0.0, abs=1e-6)  # only edges count


def test_the_edge_term_is_told_and_weighted() -> None:
    given = batch()
    plain, edged = objective()(**given), objective(edge_weight=2.0)(**given)
    assert edged["loss"].item() == pytest.approx(plain["loss"].item() + 2.0 * edged["edge"].item())


def test_beyond_black_and_white_there_is_no_error_and_no_pull_and_elsewhere_both() -> None:
    images = torch.tensor([-1.0, -1.0, 1.0, 1.0, 0.5, 1.0])
    given = torch.tensor([-1.3, -0.8, 1.2, 0.9, 1.4, -1.2], requires_grad=True)
    found = without_overshoot(given, images)
    assert found.tolist() == pytest.approx([-1.0, -0.8, 1.0, 0.9, 1.4, -1.2])
    ((found - images) ** 2).sum().backward()
    assert given.grad is not None
    assert (given.grad != 0).tolist() == [False, True, False, True, True, True]


def test_free_overshoot_is_part_of_the_loss_only_where_it_is_asked_for() -> None:
    given = batch()
    given["images"] = given["images"].sign()
    plain, free = objective(), objective(free_overshoot=True)
    for network in (plain, free):
        network.network.decoder.conv_out.weight.data *= 30
    assert free(**given)["reconstruction"] < plain(**given)["reconstruction"]
