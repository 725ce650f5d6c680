"""Copy the recorded cases into tests/data, without what the tests can do without.

    python -m tests.support.thin_oracles PATH_TO_ORACLES [CASE ...]

Of every picture the first sample's 64x64 mean stays, and one crop; every probe, output and error
stays.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np

from tests.support.oracles import DATA

CASES = [
    "stylegan2_ffhq1024",
    "stylegan2_256_cm1",
    "stylegan2_deltas",
    "nvlabs_256",
    "nvlabs_256_cb32768",
    "nvlabs_tiny",
    "hsemotion_b0",
    "hsemotion_b2",
    "fid_inception",
    "fid_stats",
    "psp_ffhq",
    "psp_w",
    "psp_wplus",
    "e4e_ffhq",
    "hyperstyle_ffhq",
    "hfgi_ffhq",
    "dualstylegan_ffhq1024",
    "dualstylegan_encoder",
    "dualstylegan_transfer",
    "dualstylegan_sampler",
    "align",
    "encoder_preprocess",
    "arcface_irse50",
    "lpips_alex",
    "lpips_vgg",
    "ms_ssim",
    "projection",
    "stylegan1_ffhq1024",
    "stylegan1_interfacegan1024",
    "stylegan1_rosinality1024",
    "stylegan1_lernapparat1024",
    "pggan_celebahq1024",
    "pggan_ganzoo256",
    "dcgan64",
    "tensorgan_hosvd",
]

LEAN = ("stylegan1_", "pggan_", "dcgan64")
"""Cases of which only the values at 64 places of each layer stay."""


DROPPED = (  # whole pictures of these: noise, which does not compress
    "plain/out",
    "bottomright_pad/out",
    "shrink3_pad/out",
    "profile_squeezed/out",
    "upside_down/out",
    "sideways_below_pad_threshold/out",
    "prep_1024x1024/resized",
    "prep_178x218/resized",
)


def every(*beginnings: str) -> tuple[str, ...]:
    """Return beginnings of the names of some outputs, of their probes and of their errors."""
    kinds = ("", "probe/", "torch_f32_rel_err/", "torch_f32_rel_err/probe/")
    return tuple(kind + each for kind in kinds for each in beginnings)


REPEATED = {  # what other arrays of the case show too
    "hfgi_ffhq": (
        "encoder_out",
        "ganspace_two_latents",
        "low_256/area64",
        "aligned_256/area64",
        "edit_aligned_256/area64",
        "ganspace_1024/area64",
        "inversion_256/uint8",
        "ganspace_256",
    ),
    "dualstylegan_ffhq1024": every(
        *("structure_only", "colour_only", "zero", "wplus", "mix", "default/latent", "ramp/latent")
    ),
    "dualstylegan_encoder": every(""),
    "dualstylegan_transfer": every(
        *("content_256", "img_rec", "preserve", "wplus", "transfer_256", "exstyle", "transfer.")
    ),
    "dualstylegan_sampler": every("train.", "eval."),
}


def lean(name: str, array: np.ndarray) -> np.ndarray | None:
    """Return what stays of a recorded array of a lean case."""
    if name.endswith(("/first64", "/stats", "/shape", "running_mean_1", "running_var_1")):
        return None
    if name.endswith("/area64"):
        return array[:1, :, ::4, ::4]
    if name.endswith(("/crops", "/crop_yx")):
        return array[:1]
    return array[:1, :, ::2, ::2] if array.ndim == 4 else array


def lean_manifest(manifest: dict) -> dict:
    """Write fixed filters out for one channel only: 4,608 numbers otherwise."""
    for entry in manifest["entries"]:
        if entry["init"]["kind"] == "values" and entry["shape"][2:] == [3, 3]:
            entry["shape"], entry["init"]["values"] = [1, 1, 3, 3], entry["init"]["values"][:9]
    return manifest


def thinned(name: str, array: np.ndarray) -> np.ndarray | None:
    """Return what stays of a recorded array, None when nothing does."""
    if name.endswith((".area64", ".crops", ".crop_pos")):
        return array[:1]
    if name.endswith(("/area64", "/crops", "/crop_yx")) and array.ndim != 3:
        array = array[:1]
    if name.startswith(DROPPED) and array.nbytes > 10_000:
        return None
    if name.endswith((".probe_stats", "max_abs_err", ".mean", ".std", ".l2")):
        return None
    return array


def main(source: Path, cases: list[str]) -> None:
    """Write some cases."""
    for case in cases:
        folder = DATA / case
        folder.mkdir(exist_ok=True)
        for file in sorted((source / case).glob("manifest*.json")):
            manifest = json.loads(file.read_text())
            manifest = lean_manifest(manifest) if case.startswith(LEAN) else manifest
            (folder / file.name).write_text(json.dumps(manifest, separators=(",", ":")))
        kept = [each for name in ("LICENSE*", "*_code.npy") for each in (source / case).glob(name)]
        for file in kept:
            shutil.copy(file, folder / file.name)
        with np.load(source / case / "golden.npz") as file:
            names = [name for name in file.files if not name.startswith(REPEATED.get(case, ()))]
            keep = lean if case.startswith(LEAN) else thinned
            kept = {name: keep(name, file[name]) for name in names}
        np.savez_compressed(
            folder / "golden.npz",
            **{name: array for name, array in kept.items() if array is not None},
        )
    shutil.copy(source / "recipe.py", DATA / "recipe.py")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or CASES)
