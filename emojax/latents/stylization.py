"""Faces in the style of an artistic portrait, by DualStyleGAN: pictures in, pictures out.

A picture is encoded to an intrinsic code, which the generator draws with the structure and the
colours of an extrinsic code, each by its own weight. Any picture of an aligned face will do, the
result of an edit or a transfer as well as a photograph.

Source: Yang et al. 2022; williamyang1991/DualStyleGAN `style_transfer.py`, with the generator's
stored noise in place of new noise for each picture.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.faces import images
from emojax.latents import styles
from emojax.latents.styles import Styles
from emojax.models.dualstylegan import DualStyleGAN, StyleSampler
from emojax.models.psp import Encoder
from emojax.nn.pooling import area_mean
from emojax.runtime.batching import in_batches
from emojax.runtime.devices import mesh_for, over_samples
from emojax.runtime.errors import UserError
from emojax.runtime.xla_options import options
from emojax.store.bundle import Bundle
from emojax.store.parts import DUALSTYLEGAN, DUALSTYLEGAN_ENCODER, STYLE_SAMPLER

STRUCTURE, COLOUR, TRUNCATION = 0.75, 1.0, 0.75
"""The original's defaults."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Stylizer:
    """The networks; a pytree.

    Attributes:
        generator: draws faces in a style.
        encoder: gives intrinsic codes.
        space: of the intrinsic codes, "z+" or "w+".
        made_with: SHA-256 over the hashes of the networks' weights.
    """

    generator: DualStyleGAN
    encoder: Encoder
    space: str = dataclasses.field(default="z+", metadata={"static": True})
    made_with: str = dataclasses.field(default="", metadata={"static": True})

    @property
    def sizes(self) -> tuple[int, int]:
        """Sides of the pictures that the encoder takes and the generator draws."""
        return self.encoder.config.resolution, self.generator.config.size


