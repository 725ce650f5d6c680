"""The paper's figures that show faces, as rows of cards: Figures 3 and 6 to 10.

What exactly the paper's own show is not known here; these answer the same questions, and each
caption says what was done.
"""

import dataclasses
from typing import NamedTuple

import jax
import numpy as np

from emojax.faces import images
from emojax.faces.photo_reader import Portrait
from emojax.latents import arithmetic
from emojax.latents import normalisers as transferring
from emojax.latents.codes import Inversion
from emojax.latents.normalisers import Normaliser, Prepared, Transferrer
from emojax.models.stylegan2 import Generator
from emojax.pipeline import Pipeline
from emojax.report.cards import Card
from emojax.runtime.choices import InverterName
from emojax.scoring.classifier import EIGHT
from emojax.scoring.sampling import draw_z
from emojax.store.parts import INVERTER_PARTS

SAMPLES = 2000
"""Generated faces among which Figure 3 looks."""
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
STEPS = 7
FEW = 4
"""Targets of Figures 9 and 10."""
METHODS: dict[int, InverterName] = {7: "psp", 8: "hyperstyle"}
INVERTERS: dict[InverterName, str] = {"psp": "pSp", "hyperstyle": "HyperStyle"}
NAMES: dict[Normaliser, str] = {
    "none": "without re-inversion",
    "reinvert": "with re-inversion",
    "subspace": "subspace",
}


class Faces(NamedTuple):
    """Whose faces and whose expressions are shown.

    Attributes:
        sources: one or more.
        targets: by emotion, at least one.
        origin: a sentence on where they are from.
    """

    sources: list[Portrait]
    targets: dict[str, Portrait]
    origin: str


class Drawn(NamedTuple):
    """A figure: rows of cards for `emotion_sheets.sheet`, and what it shows."""

    rows: list[list[Card]]
    caption: str


