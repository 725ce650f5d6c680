"""The paper's figures that show faces, as rows of cards: Figures 3 and 6 to 10, and one more.

They show what the paper's figures show, not their exact contents, which are not published; each
caption says how the figure was made.
"""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from emojax.faces import images
from emojax.faces.photo_reader import Portrait
from emojax.latents import arithmetic, normalisers
from emojax.latents.bases import Prepared
from emojax.latents.codes import Inversion
from emojax.latents.directions import Directions
from emojax.pipeline import Faces, Pipeline
from emojax.report.cards import Card
from emojax.runtime.choices import NEUTRAL, NORMALISERS, InverterName, Normaliser
from emojax.scoring.sampling import sample_codes
from emojax.store.parts import INVERTERS

SAMPLES = 2000
"""Generated faces that Figure 3 sorts."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Of the sorted faces, those that Figure 3 shows."""
STEPS = 7
"""Pictures of a row of Figure 6; Figure 9 has one less."""
COMPARISON = 11
"""Number of the figure beyond the paper's: one edit by directions of several sources."""
FEW = 4
"""Number of targets in Figures 9 and 10."""
MOST = 12
"""Directions at most in Figures 3, 6 and 11."""
INVERTER_OF: dict[int, InverterName] = {7: "psp", 8: "hyperstyle"}
"""Figures that show one inverter whatever the settings."""
COMPARED: tuple[Normaliser, ...] = ("none", "reinvert", "subspace", "means")
"""Normalisers that Figure 10 shows."""


class ShownFaces(NamedTuple):
    """Faces that the figures show.

    Attributes:
        sources: one or more.
        targets: by emotion, at least one.
        origin: a sentence on where they come from.
    """

    sources: list[Portrait]
    targets: dict[str, Portrait]
    origin: str


class FaceFigure(NamedTuple):
    """A figure of faces.

    Attributes:
        rows: of cards, for `emojax.report.cards.sheet`.
        caption: what it shows, and how it was made.
    """

    rows: list[list[Card]]
    caption: str


