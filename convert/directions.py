"""Published directions to the directions file of a bundle.

Read are InterfaceGAN's boundaries (`boundary_Smiling.npy`), e4e's and HyperStyle's `age.pt`,
`pose.pt` and `smile.pt`, the seven-emotion files (`emotion_angry.npy`, ...), and GANSpace's
components (`ffhq_pca.pt`, or `.npz` with `lat_comp`), as one direction of W or one a layer. Nothing
in a file is executed.

    python -m convert.directions age.pt smile.pt pose.pt --name ffhq --out published.npz
    python -m convert.directions emotion_*.npy --name ffhq --replace
"""

import dataclasses
import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from convert.options import destination
from convert.reader import torch_file
from emojax.latents import directions
from emojax.latents.directions import Directions
from emojax.models.efficientnet import EmotionNet
from emojax.models.stylegan2 import Generator, GeneratorConfig
from emojax.runtime import devices, xla_options
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import sha256
from emojax.scoring import scorer
from emojax.scoring.sampling import draw_z
from emojax.store import bundle
from emojax.store.parts import EMOTION, GENERATOR

SAMPLES = 10_000
"""Codes that mean and sigma are measured on."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `python -m convert.directions`."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Published files: .npy, .npz or .pt."""
    name: str = bundle.DEFAULT
    """Bundle with the generator they were made for."""
    names: tuple[str, ...] = ()
    """Names of the directions, in the order of the files; default: the files' own."""
    out: Path | None = None
    """Write here (.npz); default: the bundle's directions.npz."""
    replace: bool = False
    """Replace a file that is already there."""
    calibrate: int = 16
    """Faces on which the bundle's classifier checks each sign; 0: keep the signs."""


ALIASES = {
    "angry": "anger",
    "easy": "neutral",
    "happy": "happiness",
    "sad": "sadness",
    "surprised": "surprise",
}
"""What published files call our emotions."""

SHOWN_BY = {"smile": "happiness", "smiling": "happiness"}
"""Directions that are no class, and the class whose probability rises along them."""


def name_of(stem: str) -> str:
    """Return the direction's name in a file's name.

    `stylegan_ffhq_age_w_boundary` and `boundary_Age` are "age", `emotion_angry` is "anger".
    """
    name = re.sub(r"^(stylegan\d?_(ffhq|celebahq)_|boundary_|emotion_)", "", stem.lower())
    name = re.sub(r"(_[wz])?(_boundary)?$", "", name)
    return ALIASES.get(name, name)


