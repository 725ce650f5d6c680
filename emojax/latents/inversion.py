"""GAN inversion: faces to codes and back, by pSp or by HyperStyle.

HyperStyle starts from a code in W and changes the generator's kernels until the picture fits, in a
few passes (Alaluf et al. 2022, `utils/inference_utils.py`, `run_inversion`).
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
from emojax.latents.codes import Inversion
from emojax.models.hyperstyle import Hypernet
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator
from emojax.runtime.batching import in_batches
from emojax.runtime.choices import InverterName
from emojax.runtime.devices import mesh_for, over_samples
from emojax.runtime.errors import UserError
from emojax.runtime.xla_options import options
from emojax.store.bundle import Bundle
from emojax.store.parts import GENERATOR, INVERTER_PARTS

_static = functools.partial(dataclasses.field, metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Inverter:
    """The networks of one method; a pytree.

    Attributes:
        generator: draws the pictures.
        encoder: gives the codes: pSp or e4e, or HyperStyle's W encoder.
        hypernet: HyperStyle's; None for pSp.
        made_with: SHA-256 over the hashes of the networks' weights.
    """

    generator: Generator
    encoder: Encoder
    hypernet: Hypernet | None = None
    made_with: str = _static(default="")

    @property
    def method(self) -> str:
        """Name of the inverter: "psp" or "hyperstyle"."""
        return "psp" if self.hypernet is None else "hyperstyle"

    @property
    def resolution(self) -> int:
        """Side of the pictures that `invert` takes."""
        return self.encoder.config.resolution


def load(bundle: Bundle, method: InverterName, *, bfloat16: bool = False) -> Inverter:
    """Read the networks of a method from a bundle.

    Args:
        bundle: see `emojax.store.bundle.find`.
        method: "psp" or "hyperstyle".
        bfloat16: compute convolutions above 4² in bfloat16; codes and pictures stay float32.

    Raises:
        UserError: a part is missing or damaged, or belongs to another generator than the bundle's.
    """
    generator_hash = bundle.sha256(GENERATOR)
    for part in INVERTER_PARTS[method]:
        wanted = bundle.metadata(part).source.get("generator_sha256")
        if wanted != generator_hash:
            raise UserError(
                f"{bundle.folder(part)} was made for another generator ({str(wanted)[:12]}) than "
                f"the bundle's ({generator_hash[:12]}): {bundle.remedy(part)}"
            )
    dtype = {"dtype": "bfloat16"} if bfloat16 else {}
    networks = [bundle.load(part, **dtype) for part in INVERTER_PARTS[method]]
    generator = bundle.load(GENERATOR, **({"bfloat16_from": 8} if bfloat16 else {}))
    hashes = "".join(bundle.sha256(part) for part in (GENERATOR, *INVERTER_PARTS[method]))
    inverter = Inverter(generator, *networks, made_with=hashlib.sha256(hashes.encode()).hexdigest())
    _check(inverter)
    return inverter


def _check(inverter: Inverter) -> None:
    generator, encoder = inverter.generator.config, inverter.encoder.config
    fits = (generator.n_latent, generator.style_dim) == (encoder.n_styles, encoder.style_dim)
    if not fits or generator.size % encoder.resolution:
        raise UserError(
            f"the encoder gives {encoder.n_styles} codes of {encoder.style_dim} for pictures of "
            f"{encoder.resolution}², the generator takes {generator.n_latent} of "
            f"{generator.style_dim} at {generator.size}²: convert the encoder of this generator"
        )


def invert(
    inverter: Inverter,
    pictures: Any,
    *,
    passes: int = 5,
    batch: int = 4,
    devices: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> Inversion:
    """Return the codes of aligned faces, split over the local devices.

    Args:
        inverter: see `load`.
        pictures: [N,R,R,3], R = `inverter.resolution`; uint8, or float in [-1, 1].
        passes: HyperStyle's passes; pSp has none.
        batch: faces at a time, on all devices together.
        devices: most of the local devices to use; default: all.
        advance: told the number of faces whenever some are done.

    Raises:
        ValueError: the pictures have another shape or range, or there are less than one pass or
            face.
    """
    side, pictures = inverter.resolution, images.as_float(pictures)
    if pictures.ndim != 4 or pictures.shape[1:] != (side, side, 3) or not len(pictures):
        raise ValueError(f"pictures are {list(pictures.shape)}, wanted [N, {side}, {side}, 3]")
    if passes < 1:
        raise ValueError(f"passes is {passes}, wanted at least 1")
    passes = 0 if inverter.hypernet is None else passes
    mesh = mesh_for(batch, devices)
    program = _inverting(mesh, passes)
    codes, vectors = in_batches(
        lambda rows: program(inverter, rows),
        pictures,
        batch,
        multiple_of=mesh.size,
        advance=advance,
    )
    return Inversion(
        jnp.asarray(codes),
        jnp.asarray(vectors) if passes else None,
        passes=passes,
        method=inverter.method,
        made_with=inverter.made_with,
    )


@functools.cache
def _inverting(mesh: jax.sharding.Mesh, passes: int) -> Callable[..., tuple[jax.Array, Any]]:
    """Compile pictures [B,R,R,3] to codes and HyperStyle's vectors (None by pSp) for a mesh."""

    def run(inverter: Inverter, pictures: jax.Array) -> tuple[jax.Array, jax.Array | None]:
        if not passes:
            return inverter.encoder(pictures), None
        return _refine(inverter, pictures, passes=passes)[:2]

    return over_samples(run, mesh, (False, True), compiler_options=options(dense=True))


