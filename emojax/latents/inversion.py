"""GAN inversion: faces to codes and back, by each of the methods in `METHODS`."""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from emojax.faces import images
from emojax.latents import consultation, optimisation, refinement
from emojax.latents.codes import Inversion, unshared
from emojax.latents.inverter import Changes, Inverter, Method, Run
from emojax.metrics import perceptual
from emojax.models.psp import Encoder
from emojax.models.stylegan2 import Generator
from emojax.runtime.batching import in_batches
from emojax.runtime.choices import InverterName
from emojax.runtime.devices import mesh_for, over_samples
from emojax.runtime.errors import UserError
from emojax.runtime.programs import program
from emojax.runtime.xla_options import options
from emojax.store.bundle import Bundle
from emojax.store.parts import GENERATOR, HFGI, HYPERSTYLE, INVERTER_PARTS, INVERTERS, Part

__all__ = ["METHODS", "Inverter", "invert", "load", "synthesize"]


def _encoded(
    inverter: Inverter, pictures: np.ndarray, _passes: int, run: Run
) -> tuple[np.ndarray, None]:
    """Return codes [N,L,D] by one encoder pass; see `Method.find`."""
    mesh = mesh_for(run.batch, run.devices)
    encoding = _encoding(mesh)
    codes = in_batches(
        lambda rows: encoding(inverter.encoder, rows),
        pictures,
        run.batch,
        multiple_of=mesh.size,
        advance=run.advance,
    )
    return codes, None


@functools.cache
def _encoding(mesh: jax.sharding.Mesh) -> Callable[[Encoder | None, np.ndarray], jax.Array]:
    """Compile pictures [B,R,R,3] to codes for a mesh."""
    run = lambda encoder, pictures: encoder(pictures)  # noqa: E731
    return over_samples(run, mesh, (False, True), compiler_options=options(dense=True))


def _refused(*_: Any) -> tuple[np.ndarray, None]:
    """Refuse to invert; see `Method.find`."""
    raise UserError(
        "the bundle is opened without an inverter: take faces of sample(), or choose an inverter "
        "that it has the networks of"
    )


METHODS: dict[str, Method] = {
    "none": Method(_refused),
    "psp": Method(_encoded),
    "hyperstyle": refinement.METHOD,
    "hfgi": consultation.METHOD,
    **optimisation.METHODS,
}
"""The functions of each inverter."""

ROLES: dict[Part[Any, Any], str] = {HYPERSTYLE: "hypernet", HFGI: "consultant"}
"""Fields of `Inverter` that parts are loaded into; every other part is its encoder."""


def available(bundle: Bundle) -> list[InverterName]:
    """Return the inverters that a bundle has the networks of."""
    measures = perceptual.is_in(bundle)
    return [
        name
        for name, kind in INVERTERS.items()
        if (kind.parts or kind.optimises)
        and all(map(bundle.has, kind.parts))
        and (measures or not kind.optimises)
    ]


def default(bundle: Bundle) -> InverterName:
    """Return "psp", or "none" where encoders are for another generator than the bundle's."""
    wanted = INVERTERS["psp"].generator.class_name
    return "psp" if bundle.network_of(GENERATOR).class_name == wanted else "none"


def load(
    bundle: Bundle, method: InverterName, *, bfloat16: bool = False, steps: int | None = None
) -> Inverter:
    """Read the networks of a method from a bundle.

    Args:
        bundle: see `emojax.store.bundle.find`.
        method: a name in `METHODS`.
        bfloat16: compute convolutions above 4² in bfloat16; codes and pictures stay float32.
        steps: of an optimisation; None: as many as its authors make.

    Raises:
        UserError: a part is missing or damaged, or belongs to another generator than the bundle's.
    """
    entry, parts = bundle.network_of(INVERTERS[method].generator), INVERTER_PARTS[method]
    generator_hash = bundle.sha256(entry)
    for part in parts:
        wanted = bundle.metadata(part).source.get("generator_sha256")
        if wanted != generator_hash:
            raise UserError(
                f"{bundle.folder(part)} was made for another generator ({str(wanted)[:12]}) than "
                f"the bundle's ({generator_hash[:12]}): {bundle.remedy(part)}"
            )
    dtype = {"dtype": "bfloat16"} if bfloat16 else {}
    networks: dict[str, Any] = {
        ROLES.get(part, "encoder"): bundle.load(part, **dtype) for part in parts
    }
    generator = bundle.load(entry, **({"bfloat16_from": 8} if bfloat16 else {}))
    hashes = "".join(bundle.sha256(part) for part in (GENERATOR, *parts))
    if INVERTERS[method].optimises:
        found = optimisation.distances_of(bundle, method)
        hashes += method + "".join(each.made_with for each in found.values())
        networks["distances"], steps = found, optimisation.steps_of(method, steps)
    made_with = hashlib.sha256(hashes.encode()).hexdigest()
    inverter = Inverter(generator, **networks, method=method, steps=steps or 0, made_with=made_with)
    _check(inverter)
    return inverter