class PaperFigures:
    """Draws the figures for one bundle; faces are inverted and prepared once by each inverter."""

    def __init__(
        self,
        pipe: Pipeline,
        shown: ShownFaces,
        k: float | None = None,
        compared: Mapping[str, Directions] = MappingProxyType({}),
    ) -> None:
        """Hold what is shown.

        Args:
            pipe: the bundle, opened for the inverter of Figures 6, 9 and 10.
            shown: what to show.
            k: Figure 6 moves from -k to k; None: over the usable range of each direction.
            compared: directions of several sources by their names, for the figure beyond the
                paper's.
        """
        self.pipe, self.shown, self.k, self.compared = pipe, shown, k, compared
        self.sources = [images.resize(each.face, pipe.size) for each in shown.sources]
        self.targets = [images.resize(each.face, pipe.size) for each in shown.targets.values()]
        self._pipes: dict[InverterName, tuple[Pipeline, Faces]] = {}
        self._prepared: dict[tuple[InverterName, Normaliser], tuple[Prepared, Prepared]] = {}

    def has(self, number: int) -> bool:
        """Whether the bundle has the networks of a figure."""
        inverter = INVERTER_OF.get(number, self.pipe.settings.inverter)
        return all(self.pipe.bundle.has(part) for part in INVERTERS[inverter].parts)

    def draw(self, number: int) -> FaceFigure:
        """Draw Figure 3, 6, 7, 8, 9 or 10, or `COMPARISON`."""
        if number in INVERTER_OF:
            return self.transfers(INVERTER_OF[number])
        figures = {
            3: self.order,
            6: self.edits,
            9: self.interpolation,
            10: self.normalisers,
            COMPARISON: self.comparison,
        }
        return figures[number]()

    def order(self) -> FaceFigure:
        """Draw Figure 3: generated faces sorted by their score along each direction."""
        pipe, names = self.pipe, self._directions()
        generator = pipe.inverter.generator
        w = np.asarray(sample_codes(generator, jnp.arange(SAMPLES)))
        scores = pipe.directions.predict(w)
        rows = []
        for name in names:
            order = np.argsort(scores[:, pipe.directions.index(name)])
            chosen = order[np.round(np.multiply(QUANTILES, SAMPLES - 1)).astype(int)]
            codes = np.repeat(w[chosen][:, None], generator.config.n_latent, axis=1)
            pictures = pipe.draw(Inversion(jnp.asarray(codes), made_with=pipe.inverter.made_with))
            labels = [f"{name}, {share:.0%}" for share in QUANTILES]
            rows.append([Card(*each) for each in zip(labels, pictures, strict=True)])
        return FaceFigure(
            rows,
            f"{SAMPLES:,} generated faces, sorted by the score of each direction (rows), at the "
            "quantiles above them.",
        )

    def edits(self) -> FaceFigure:
        """Draw Figure 6: one face moved along each direction."""
        pipe, found = self._inversion(self.pipe.settings.inverter)
        code, rows = found.codes[0], []
        for name in self._directions():
            ends = (-self.k, self.k) if self.k else pipe.directions.usable_range(name)
            amounts = np.linspace(*ends, STEPS).tolist()
            codes = arithmetic.edit(code.w_plus, pipe.directions, {name: amounts})
            labels = [f"{name} {amount:+.3g}" for amount in amounts]
            pictures = pipe.draw(code.with_codes(codes))
            rows.append([Card(*each) for each in zip(labels, pictures, strict=True)])
        ends = f"from {-self.k:g} to {self.k:g}" if self.k else "over each direction's usable range"
        return FaceFigure(
            rows,
            f"Equation 1, C + k·D, for the first source: k {ends}, in units of a direction's norm "
            "over all layers together.",
        )

    def transfers(self, inverter: InverterName) -> FaceFigure:
        """Draw Figure 7 or 8: every source with every target's expression."""
        pipe, _ = self._inversion(inverter)
        sources, targets = self._prepare(inverter, "reinvert")
        blank = np.full_like(self.sources[0], 255)
        named = zip(self.shown.targets, self.targets, strict=True)
        rows = [[Card("", blank), *(Card(f"target: {name}", picture) for name, picture in named)]]
        for index in range(len(sources)):
            pictures = pipe.draw(normalisers.combine(sources[index], targets))
            results = zip(self.shown.targets, pictures, strict=True)
            cards = [self._classified(name, picture, name) for name, picture in results]
            rows.append([self._source(index), *cards])
        return FaceFigure(
            rows,
            f"Equation 3 with {INVERTERS[inverter].title} and re-inversion: the sources on the "
            "left with the expressions of the targets above. The number is the probability of the "
            "target's emotion by the classifier.",
        )

    def interpolation(self) -> FaceFigure:
        """Draw Figure 9: Equation 4 from the source's own expression to the target's."""
        inverter = self.pipe.settings.inverter
        sources, targets = self._prepare(inverter, "reinvert")
        alphas, rows = np.linspace(0, 1, STEPS - 1), []
        for index, name in self._few():
            pictures = self.pipe.draw(normalisers.combine(sources[0], targets[index], alphas))
            steps = [
                Card(f"alpha {alpha:.1f}", picture)
                for alpha, picture in zip(alphas, pictures, strict=True)
            ]
            rows.append([self._source(0), *steps, Card(name, self.targets[index])])
        return FaceFigure(
            rows,
            f"Equation 4 with {INVERTERS[inverter].title}: alpha from 0, the source's own "
            "expression, to 1, that of the target on the right.",
        )

    def normalisers(self) -> FaceFigure:
        """Draw Figure 10: transfers with and without re-inversion."""
        inverter, rows = self.pipe.settings.inverter, []
        results: dict[Normaliser, np.ndarray] = {}
        chosen = [index for index, _ in self._few()]
        for normaliser in filter(self.pipe.normalisers.__contains__, COMPARED):
            sources, targets = self._prepare(inverter, normaliser)
            codes = normalisers.combine(sources[0], targets[np.array(chosen)])
            results[normaliser] = self.pipe.draw(codes)
        for row, (index, name) in enumerate(self._few()):
            cards = [self._source(0), Card(f"target: {name}", self.targets[index])]
            for normaliser, pictures in results.items():
                cards.append(self._classified(NORMALISERS[normaliser].title, pictures[row], name))
            rows.append(cards)
        return FaceFigure(
            rows,
            f"Equation 3 with {INVERTERS[inverter].title}. Without re-inversion only the neutral "
            "coordinate changes, whatever the target shows; subspace and mean codes are ours. "
            "The number is the probability of the target's emotion by the classifier.",
        )

    def comparison(self) -> FaceFigure:
        """Draw one face moved along the directions of several sources, a row for each emotion."""
        pipe, found = self._inversion(self.pipe.settings.inverter)
        code, rows = found.codes[0], []
        layers = pipe.inverter.generator.config.n_latent
        kept = {title: each.tiled(layers) for title, each in self.compared.items()}
        reference = next(iter(kept))
        for name in self._directions():
            cards = [Card(f"source, to {name}", self.sources[0])]
            for title, each in self.compared.items():
                if name not in each.names:
                    continue
                k = self.k or each.usable_range(name)[1]
                codes = arithmetic.edit(code.w_plus, each, {name: k})
                (picture,) = pipe.draw(code.with_codes(codes))
                label = f"{title} {k:+.1f}"
                if title != reference and name in self.compared[reference].names:
                    row = kept[reference][self.compared[reference].index(name)]
                    label += f", cos {np.vdot(row, kept[title][each.index(name)]):.2f}"
                cards.append(self._classified(label, picture, name))
            rows.append(cards)
        ends = f"{self.k:g}" if self.k else "the upper end of each direction's usable range"
        return FaceFigure(
            rows,
            f"Equation 1 for the first source with directions of several sources: k is {ends}. The "
            f"cosine (cos) is that with the direction of {reference}; the percentage is the "
            "probability of the emotion by the classifier.",
        )

    def _inversion(self, inverter: InverterName) -> tuple[Pipeline, Faces]:
        """Return the bundle opened for an inverter, and the inverted sources and targets."""
        if inverter not in self._pipes:
            pipe, shown = self.pipe, self.shown
            if inverter != pipe.settings.inverter:
                pipe = Pipeline(dataclasses.replace(pipe.settings, inverter=inverter))
            faces = pipe.invert(*shown.sources, *shown.targets.values())
            self._pipes[inverter] = pipe, faces
        return self._pipes[inverter]

    def _prepare(self, inverter: InverterName, normaliser: Normaliser) -> tuple[Prepared, Prepared]:
        """Return sources and targets, prepared."""
        if (inverter, normaliser) not in self._prepared:
            pipe, faces = self._inversion(inverter)
            both, count = pipe.prepare(faces, normaliser), len(self.sources)
            self._prepared[inverter, normaliser] = both[:count], both[count:]
        return self._prepared[inverter, normaliser]

    def _directions(self) -> tuple[str, ...]:
        """Return the directions that are shown."""
        return self.pipe.directions.names[:MOST]

    def _few(self) -> list[tuple[int, str]]:
        """Return places and names of some targets; neutral, which shows least, is last."""
        named = sorted(enumerate(self.shown.targets), key=lambda each: each[1] == NEUTRAL)
        return named[:: max(1, len(named) // FEW)][:FEW]

    def _source(self, index: int) -> Card:
        return Card("source", self.sources[index])

    def _classified(self, label: str, picture: np.ndarray, name: str) -> Card:
        """Return a card whose label has what the classifier says of one score, if it tells it."""
        names, classes = self.pipe.score_names, self.pipe.classes
        if name in names:
            value = float(self.pipe.classify(picture[None]).scores[0, names.index(name)])
            label += f": {value:.0%}" if name in classes else f": {value:+.2f}"
        return Card(label, picture)