@dataclasses.dataclass(frozen=True)
class Strength:
    """How much of a style a face takes.

    Attributes:
        structure: weight of the rows that change structure, 0 to 1.
        colour: weight of the rows that change colours, 0 to 1.
        truncation: ψ, by which intrinsic codes are scaled towards zero in W+.
        keeps_colours: whether the face's own colours take the place of the style's.
    """

    structure: float = STRUCTURE
    colour: float = COLOUR
    truncation: float = TRUNCATION
    keeps_colours: bool = False

    def __post_init__(self) -> None:
        """Refuse numbers out of range.

        Raises:
            UserError: names the first.
        """
        for name in ("structure", "colour", "truncation"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UserError(f"{name} is {value}, wanted 0 to 1")


def load(bundle: Bundle, *, bfloat16: bool = False) -> Stylizer:
    """Read the networks from a bundle.

    Args:
        bundle: see `emojax.store.bundle.find`.
        bfloat16: compute convolutions above 4² in bfloat16.

    Raises:
        UserError: a part is missing (says how it is made) or damaged, or the two do not fit.
    """
    bundle.check(DUALSTYLEGAN, DUALSTYLEGAN_ENCODER)
    generator = bundle.load(DUALSTYLEGAN, **({"bfloat16_from": 8} if bfloat16 else {}))
    encoder = bundle.load(DUALSTYLEGAN_ENCODER, **({"dtype": "bfloat16"} if bfloat16 else {}))
    ours, theirs = generator.config, encoder.config
    if (ours.n_latent, ours.style_dim) != (theirs.n_styles, theirs.style_dim):
        raise UserError(
            f"DualStyleGAN's encoder gives {theirs.n_styles} codes of {theirs.style_dim}, its "
            f"generator takes {ours.n_latent} of {ours.style_dim}: "
            f"{bundle.remedy(DUALSTYLEGAN_ENCODER)}"
        )
    hashes = bundle.sha256(DUALSTYLEGAN) + bundle.sha256(DUALSTYLEGAN_ENCODER)
    space = str(bundle.metadata(DUALSTYLEGAN_ENCODER).source.get("codes", "z+"))
    made_with = hashlib.sha256(hashes.encode()).hexdigest()
    return Stylizer(generator, encoder, "w+" if space == "w+" else "z+", made_with)


def chosen(bundle: Bundle, wanted: Sequence[str]) -> tuple[list[int], Styles]:
    """Return the numbers of a bundle's styles by number or name, and all styles.

    Args:
        bundle: with style codes.
        wanted: numbers or names; "all": every style.

    Raises:
        UserError: there is no such style, or the codes are not for the bundle's generator.
    """
    known, config = styles.load(bundle), bundle.config(DUALSTYLEGAN)
    if known.codes.shape[1:] != (config.n_latent, config.style_dim):
        raise UserError(
            f"the style codes of bundle {bundle} have {known.codes.shape[1]} rows of "
            f"{known.codes.shape[2]}, its DualStyleGAN takes {config.n_latent} of "
            f"{config.style_dim}: convert the codes of this generator"
        )
    if list(wanted) == ["all"]:
        return list(range(len(known.names))), known
    return [known.index(each) for each in wanted], known


def random_styles(bundle: Bundle, ids: list[int]) -> np.ndarray:
    """Return random styles [N,L,D] in Z+ of a bundle's sampler, each by its number alone.

    Args:
        bundle: with DualStyleGAN's sampler.
        ids: of the styles.

    Raises:
        UserError: the bundle has no sampler; says how it is made.
    """
    sampler = bundle.load(STYLE_SAMPLER)
    config: Any = bundle.config(DUALSTYLEGAN)
    ours, theirs = (config.structure, config.n_latent), sampler.config
    if ours != (theirs.structure, theirs.structure + theirs.colour):
        raise UserError(
            f"the sampler draws {theirs.structure} and {theirs.colour} rows, the generator takes "
            f"{ours[0]} and {ours[1] - ours[0]}: {bundle.remedy(STYLE_SAMPLER)}"
        )
    return np.asarray(jax.jit(_sampled)(sampler, jnp.asarray(ids, jnp.uint32)))


def _sampled(sampler: StyleSampler, ids: jax.Array) -> jax.Array:
    def draw(number: jax.Array) -> jax.Array:
        key = jax.random.fold_in(jax.random.key(0), number)
        return jax.random.normal(key, (2, sampler.config.hidden))

    structure, colour = jnp.moveaxis(jax.vmap(draw)(ids), 1, 0)
    return sampler(structure, colour)


def content(stylizer: Stylizer, picture: np.ndarray) -> np.ndarray:
    """Return an aligned face as the encoder takes it, float32 [R,R,3] in [-1, 1].

    Args:
        stylizer: see `load`.
        picture: [S,S,3] uint8, or float in [-1, 1]. S a multiple of R is averaged over blocks, as
            in the original; another S is resized.
    """
    side = stylizer.encoder.config.resolution
    if len(picture) % side:
        levels = picture if picture.dtype == np.uint8 else images.to_uint8(picture)
        picture = images.resize(levels, side)
    return area_mean(images.as_float(picture)[None], side)[0]


def encode(
    stylizer: Stylizer, contents: np.ndarray, *, batch: int = 2, devices: int | None = None
) -> np.ndarray:
    """Return intrinsic codes [N,L,D] of faces [N,R,R,3] that `content` gave."""
    mesh = mesh_for(batch, devices)
    encoding = _encoding(mesh)
    return in_batches(
        lambda rows: encoding(stylizer.encoder, rows), contents, batch, multiple_of=mesh.size
    )


def draw(
    stylizer: Stylizer,
    codes: np.ndarray,
    extrinsic: np.ndarray,
    strength: Strength | None = None,
    *,
    batch: int = 2,
    devices: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Draw faces, each in its style: pictures [N,S,S,3], about [-1, 1] and not clipped.

    Args:
        stylizer: see `load`.
        codes: [N,L,D] intrinsic codes, see `encode`.
        extrinsic: [N,L,D] codes of styles in Z+.
        strength: weights; default: the original's.
        batch: pictures at a time, on all devices together.
        devices: most of the local devices to use; default: all.
        advance: told the number of pictures whenever some are done.

    Raises:
        ValueError: the codes are not as many, or of another shape than the generator's.
    """
    config, strength = stylizer.generator.config, strength or Strength()
    shape = (len(codes), config.n_latent, config.style_dim)
    for name, array in (("codes", codes), ("extrinsic codes", extrinsic)):
        if array.shape != shape:
            raise ValueError(f"{name} are {list(array.shape)}, wanted {list(shape)}")
    mesh = mesh_for(batch, devices)
    drawing = _drawing(mesh, strength.keeps_colours)
    weights = config.weights(strength.structure, strength.colour)
    truncation = np.float32(strength.truncation)
    return in_batches(
        lambda rows: drawing(stylizer, rows, weights, truncation),
        {"codes": codes, "extrinsic": extrinsic},
        batch,
        multiple_of=mesh.size,
        advance=advance,
    )


@functools.cache
def _encoding(mesh: jax.sharding.Mesh) -> Callable[[Encoder, np.ndarray], jax.Array]:
    """Compile faces [B,R,R,3] to codes for a mesh."""
    run = lambda encoder, faces: encoder(faces)  # noqa: E731
    return over_samples(run, mesh, (False, True), compiler_options=options(dense=True))


@functools.cache
def _drawing(mesh: jax.sharding.Mesh, keeps_colours: bool) -> Callable[..., jax.Array]:
    """Compile intrinsic and extrinsic codes [B,L,D], weights [L] and ψ to pictures for a mesh."""

    def run(
        stylizer: Stylizer, rows: dict[str, jax.Array], weights: jax.Array, truncation: jax.Array
    ) -> jax.Array:
        w_plus, style = mapped(
            stylizer, rows["codes"], rows["extrinsic"], keeps_colours=keeps_colours
        )
        return stylizer.generator(truncation * w_plus, style, weights)

    return over_samples(
        run, mesh, (False, True, False, False), compiler_options=options(dense=True)
    )


def mapped(
    stylizer: Stylizer,
    codes: jax.Array,
    extrinsic: jax.Array,
    *,
    keeps_colours: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Return intrinsic and extrinsic codes [B,L,D] in W+.

    Args:
        stylizer: whose generator maps codes in Z+, row by row.
        codes: intrinsic ones, as its encoder gives them.
        extrinsic: those of styles, in Z+.
        keeps_colours: replace the extrinsic rows of colours by the intrinsic ones.
    """
    generator = stylizer.generator
    w_plus = generator.mapping(codes) if stylizer.space == "z+" else codes
    style = generator.mapping(extrinsic)
    if keeps_colours:
        first = generator.config.structure
        style = jnp.concatenate([style[:, :first], w_plus[:, first:]], 1)
    return w_plus, style