def synthesize(
    inverter: Inverter,
    inversion: Inversion,
    *,
    batch: int = 4,
    resolution: int | None = None,
    devices: int | None = None,
    advance: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Draw the faces of an inversion, split over the local devices.

    Args:
        inverter: the networks that made it.
        inversion: N faces, or N edits of one face, whose kernels are then expanded once.
        batch: pictures at a time, on all devices together.
        resolution: stop the generator there; by default its full size.
        devices: most of the local devices to use; default: all.
        advance: told the number of pictures whenever some are done.

    Returns:
        [N,r,r,3] float32, about [-1, 1], not clipped.

    Raises:
        UserError: other networks made the inversion, or its codes have another shape than theirs.
    """
    if inversion.made_with != inverter.made_with:
        raise UserError(
            f"the inversion was made with other networks ({inversion.made_with[:12]}) than these "
            f"({inverter.made_with[:12]}): invert the pictures again with this bundle"
        )
    _check_shapes(inverter, inversion)
    deltas, rows = None, {"codes": inversion.w_plus, "vectors": inversion.vectors}
    if inversion.is_shared and inversion.vectors is not None:
        deltas = expand(_hypernet(inverter), inversion.vectors[0], inversion.passes)
        rows["vectors"] = None
    mesh = mesh_for(batch, devices)
    program = _drawing(mesh, resolution)
    hypernet = None if rows["vectors"] is None else inverter.hypernet
    networks = (inverter.generator, hypernet)
    return in_batches(
        lambda rows: program(networks, rows, deltas, inversion.passes),
        rows,
        batch,
        multiple_of=mesh.size,
        advance=advance,
    )


def _check_shapes(inverter: Inverter, inversion: Inversion) -> None:
    """Refuse an inversion, read from a file, whose arrays do not fit the networks it names."""
    generator = inverter.generator.config
    wanted = {"codes": (generator.n_latent, generator.style_dim)}
    found = {"codes": inversion.w_plus.shape[1:]}
    if inversion.vectors is not None:
        config = _hypernet(inverter).config
        wanted["vectors"] = (len(config.layers), config.widths[-1])
        found["vectors"] = inversion.vectors.shape[1:]
    if found != wanted:
        raise UserError(
            f"the inversion has {found} for each face, these networks take {wanted}: invert the "
            "pictures again"
        )


@functools.cache
def _drawing(mesh: jax.sharding.Mesh, resolution: int | None) -> Callable[..., jax.Array]:
    """Compile codes [B,L,D] to pictures for a mesh, with kernel changes of each face or of one."""

    def run(
        networks: tuple[Generator, Hypernet | None],
        rows: dict[str, Any],
        deltas: Any,
        passes: jax.Array,
    ) -> jax.Array:
        generator, hypernet = networks
        if hypernet is not None:
            deltas = hypernet.deltas(rows["vectors"], passes)
        return generator.synthesis(rows["codes"], deltas=deltas, resolution=resolution)

    return over_samples(
        run, mesh, (False, True, False, False), compiler_options=options(dense=True)
    )


def _program(**settings: Any) -> Callable[[Callable], Callable]:
    """Return `jax.jit` as a decorator, its compiler options looked up at the first call."""

    def decorate(function: Callable) -> Callable:
        @functools.cache
        def compiled() -> Callable:
            return jax.jit(function, compiler_options=options(dense=True), **settings)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return compiled()(*args, **kwargs)

        return call

    return decorate


@_program()
def encode(encoder: Encoder, pictures: jax.Array) -> jax.Array:
    """Map pictures [B,R,R,3] in [-1, 1] to codes [B,L,D]."""
    return encoder(pictures)


def _refine(
    inverter: Inverter, pictures: jax.Array, *, passes: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Run HyperStyle's passes on one batch; `refine` is the same, compiled.

    Each pass draws the faces with the kernels so far, compares the result, pooled to the input's
    size, with the pictures and adds the vectors that the hypernetwork finds. The codes stay those
    of the W encoder.

    Args:
        inverter: a HyperStyle inverter.
        pictures: [B,R,R,3] in [-1, 1].
        passes: how many.

    Returns:
        Codes [B,L,D], summed vectors [B,T,C], and what each pass was shown, [passes,B,R,R,3].
    """
    codes, hypernet = inverter.encoder(pictures), _hypernet(inverter)

    def drawn(deltas: Sequence[jax.Array | None] | None) -> jax.Array:
        return area_mean(inverter.generator.synthesis(codes, deltas=deltas), pictures.shape[1])

    def one_pass(sums: jax.Array, done: jax.Array) -> tuple[jax.Array, jax.Array]:
        now = drawn(hypernet.deltas(sums, done))
        return sums + hypernet(pictures, now), now

    first = drawn(None)  # the faces still share the generator's kernels, so they go together
    sums, later = jax.lax.scan(one_pass, hypernet(pictures, first), jnp.arange(1, passes))
    return codes, sums, jnp.concatenate([first[None], later])


refine = _program(static_argnames="passes")(_refine)


def _hypernet(inverter: Inverter) -> Hypernet:
    if inverter.hypernet is None:
        raise ValueError("the inverter has no hypernetwork: wanted one of HyperStyle")
    return inverter.hypernet


@_program(static_argnames="resolution")
def draw(
    generator: Generator,
    codes: jax.Array,
    deltas: Sequence[jax.Array | None] | None,
    *,
    resolution: int | None = None,
) -> jax.Array:
    """Draw codes [B,L,D] with given kernel changes, as `Synthesis` takes them."""
    return generator.synthesis(codes, deltas=deltas, resolution=resolution)


@_program(static_argnames="resolution")
def redraw(
    inverter: Inverter,
    codes: jax.Array,
    vectors: jax.Array,
    passes: jax.Array | int,
    *,
    resolution: int | None = None,
) -> jax.Array:
    """Draw codes [B,L,D], each with the kernel changes of its own vectors [B,T,C]."""
    deltas = _hypernet(inverter).deltas(vectors, passes)
    return inverter.generator.synthesis(codes, deltas=deltas, resolution=resolution)


@_program()
def expand(hypernet: Hypernet, vectors: jax.Array, passes: int) -> Sequence[jax.Array | None]:
    """Return the kernel changes of one face's vectors [T,C] (94 MB at 1024²), or of [B,T,C]."""
    return hypernet.deltas(vectors, passes)


def area_mean(pictures: Any, side: int) -> Any:
    """Shrink square pictures [B,S,S,3] to [B,side,side,3] by the mean over equal blocks."""
    batch, size, _, channels = pictures.shape
    step = size // side
    return pictures.reshape(batch, side, step, side, step, channels).mean((2, 4))