def _check(inverter: Inverter) -> None:
    if inverter.encoder is None:
        return
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
    describe: Callable[[str], object] | None = None,
    show: Callable[[np.ndarray, np.ndarray], object] | None = None,
) -> Inversion:
    """Return the codes of aligned faces, split over the local devices.

    Args:
        inverter: see `load`.
        pictures: [N,R,R,3], R = `inverter.resolution`; uint8, or float in [-1, 1].
        passes: HyperStyle's passes; the others have none.
        batch: faces at a time, on all devices together.
        devices: most of the local devices to use; default: all.
        advance: told the number of faces whenever some are done.
        describe: told in words how far an optimisation is.
        show: given what an optimisation should reach and what it has reached; see `Run`.

    Raises:
        ValueError: the pictures have another shape or range, or there are less than one pass or
            face.
    """
    side, pictures = inverter.resolution, images.as_float(pictures)
    if pictures.ndim != 4 or pictures.shape[1:] != (side, side, 3) or not len(pictures):
        raise ValueError(f"pictures are {list(pictures.shape)}, wanted [N, {side}, {side}, 3]")
    if passes < 1:
        raise ValueError(f"passes is {passes}, wanted at least 1")
    method = METHODS[inverter.method]
    passes = method.passes(inverter, passes)
    run = Run(batch, devices, advance, describe, show)
    codes, changes = method.find(inverter, pictures, passes, run)
    return Inversion(
        jnp.asarray(codes),
        changes,
        passes=passes,
        method=inverter.method,
        made_with=inverter.made_with,
    )


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
        inversion: N faces, or N edits of one face, whose generator is then made once where the
            method can.
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
    changes, networks, deltas = inversion.changes, inverter, None
    expand = METHODS[inverter.method].expand
    if inversion.is_shared and changes is not None and expand is not None:
        generator, deltas = expand(inverter, changes, inversion.passes)
        networks, changes = Inverter(generator), None
    elif changes is not None:
        changes = unshared(inversion).changes
    if changes is None:  # the encoder and others are not needed
        networks = Inverter(networks.generator)
    mesh = mesh_for(batch, devices)
    drawing = _drawing(mesh, inverter.method, resolution)
    return in_batches(
        lambda rows: drawing(networks, rows, deltas, inversion.passes),
        {"codes": inversion.w_plus, "changes": changes},
        batch,
        multiple_of=mesh.size,
        advance=advance,
    )


def _check_shapes(inverter: Inverter, inversion: Inversion) -> None:
    """Refuse an inversion, read from a file, whose arrays do not fit the networks it names."""
    generator = inverter.generator.config
    wanted = {"codes": (generator.n_latent, generator.style_dim)}
    found = {"codes": inversion.w_plus.shape[1:]}
    if inversion.changes is not None:
        wanted |= METHODS[inverter.method].shapes(inverter)
        found |= {name: array.shape[1:] for name, array in inversion.changes.items()}
    if found != wanted:
        off = sorted(name for name in found | wanted if found.get(name) != wanted.get(name))[:3]
        raise UserError(
            f"the inversion has {_chosen(found, off)} for each face, these networks take "
            f"{_chosen(wanted, off)}: invert the pictures again"
        )


def _chosen(shapes: dict[str, tuple[int, ...]], names: list[str]) -> dict[str, Any]:
    return {name: shapes.get(name) for name in names}


@functools.cache
def _drawing(
    mesh: jax.sharding.Mesh, method: str, resolution: int | None
) -> Callable[..., jax.Array]:
    """Compile codes [B,L,D] to pictures for a mesh, with changes of each face or of one."""
    draw = METHODS[method].draw

    def run(inverter: Inverter, rows: dict[str, Any], deltas: Any, passes: jax.Array) -> jax.Array:
        changes: Changes | None = rows["changes"]
        if changes is not None and draw is not None:
            return draw(inverter, rows["codes"], changes, passes, resolution)
        kept = {} if deltas is None else {"deltas": deltas}  # which one network only takes
        return inverter.generator.synthesis(rows["codes"], resolution=resolution, **kept)

    return over_samples(
        run, mesh, (False, True, False, False), compiler_options=options(dense=True)
    )


@program()
def encode(encoder: Encoder, pictures: jax.Array) -> jax.Array:
    """Map pictures [B,R,R,3] in [-1, 1] to codes [B,L,D]."""
    return encoder(pictures)


@program(static_argnames="resolution")
def draw(
    generator: Generator,
    codes: jax.Array,
    deltas: Sequence[jax.Array | None] | None,
    *,
    resolution: int | None = None,
) -> jax.Array:
    """Draw codes [B,L,D] with given kernel changes, as `Synthesis` takes them."""
    return generator.synthesis(codes, deltas=deltas, resolution=resolution)
