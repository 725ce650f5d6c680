"""Write a stage of a bundle as a StableHLO artefact, which runs without emojax.

    emojax export draw --bundle ffhq --out draw.jaxexport
    emojax export edit --bundle ffhq --out edit.jaxexport
    emojax export weights psp --bundle ffhq --out psp.safetensors

The last writes weights under their published names, see 'emojax export weights --help'.
The artefact holds the program and its weights, for CPU and NVIDIA GPUs and any number of faces. jax
alone runs it:

    stage = jax.export.deserialize(open("edit.jaxexport", "rb").read())
    pictures = stage.call(photographs, k)

draw: codes [N,L,D] to pictures [N,S,S,3]. classify: pictures [N,S,S,3] to probabilities [N,K].
encode: aligned pictures [N,R,R,3] to codes [N,L,D] of the bundle's pSp or e4e encoder. edit:
aligned pictures and k [N,E], one for each of the bundle's directions, to pictures. Pictures are
float32 in [-1, 1]; faces are computed one after the other, so that memory does not grow with their
number. Needs flatbuffers (pip install "emojax[export]"), here and where the artefact is read.
"""

import dataclasses
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from emojax.runtime.choices import DEFAULT_BUNDLE, Crop, Unit
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, replacing
from emojax.runtime.progress import progress
from emojax.store import bundle
from emojax.store.bundle import Bundle
from emojax.store.parts import EMOTION, GENERATOR, PSP, Part

if TYPE_CHECKING:  # jax is imported after the flags have been checked
    import jax

Stage = Literal["draw", "classify", "encode", "edit"]

PARTS: dict[Stage, tuple[Part[Any, Any], ...]] = {
    "draw": (GENERATOR,),
    "classify": (GENERATOR, EMOTION),
    "encode": (GENERATOR, PSP),
    "edit": (GENERATOR, PSP),
}
"""The parts that each stage needs; classify takes pictures of the generator's size."""

PLATFORMS = ("cpu", "cuda")


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax export`."""

    stage: tyro.conf.Positional[Stage]
    """draw, classify, encode or edit."""
    bundle: str = DEFAULT_BUNDLE
    """Name or folder of a bundle."""
    out: Path = Path("stage.jaxexport")
    """The file to write."""
    crop: Crop = "face"
    """What classify sees of a picture."""
    unit: Unit = "norm"
    """What k of edit counts, as in emojax edit."""


def main(options: Options) -> None:
    """Export the stage and print what it takes and gives."""
    place = bundle.find(options.bundle)
    place.check(*PARTS[options.stage])
    if importlib.util.find_spec("flatbuffers") is None:
        raise UserError("an export needs flatbuffers: run 'pip install \"emojax[export]\"'")
    if options.out.is_dir():
        raise UserError(f"--out is the folder {options.out}: wanted a file in it")
    with progress(f"exporting {options.stage}"):
        function, inputs, names = _stage(place, options)
        data = exported(function, inputs)
    make_folder(options.out.parent)
    with replacing(options.out) as aside:
        aside.write_bytes(data)
    print(f"{options.stage}, {len(data) / 1e6:,.0f} MB, for {', '.join(PLATFORMS)}: {options.out}")
    shapes = ", ".join(f"[N, {', '.join(map(str, shape))}]" for shape in inputs)
    print(f"takes float32 {shapes}")
    if names:
        print(f"{'k counts along' if options.stage == 'edit' else 'gives'} {', '.join(names)}")


def exported(function: "Callable[..., jax.Array]", inputs: Sequence[tuple[int, ...]]) -> bytes:
    """Return the serialised program of a function of float32 arrays, for any number of rows.

    Args:
        function: of arrays with one row each; what it closes over becomes part of the program.
        inputs: shape of a row of each argument.
    """
    import jax
    import jax.numpy as jnp
    from jax import export

    def rows(*arrays: jax.Array) -> jax.Array:
        return jax.lax.map(lambda each: function(*(a[None] for a in each))[0], arrays)

    (count,) = export.symbolic_shape("n")
    shapes = [jax.ShapeDtypeStruct((count, *shape), jnp.float32) for shape in inputs]
    return bytes(export.export(jax.jit(rows), platforms=PLATFORMS)(*shapes).serialize())


def _stage(
    place: Bundle, options: Options
) -> "tuple[Callable[..., jax.Array], list[tuple[int, ...]], tuple[str, ...]]":
    """Return the function of a stage, the shapes of its inputs, and what their last axis names."""
    return {"draw": _draw, "classify": _classify, "encode": _encode, "edit": _edit}[options.stage](
        place, options
    )


def _draw(place: Bundle, _: Options) -> Any:
    generator = place.load(GENERATOR)
    shape = (generator.config.n_latent, generator.config.style_dim)
    return generator.synthesis, [shape], ()


def _classify(place: Bundle, options: Options) -> Any:
    from emojax.scoring import classifier

    emotion, side = place.load(EMOTION), place.config(GENERATOR).size
    run = lambda pictures: classifier.probabilities(emotion, pictures, crop=options.crop)  # noqa: E731
    names = tuple(name.lower() for name in emotion.config.classes)
    return run, [(side, side, 3)], names


def _encode(place: Bundle, _: Options) -> Any:
    encoder = place.load(PSP)
    side = encoder.config.resolution
    return encoder, [(side, side, 3)], ()


def _edit(place: Bundle, options: Options) -> Any:
    import jax.numpy as jnp

    from emojax.latents import arithmetic, directions, inversion

    inverter = inversion.load(place, "psp")
    known = directions.load(place, place.sha256(GENERATOR))
    n_latent, side = inverter.generator.config.n_latent, inverter.resolution
    steps = arithmetic.moves(known, known.names, n_latent, unit=options.unit)

    def run(pictures: "jax.Array", k: "jax.Array") -> "jax.Array":
        assert inverter.encoder is not None  # pSp has one
        codes = inverter.encoder(pictures)
        return inverter.generator.synthesis(codes + jnp.einsum("be,eld->bld", k, steps))

    return run, [(side, side, 3), (len(known.names),)], known.names


if __name__ == "__main__":
    cli(main)