class Gallery:
    """Draws the figures of one bundle; faces are inverted and prepared once by each method."""

    def __init__(self, room: Pipeline, faces: Faces, k: float) -> None:
        """Hold what is shown.

        Args:
            room: the bundle, opened for the inverter of Figures 6, 9 and 10.
            faces: what to show.
            k: Figure 6 moves from −k to k.
        """
        self.room, self.faces, self.k = room, faces, k
        side = room.inverter.generator.config.size
        self.sources = [images.resize(each.face, side) for each in faces.sources]
        self.targets = [images.resize(each.face, side) for each in faces.targets.values()]
        self._inverted: dict[InverterName, tuple[Pipeline, Inversion]] = {}
        self._prepared: dict[tuple[InverterName, Normaliser], tuple[Prepared, Prepared]] = {}

    def has(self, number: int) -> bool:
        """Whether the bundle has the networks of a figure."""
        method = METHODS.get(number, self.room.settings.inverter)
        return all(self.room.bundle.has(part) for part in INVERTER_PARTS[method])

    def draw(self, number: int) -> Drawn:
        """Draw Figure 3, 6, 7, 8, 9 or 10."""
        if number in METHODS:
            return self.transfers(METHODS[number])
        figures = {3: self.order, 6: self.edits, 9: self.interpolation, 10: self.normalisers}
        return figures[number]()

    def order(self) -> Drawn:
        """Figure 3: generated faces in the order of their coordinate along each direction."""
        room, names = self.room, self._emotions()
        generator = room.inverter.generator
        w = np.asarray(_codes(generator, np.arange(SAMPLES)))
        scores = room.directions.predict(w)
        rows = []
        for name in names:
            order = np.argsort(scores[:, room.directions.index(name)])
            chosen = order[np.round(np.multiply(QUANTILES, SAMPLES - 1)).astype(int)]
            codes = np.repeat(w[chosen][:, None], generator.config.n_latent, axis=1)
            pictures = room.draw(Inversion(codes, made_with=room.inverter.made_with))
            labels = [f"{name}, {share:.0%}" for share in QUANTILES]
            rows.append([Card(*each) for each in zip(labels, pictures, strict=True)])
        return Drawn(
            rows,
            f"{SAMPLES:,} generated faces were put in the order of each direction's score (rows); "
            "shown are the lowest, the highest, and those at the given shares between.",
        )

    def edits(self) -> Drawn:
        """Figure 6: one face moved along each direction."""
        room, found = self._inversion(self.room.settings.inverter)
        code, amounts, rows = found[0], np.linspace(-self.k, self.k, STEPS), []
        for name in self._emotions():
            codes = arithmetic.edit(code.w_plus, room.directions, {name: amounts})
            labels = [f"{name} {amount:+.3g}" for amount in amounts]
            pictures = room.draw(code.with_codes(codes))
            rows.append([Card(*each) for each in zip(labels, pictures, strict=True)])
        return Drawn(
            rows,
            f"Equation 1, C + k·D, for the first source: k from {-self.k:g} to {self.k:g}, in "
            "units of a direction's norm over all layers together.",
        )

    def transfers(self, method: InverterName) -> Drawn:
        """Figures 7 and 8: every source with every target's expression."""
        room, (sources, targets) = self._inversion(method)[0], self._prepare(method, "reinvert")
        blank = np.full_like(self.sources[0], 255)
        named = zip(self.faces.targets, self.targets, strict=True)
        rows = [[Card("", blank), *(Card(f"target: {name}", picture) for name, picture in named)]]
        for index in range(len(sources)):
            pictures = room.draw(transferring.combine(sources[index], targets))
            results = zip(self.faces.targets, pictures, strict=True)
            cards = [self._judged(name, picture, name) for name, picture in results]
            rows.append([self._source(index), *cards])
        return Drawn(
            rows,
            f"Equation 3 with {INVERTERS[method]} and re-inversion: the sources on the left get "
            "the expressions of the targets above. The number is the classifier's probability of "
            "the target's emotion.",
        )

    def interpolation(self) -> Drawn:
        """Figure 9: Equation 4 from the source's own expression to the target's."""
        method = self.room.settings.inverter
        sources, targets = self._prepare(method, "reinvert")
        alphas, rows = np.linspace(0, 1, STEPS - 1), []
        for index, name in self._few():
            faces = transferring.combine(sources[0], targets[index], alphas)
            pictures = self.room.draw(faces)
            steps = [
                Card(f"alpha {alpha:.1f}", picture)
                for alpha, picture in zip(alphas, pictures, strict=True)
            ]
            rows.append([self._source(0), *steps, Card(name, self.targets[index])])
        return Drawn(
            rows,
            f"Equation 4 with {INVERTERS[method]}: alpha from 0, the source's own expression, to "
            "1, that of the target on the right.",
        )

    def normalisers(self) -> Drawn:
        """Figure 10: what re-inversion is for."""
        room, rows, method = self.room, [], self.room.settings.inverter
        results: dict[Normaliser, np.ndarray] = {}
        chosen = [index for index, _ in self._few()]
        for normaliser in NAMES:
            sources, targets = self._prepare(method, normaliser)
            results[normaliser] = room.draw(transferring.combine(sources[0], targets[chosen]))
        for row, (index, name) in enumerate(self._few()):
            cards = [self._source(0), Card(f"target: {name}", self.targets[index])]
            for normaliser, pictures in results.items():
                cards.append(self._judged(NAMES[normaliser], pictures[row], name))
            rows.append(cards)
        return Drawn(
            rows,
            f"Equation 3 with {INVERTERS[method]}. Without re-inversion only the neutral "
            "coordinate moves, whatever the target shows; subspace is emojax's own normaliser. The "
            "number is the classifier's probability of the target's emotion.",
        )

    def _inversion(self, method: InverterName) -> tuple[Pipeline, Inversion]:
        """Return the bundle opened for a method, and the codes of sources and targets."""
        if method not in self._inverted:
            room, faces = self.room, self.faces
            if method != room.settings.inverter:
                room = Pipeline(dataclasses.replace(room.settings, inverter=method))
            found = room.invert(*faces.sources, *faces.targets.values()).codes
            self._inverted[method] = room, found
        return self._inverted[method]

    def _prepare(self, method: InverterName, normaliser: Normaliser) -> tuple[Prepared, Prepared]:
        """Return sources and targets, prepared."""
        if (method, normaliser) not in self._prepared:
            room, found = self._inversion(method)
            batch, count = room.settings.batch, len(self.sources)
            ready = Transferrer(room.inverter, room.directions, normaliser, batch=batch)
            both = ready.prepare(found)
            self._prepared[method, normaliser] = both[:count], both[count:]
        return self._prepared[method, normaliser]

    def _emotions(self) -> list[str]:
        """Return the emotions among the directions, or the first eight where there are none."""
        names = self.room.directions.names
        return [name.lower() for name in EIGHT if name.lower() in names] or list(names[:8])

    def _few(self) -> list[tuple[int, str]]:
        """Return some targets' places and names, neutral last: it is the least to look at."""
        named = sorted(
            enumerate(self.faces.targets), key=lambda each: each[1] == arithmetic.NEUTRAL
        )
        return named[:: max(1, len(named) // FEW)][:FEW]

    def _source(self, index: int) -> Card:
        return Card("source", self.sources[index])

    def _judged(self, label: str, picture: np.ndarray, emotion: str) -> Card:
        """Return a card that says how much of an emotion the classifier sees."""
        said = self.room.classify(picture[None]).probabilities[0]
        return Card(f"{label}: {said[self.room.classes.index(emotion)]:.0%}", picture)


@jax.jit
def _codes(generator: Generator, ids: jax.Array) -> jax.Array:
    """Map sample ids [B] to codes [B,D]."""
    return generator.mapping(draw_z(jax.random.key(0), ids, generator.config.z_dim))
