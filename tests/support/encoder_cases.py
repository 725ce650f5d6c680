"""The encoders' recorded cases: their weights, and probes held against a port."""

import numpy as np

from convert import psp as convert_psp
from emojax.models import psp
from emojax.store import weights
from tests.data import recipe
from tests.support import oracles

FLOOR = 5e-6
"""Error that is allowed whatever torch's own is; else three times torch's float32 error."""


def part(manifest: dict, prefix: str) -> dict[str, np.ndarray]:
    """Draw the tensors under a prefix, their prefix kept."""
    entries = [entry for entry in manifest["entries"] if entry["key"].startswith(prefix)]
    return recipe.state_dict({**manifest, "entries": entries})


def latent_avg(manifest: dict) -> np.ndarray:
    """Draw a case's mean latent."""
    return recipe.draw(manifest["top_level"]["latent_avg"], manifest["seed"])


def encoder(case: str, architecture: psp.Architecture) -> psp.Encoder:
    """Build a recorded encoder through its converter."""
    manifest = oracles.manifest(case)
    state, mean = part(manifest, "encoder."), latent_avg(manifest)
    config, table, _ = convert_psp.convert(state, architecture, 18, mean)
    return weights.load(weights.abstract(psp.Encoder, config), table)


def allowed(case: str, name: str) -> float:
    """Return the error a port may have in an array or probe."""
    golden = oracles.golden(case)
    key = f"torch_f32_rel_err/probe/{name}"
    if key not in golden:
        key = f"torch_f32_rel_err/{name}"
    return max(3 * float(golden[key]), FLOOR)


def check(case: str, name: str, port: np.ndarray) -> None:
    """Hold an array against a whole recorded one."""
    error = oracles.rel_err(port, oracles.golden(case)[name])
    assert error <= allowed(case, name), (name, error, allowed(case, name))


def check_probe(case: str, name: str, port: np.ndarray) -> None:
    """Hold an NCHW (or NOIHW) array against the recorded values at 128 places."""
    golden = oracles.golden(case)
    assert tuple(golden[f"probe/{name}/shape"]) == port.shape, name
    values = np.asarray(port, np.float64).reshape(-1)
    first = np.arange(min(64, values.size))
    places = {"first64": first, "spread64": np.arange(64) * (values.size - 1) // 63}
    for kind, index in places.items():
        _check_places(case, name, values[index], golden[f"probe/{name}/{kind}"])


def check_picture(case: str, name: str, port: np.ndarray) -> None:
    """Hold pictures [B,S,S,3] against the recorded probe, crops, and 64² means where they are."""
    golden = oracles.golden(case)
    nchw = np.asarray(port, np.float64).transpose(0, 3, 1, 2)
    check_probe(case, name, nchw)
    batch, _, size, _ = nchw.shape
    if (recorded := golden.get(f"{name}/area64")) is not None:
        means = nchw.reshape(batch, 3, 64, size // 64, 64, size // 64).mean((3, 5))
        _check_places(case, name, means[: len(recorded)], recorded)
    for (y, x), crop in zip(golden[f"{name}/crop_yx"], golden[f"{name}/crops"], strict=True):
        _check_places(case, name, nchw[:, :, y : y + 24, x : x + 24], crop)


def _check_places(case: str, name: str, port: np.ndarray, truth: np.ndarray) -> None:
    """Hold some values of an array: where they happen to be small, against the array's RMS.

    torch's error was recorded over the whole array, and rounding is as large in its dark corners.
    """
    mean, std, _ = oracles.golden(case)[f"probe/{name}/stats"]
    size = max(np.linalg.norm(np.float64(truth)), np.hypot(mean, std) * np.sqrt(truth.size))
    error = np.linalg.norm(np.float64(port) - truth) / size
    assert error <= allowed(case, name), (name, error, allowed(case, name))
