"""Whether a face is like those of a bundle: how far its reconstruction is from the photograph.

A bundle's networks reconstruct what they were trained on best, so the distances of its own random
faces, generated and inverted again, say which ones are usual. `reconstruction.json` in a bundle
keeps them for each inverter; `emojax directions` writes it.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from emojax.faces import images
from emojax.latents import inversion
from emojax.latents.codes import Inversion
from emojax.latents.inverter import Inverter
from emojax.nn.pooling import area_mean
from emojax.runtime.choices import InverterName
from emojax.runtime.devices import everywhere, mesh_for
from emojax.runtime.files import write_json
from emojax.runtime.progress import progress
from emojax.scoring.sampling import sample_codes
from emojax.store.bundle import Bundle
from emojax.store.parts import INVERTERS
from emojax.store.reader.contents import Kind, reading
from emojax.store.reader.fields import record
from emojax.store.reader.json_text import parse_object

FILE = "reconstruction.json"
BATCH = 8
"""Faces at a time."""
SAMPLES = 200
"""Random faces, at truncation 1, whose distances are measured."""
OUTSIDE = 3.3
"""A face is outside of a bundle's world from this many times `Usual.most` on. The demo's photo
domain, hats, noise and JPEG included, reaches 3.2; a colour photograph of a person 4.7 to 5.3."""

_ADVICE = {
    "drawings": (
        ", which are drawings, so what becomes of it looks drawn: get the networks for photographs "
        "with 'emojax fetch ffhq', then give --bundle ffhq"
    ),
    "photographs": (
        ", so that results may not look like this person: try a photograph from the front in even "
        "light, or --inverter hyperstyle"
    ),
}
_UNMEASURED = {
    "drawings": (
        "bundle {bundle} was trained on drawings, so what becomes of a photograph looks drawn: get "
        "the networks for photographs with 'emojax fetch ffhq', then give --bundle ffhq"
    ),
    "photographs": (
        "whether bundle {bundle} can draw {names} is not known, since it has no {file}: "
        "'emojax directions' measures it"
    ),
}
_KIND = Kind("a file of distances", "remove it, or make it again with 'emojax directions'", 2**16)


@dataclasses.dataclass(frozen=True)
class Usual:
    """Distances of a bundle's own faces from their reconstructions by one inverter.

    Attributes:
        made_with: hash of the networks, see `Inverter`.
        samples: number of faces.
        median: median distance.
        most: distance that 99 of 100 faces stay below.
    """

    made_with: str
    samples: int
    median: float
    most: float


def distances(photos: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return how far reconstructions are from their photographs: RMS of the levels, [N].

    Args:
        photos: uint8 [N,R,R,3], aligned, of the encoder's size.
        drawn: uint8 [N,S,S,3], S a multiple of R.

    Returns:
        0: the same, 1: black for white.
    """
    smaller = area_mean(drawn.astype(np.float32), photos.shape[1])
    return np.sqrt(np.square((smaller - photos) / 255).mean((1, 2, 3)))


def measure(
    inverter: Inverter,
    *,
    batch: int = BATCH,
    samples: int,
    advance: Callable[[int], object] | None = None,
) -> Usual:
    """Invert random faces of the generator and return the distances of their reconstructions.

    Args:
        inverter: generator and encoder.
        batch: faces at a time.
        samples: how many.
        advance: told the number of faces whenever some are done.
    """
    generator, found = inverter.generator, []
    for start in range(0, samples, batch):
        ids = jnp.arange(start, min(start + batch, samples), dtype=jnp.uint32)
        codes = Inversion(
            generator.w_plus(sample_codes(generator, ids, 1.0)), made_with=inverter.made_with
        )
        faces = images.to_uint8(inversion.synthesize(inverter, codes, batch=batch))
        faces = np.rint(area_mean(faces.astype(np.float32), inverter.resolution)).astype(np.uint8)
        again = inversion.invert(inverter, faces, batch=batch)
        drawn = images.to_uint8(inversion.synthesize(inverter, again, batch=batch))
        found.append(distances(faces, drawn))
        if advance:
            advance(len(faces))
    values = np.concatenate(found)
    median, most = (round(float(np.quantile(values, share)), 6) for share in (0.5, 0.99))
    return Usual(inverter.made_with, samples, median, most)


def write(file: Path, bundle: Bundle) -> None:
    """Measure every inverter that a bundle has, report progress, and write the file.

    Args:
        file: `reconstruction.json` of the bundle.
        bundle: a bundle with a generator; without an inverter nothing is written.

    Raises:
        UserError: a part is damaged, or the file cannot be written.
    """
    names = methods(bundle)
    if not names:
        return
    found, mesh = {}, mesh_for(BATCH)
    with progress("inverting own faces", SAMPLES * len(names), "faces") as shown:
        for name in names:
            inverter = everywhere(inversion.load(bundle, name), mesh)
            usual = measure(inverter, samples=SAMPLES, advance=shown.advance)
            found[name] = dataclasses.asdict(usual)
    write_json(file, found)


def methods(bundle: Bundle) -> list[InverterName]:
    """Return the inverters that a bundle has the networks of, but for optimisations."""
    return [name for name in inversion.available(bundle) if not INVERTERS[name].optimises]


def load(bundle: Bundle, inverter: Inverter) -> Usual | None:
    """Return what a bundle says of an inverter; None: nothing, or of other networks.

    Raises:
        UserError: the file is damaged.
    """
    file = bundle.file(FILE)
    if file is None:
        return None
    with reading(file, _KIND) as data:
        stored = parse_object(data).get(inverter.method)
        found = record(Usual, stored, {"": 1e6}) if isinstance(stored, dict) else None
    return found if found is not None and found.made_with == inverter.made_with else None


def unmeasured(bundle: Bundle, inverter: Inverter, names: Sequence[str]) -> list[str]:
    """Return one sentence for photographs of which a bundle cannot tell whether it can draw them.

    Args:
        bundle: one for which `load` returned None.
        inverter: that it returned None for; optimisations are not measured.
        names: the photographs; none: no sentence.
    """
    if not names or inverter.distances:
        return []
    said = " and ".join(dict.fromkeys(names)) if len(names) < 4 else "these photographs"
    return [_UNMEASURED[bundle.shows].format(bundle=bundle, names=said, file=FILE)]


def doubts(
    bundle: Bundle, usual: Usual, names: Sequence[str], photos: np.ndarray, drawn: np.ndarray
) -> list[str]:
    """Return a sentence for each photograph whose face is outside of a bundle's world.

    Args:
        bundle: whose networks inverted them.
        usual: what is usual in it; without it, see `unmeasured`.
        names: N photographs.
        photos: see `distances`.
        drawn: see `distances`.
    """
    times = distances(photos, drawn) / usual.most
    return [
        f"{name} is reconstructed {share:.1f} times as far off as the faces of bundle {bundle}"
        + _ADVICE[bundle.shows]
        for name, share in zip(names, times, strict=True)
        if share >= OUTSIDE
    ]