def read(file: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file by direction.

    Raises:
        UserError: the file is missing, damaged, or holds something else.
    """
    if file.suffix == ".npy":
        return {name_of(file.stem): _read_npy(file)}
    held = torch_file.load(file)
    if isinstance(held, np.ndarray):
        return {name_of(file.stem): held}
    if isinstance(held, Mapping):
        for key in ("lat_comp", "comp"):  # GANSpace's own file, e4e's extract of it
            if isinstance(held.get(key), np.ndarray) and held[key].ndim > 1:
                return {f"component{i}": row for i, row in enumerate(held[key])}
        if held and all(isinstance(value, np.ndarray) for value in held.values()):
            return {name_of(str(key)): value for key, value in held.items()}
    raise UserError(
        f"{file} holds no direction: wanted an array, a table of arrays, or GANSpace's components"
    )


def shaped(array: np.ndarray, name: str, config: GeneratorConfig) -> np.ndarray:
    """Bring (D), (1,D), (L,D), (1,L,D) or (1,L·D) to float64 [D], or [L,D] where layers differ.

    Raises:
        UserError: another shape, or a direction that is nought or not finite.
    """
    layers, width = config.n_latent, config.style_dim
    shapes = {(width,), (1, width), (layers, width), (1, layers, width), (1, layers * width)}
    if array.shape not in shapes:
        raise UserError(
            f"{name} is {list(array.shape)}, wanted one of "
            f"{', '.join(str(list(shape)) for shape in sorted(shapes))} for this generator"
        )
    rows = np.asarray(array, np.float64).reshape(-1, width)
    if not np.isfinite(rows).all() or not rows.any():
        raise UserError(f"{name} is 0, infinite or NaN: wanted a direction")
    return rows[0] if (rows == rows[0]).all() else rows


def assemble(
    arrays: Mapping[str, np.ndarray], generator: Generator, metadata: dict[str, Any]
) -> Directions:
    """Return the directions of a generator; scores are 0 at its mean code.

    Args:
        arrays: published arrays by name.
        generator: theirs.
        metadata: to keep.

    Raises:
        UserError: see `shaped`.
    """
    config = generator.config
    rows = [shaped(array, name, config) for name, array in arrays.items()]
    if any(row.ndim == 2 for row in rows):  # tiled, a layer's share each: the same regression
        layers = config.n_latent
        rows = [np.tile(row / layers, (layers, 1)) if row.ndim == 1 else row for row in rows]
    coefficients = np.stack(rows)
    key, ids = jax.random.key(0), jnp.arange(SAMPLES, dtype=jnp.uint32)
    codes = np.asarray(jax.jit(_codes)(generator, key, ids), np.float64)
    mean = codes.mean(0)
    flat = coefficients if coefficients.ndim == 2 else coefficients.sum(1)
    norms = np.linalg.norm(coefficients.reshape(len(rows), -1), axis=1)
    return Directions(
        tuple(arrays),
        coefficients,
        -flat @ mean,
        mean,
        ((codes - mean) @ flat.T).std(0) / norms,
        metadata,
    )


def calibrated(
    found: Directions, generator: Generator, emotion: EmotionNet, faces: int
) -> Directions:
    """Turn each direction so that the class it is named after becomes more probable along it.

    Faces are moved 3 sigma either way. Directions without a class keep their sign, as do those that
    change too little to tell (twice the standard error). The metadata says what was seen.

    Args:
        found: directions of the generator.
        generator: draws the faces, at ψ = 0.7.
        emotion: judges them.
        faces: how many.
    """
    known = [name.lower() for name in emotion.config.classes]
    classes = [SHOWN_BY.get(name, name) for name in found.names]
    tested = [i for i, name in enumerate(classes) if name in known]
    if not tested:
        return found
    changes = _changes(found, tested, generator, emotion, faces)
    signs, seen = np.ones(len(found.names)), {}
    for i, change in zip(tested, changes, strict=True):  # change: [faces, K]
        rise = change[:, known.index(classes[i])]
        error = rise.std(ddof=1) / np.sqrt(faces)
        clear = bool(abs(rise.mean()) > 2 * error)
        signs[i] = -1 if clear and rise.mean() < 0 else 1
        if not clear:
            logging.info("%s: the classifier sees no clear change, its sign is kept", classes[i])
        seen[found.names[i]] = {
            "class": classes[i],
            "change": float(rise.mean()),
            "standard_error": float(error),
            "sign": "turned" if signs[i] < 0 else "confirmed" if clear else "unclear",
        }
    return dataclasses.replace(
        found,
        coefficients=found.coefficients * signs.reshape(-1, *[1] * (found.coefficients.ndim - 1)),
        intercepts=found.intercepts * signs,
        metadata={**found.metadata, "calibration": seen},
    )


def main(options: Options) -> None:
    """Convert the files and print what was done."""
    place = bundle.find(options.name)
    target = options.out or destination(options.name) / directions.FILE
    if target.exists() and not options.replace:
        raise UserError(
            f"{target} is there already: give --replace to lose it, or --out for another place"
        )
    if options.calibrate == 1 or options.calibrate < 0:
        raise UserError(f"--calibrate is {options.calibrate}, wanted 0, or 2 or more faces")
    devices.use_cores()
    arrays, sources = _read_all(options.files, options.names)
    generator, sha = place.load(GENERATOR), place.sha256(GENERATOR)
    metadata = {"method": "published", "sources": sources, "generator_sha256": sha}
    found = assemble(arrays, generator, metadata)
    if options.calibrate and place.has(EMOTION):
        found = calibrated(found, generator, place.load(EMOTION), options.calibrate)
    found.save(target)
    _report(found, target)


def _read_npy(file: Path) -> np.ndarray:
    try:
        return np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise UserError(f"no file {file}: give the path of a published direction") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{file} is damaged or not a plain array ({error}): download it again"
        ) from error


def _read_all(
    files: Sequence[Path], names: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """Return all arrays by name, and {file, sha256} of each file."""
    if not files:
        raise UserError("no file given: wanted .npy, .npz or .pt files of directions")
    held = [(name, array) for file in files for name, array in read(file).items()]
    if names and len(names) != len(held):
        raise UserError(f"--names gives {len(names)} names for {len(held)} directions")
    taken = [name.lower() for name in names] or [name for name, _ in held]
    if twice := sorted({name for name in taken if taken.count(name) > 1}):
        raise UserError(f"{', '.join(twice)} is given twice: tell them apart with --names")
    sources = [{"file": file.name, "sha256": sha256(file)} for file in files]
    return dict(zip(taken, (array for _, array in held), strict=True)), sources


def _codes(
    generator: Generator, key: jax.Array, ids: jax.Array, truncation: float = 1.0
) -> jax.Array:
    w = generator.mapping(draw_z(key, ids, generator.config.z_dim))
    return generator.w_plus(w, truncation=truncation)[:, 0]


def _changes(
    found: Directions,
    tested: Sequence[int],
    generator: Generator,
    emotion: EmotionNet,
    faces: int,
) -> np.ndarray:
    """Return how much each class rises [tested, faces, K] from -3 sigma to +3 sigma."""
    config = generator.config
    w = jax.jit(functools.partial(_codes, truncation=0.7))(
        generator, jax.random.key(0), jnp.arange(faces, dtype=jnp.uint32)
    )
    tiled = np.repeat(np.asarray(w)[:, None], config.n_latent, 1)  # [N, L, D]
    # sigma is that of ⟨w, unit⟩ in W; as steps of the tiled unit vector it is √L times that
    wide = np.sqrt(config.n_latent) if found.coefficients.ndim == 2 else 1.0
    steps = found.tiled(config.n_latent) * (3 * wide * found.sigma)[:, None, None]
    codes = np.stack([tiled + side * steps[i] for i in tested for side in (-1, 1)])
    judged = _judged(codes.reshape(-1, *codes.shape[2:]).astype(np.float32), generator, emotion)
    below, above = np.moveaxis(judged.reshape(len(tested), 2, faces, -1), 1, 0)
    return above - below


def _judged(codes: np.ndarray, generator: Generator, emotion: EmotionNet) -> np.ndarray:
    """Return the probabilities of W+ codes [N, L, D], in batches on all local devices."""
    mesh = devices.local_mesh(most=len(codes))
    size = min(mesh.size * scorer.default_batch(generator.config.size), len(codes))
    size -= size % mesh.size
    program, models = _program(mesh), devices.everywhere((generator, emotion), mesh)
    parts = []
    for start in range(0, len(codes), size):
        part = codes[start : start + size]
        padded = np.pad(part, ((0, size - len(part)), (0, 0), (0, 0)), "edge")
        parts.append(np.asarray(program(*models, padded))[: len(part)])
    return np.concatenate(parts)


@functools.cache
def _program(mesh: jax.sharding.Mesh) -> Callable[..., jax.Array]:
    return devices.over_samples(
        scorer.judged,
        mesh,
        split=(False, False, True),
        compiler_options=xla_options.options(dense=True),
    )


def _report(found: Directions, target: Path) -> None:
    """Print the directions and where they are."""
    layers = "one a layer" if found.coefficients.ndim == 3 else "of W"
    print(f"{len(found.names)} directions {layers}, {found.coefficients.shape[-1]} wide")
    calibration = found.metadata.get("calibration", {})
    for name, sigma in zip(found.names, found.sigma, strict=True):
        said = "sign as published"
        if seen := calibration.get(name):
            said = f"sign {seen['sign']}: {seen['class']} {seen['change']:+.3f} published way, "
            said += f"± {seen['standard_error']:.3f}"
        print(f"  {name:<12} sigma {sigma:.3f}, {said}")
    print(f"written: {target}")


if __name__ == "__main__":
    cli(main)
