"""The comparison partners of benchmarks/ compute what the originals computed."""

import numpy as np
import pytest

from tests.support import oracles

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")


@pytest.mark.parametrize("form", ["original", "best"])
def test_stylegan2_draws_the_recorded_picture(form):
    from benchmarks.torch_models.stylegan2 import Generator

    case, name = "stylegan2_256_cm1", "z_trunc1"
    golden = oracles.golden(case)
    channels = list(oracles.manifest(case)["config"]["channels"].values())
    model = Generator(channels, form=form).eval()
    model.load_state_dict(_without_filters(oracles.state_dict(case)))
    with torch.inference_mode():
        picture = model(torch.from_numpy(golden["in.z0"])).numpy()
    truth = golden[f"{name}.area64"]
    area = picture[: len(truth)].reshape(-1, 3, 64, 4, 64, 4).astype(np.float64).mean((3, 5))
    bound = max(2 * golden[f"{name}.area64.torch_f32_rel_err"], 2e-6)
    assert oracles.rel_err(area, truth) <= bound


@pytest.mark.parametrize("form", ["original", "best"])
def test_stylegan2_computes_in_bfloat16(form):
    from benchmarks.torch_models.stylegan2 import Generator

    torch.manual_seed(0)
    model = Generator((16, 16, 16, 8), style_dim=32, form=form).eval()
    z = torch.randn(2, 32)
    with torch.inference_mode():
        exact = model(z)
        model.half_from = 8
        coarse = model(z)
    assert coarse.dtype == torch.float32
    error = float((coarse - exact).norm() / exact.norm())
    assert 1e-4 < error < 3e-2  # eight bits of mantissa through six convolutions


def test_stylegan2_takes_deltas():
    from benchmarks.torch_models.stylegan2 import Generator

    case, name = "stylegan2_deltas", "default"
    golden, call = oracles.golden(case), oracles.manifest(case)["calls"]["default"]
    channels = list(oracles.manifest(case)["config"]["channels"].values())
    model = Generator(channels).eval()
    model.load_state_dict(_without_filters(oracles.state_dict(case)))
    drawn = oracles.inputs(case)
    deltas = [None] * oracles.manifest(case)["config"]["n_deltas"]
    for i in call["deltas"]:
        deltas[i] = torch.from_numpy(drawn[f"delta:{i}"])[:1]
    with torch.inference_mode():
        picture = model.synthesis(torch.from_numpy(golden["in.wplus"])[:1], deltas).numpy()
    area = picture.reshape(1, 3, 64, 4, 64, 4).astype(np.float64).mean((3, 5))
    bound = max(2 * golden[f"{name}.area64.torch_f32_rel_err"], 2e-6)
    assert oracles.rel_err(area, golden[f"{name}.area64"][:1]) <= bound


def _without_filters(state: dict) -> dict:
    return {k: torch.from_numpy(v) for k, v in state.items() if not k.endswith("kernel")}
