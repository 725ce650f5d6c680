"""The named choices that flags and functions share; needs no jax, so that `--help` is quick."""

from typing import Literal, NamedTuple

EMOTIONS = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "neutral",
    "sadness",
    "surprise",
)
"""The eight emotions of the paper, as directions and flags name them."""

DEFAULT_BUNDLE = "demo"
"""Name of the bundle that commands use without `--bundle`."""

NEUTRAL = "neutral"
"""The direction that takes the expression away."""

K = 20.0
"""The paper's step to the neutral face, in units of "norm"."""

InverterName = Literal["psp", "hyperstyle", "hfgi", "projection-w", "projection", "pti", "none"]
"""How a photograph is inverted, see `INVERTER_LABELS`."""

INVERTER_LABELS: dict[InverterName, str] = {
    "psp": "psp: one encoder pass to W+, quick (also e4e)",
    "hyperstyle": "hyperstyle: a code in W and a refined generator, closer to the person, slower",
    "hfgi": "hfgi: a code in W+ and the details it leaves out, aligned to each edit, quick",
    "projection-w": "projection-w: a code in W by optimisation, minutes",
    "projection": "projection: codes in W+ and noise by optimisation, minutes",
    "pti": "pti: a generator tuned to the person, minutes",
    "none": "none: generated faces only",
}
"""What each inverter does, for lists of choices."""

Projection = Literal["plain", "plane", "layer"]
"""How Equation 2 removes the neutral coordinate, see `emojax.latents.arithmetic.neutralise`."""

Normaliser = Literal["reinvert", "none", "subspace", "subspace-scores", "means"]
"""What Equation 3 subtracts and adds, see `emojax.latents.normalisers`."""


class NormaliserKind(NamedTuple):
    """What there is to say of a normaliser beside what it computes.

    Attributes:
        label: what it does, for lists of choices.
        title: over a picture of a result.
        projections: that go with it.
        steps: whether Equation 2's k counts.
        inverts: whether faces are inverted again, which gives each other kernels where the
            inverter refines them.
        reads: whether it reads expressions with the classifier; it then needs the mean codes that
            are kept with directions.
    """

    label: str
    title: str
    projections: tuple[Projection, ...]
    steps: bool = False
    inverts: bool = False
    reads: bool = False


NORMALISERS: dict[Normaliser, NormaliserKind] = {
    "reinvert": NormaliserKind(
        "reinvert: draw the neutral face and invert it again, as the paper does",
        "with re-inversion",
        ("plain", "plane", "layer"),
        steps=True,
        inverts=True,
    ),
    "none": NormaliserKind(
        "none: move along the neutral direction only",
        "without re-inversion",
        ("plain", "plane", "layer"),
        steps=True,
    ),
    "subspace": NormaliserKind(
        "subspace: replace what lies in the span of the emotions", "subspace", ("plain", "layer")
    ),
    "subspace-scores": NormaliserKind(
        "subspace-scores: the same, by how faces vary", "subspace-scores", ("plain", "layer")
    ),
    "means": NormaliserKind(
        "means: step between the emotions' mean faces until the classifier sees the target's",
        "mean codes",
        ("plain", "plane", "layer"),
        reads=True,
    ),
}
"""The normalisers."""

FitMethod = Literal["svr", "extremes", "pca", "tensor"]
"""How directions are fitted to scored samples, see `emojax.latents.fit_directions`."""

Truncation = Literal["sequential", "classical"]
"""How a decomposition is cut to fewer ranks, see `emojax.latents.hosvd.decompose`."""

Unit = Literal["norm", "layer", "sigma"]
"""What k counts, see `emojax.latents.directions.Directions.unit_lengths`."""

Crop = Literal["face", "full"]
"""What the classifier sees of a picture, see `emojax.scoring.classifier.preprocess`."""

Align = Literal["auto", "always", "never"]
"""Which pictures are aligned as FFHQ was, see `emojax.faces.photo_reader`."""

PasteForm = Literal["change", "crop"]
"""What goes back into a photograph, see `emojax.faces.paste`. "change": what an edit changed is
added to the photograph within the face. "crop": the generated face replaces the whole square."""
