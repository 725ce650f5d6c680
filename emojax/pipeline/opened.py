"""A bundle opened for one inverter: photographs in, codes, edits, transfers and emotions out."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from emojax.faces import images, photo_reader
from emojax.faces.photo_reader import Photo, Photograph, PhotoReader, Portrait
from emojax.latents import arithmetic, directions, inversion, reconstruction
from emojax.latents.bases import Prepared
from emojax.latents.codes import Inversion, concatenate
from emojax.latents.directions import Directions
from emojax.latents.inversion import Inverter
from emojax.latents.normalisers import combine
from emojax.metrics import comparison
from emojax.models.efficientnet import EmotionNet
from emojax.pipeline import provenance
from emojax.pipeline.expressions import Expressions
from emojax.pipeline.faces import Faces, deal, named
from emojax.pipeline.styling import Styling
from emojax.runtime import devices as local
from emojax.runtime.choices import InverterName, K, Projection, Unit
from emojax.runtime.errors import UserError
from emojax.runtime.flags import PipelineFlags, at_least
from emojax.scoring import classifier as classification
from emojax.scoring.sampling import sample_codes, truncation_of
from emojax.store import bundle as bundles
from emojax.store.bundle import SAMPLES, Bundle
from emojax.store.parts import EMOTION, GENERATOR


class Pipeline(Expressions, Styling):
    """A bundle opened for one inverter; `load` makes it.

    Attributes:
        settings: what it was opened with.
        bundle: where the networks come from.
        inverter: generator, encoder and what else the inverter needs.
        directions: one for each score of the classifier (or other attribute).
        classifier: the emotion classifier.
        classes: its K classes in lower case, in the order of its probabilities.
        size: side of the generator's pictures.
    """

    settings: PipelineFlags
    bundle: Bundle
    inverter: Inverter
    directions: Directions
    classifier: EmotionNet

    def __init__(self, settings: PipelineFlags, *, devices: int | None = None) -> None:
        """Load every network and place it on the devices.

        Args:
            settings: as the flags of the commands have them.
            devices: most of the local devices to use; default: all.

        Raises:
            UserError: see `load`.
        """
        settings.check()
        if devices is not None:
            at_least("devices", devices, 1)
        self.settings, self._devices = settings, devices
        self.bundle = bundles.find(settings.bundle)
        generator = self.bundle.sha256(GENERATOR)
        self.bundle.metadata(EMOTION)  # before anything slow
        self.directions = directions.chosen(self.bundle, settings.directions, generator)
        found = inversion.load(
            self.bundle, settings.inverter, bfloat16=settings.bfloat16, steps=settings.steps
        )
        mesh = local.mesh_for(settings.batch, devices)
        self.inverter = local.everywhere(found, mesh)
        self.classifier = local.everywhere(self.bundle.load(EMOTION), mesh)
        self.size = self.inverter.generator.config.size
        self._reader = PhotoReader(
            (self.inverter.resolution, self.size),
            align=settings.align,
            landmarks_file=settings.landmarks,
            dlib_model=settings.dlib_model,
        )

    @property
    def classes(self) -> tuple[str, ...]:
        """The classifier's classes in lower case, in the order of its probabilities."""
        return tuple(name.lower() for name in self.classifier.config.classes)

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of all that the classifier tells: classes, then valence and arousal if it does."""
        return self.classifier.config.scores

    @property
    def inverters(self) -> tuple[InverterName, ...]:
        """The inverters that the bundle has networks for."""
        return tuple(inversion.available(self.bundle))

    def read(self, photo: Photo, *, face: str = "only", flag: str = "--face") -> Portrait:
        """Read a photograph and cut its face out; the bundle's own samples are taken as they are.

        Args:
            photo: a path, a PIL image, an array [H,W,3] (uint8, or float in [-1, 1]), or what
                `photo_reader.read` returned.
            face: which of several: "only" (refuse several), "largest", or a number from the left.
            flag: what an error calls the choice of a face.

        Raises:
            UserError: not a picture, no face, or several and none chosen.
        """
        photo = photo_reader.read(photo)
        if self._is_sample(photo):
            return self._reader.aligned(photo)
        return self._reader(photo, face, flag=flag)

    def read_all(self, photo: Photo) -> list[Portrait]:
        """Cut out every face of a photograph, from left to right as `read` counts them.

        Raises:
            UserError: not a picture, or there is no face.
        """
        photo = photo_reader.read(photo)
        return [self.read(photo)] if self._is_sample(photo) else self._reader.all_faces(photo)

    def _is_sample(self, photo: Photograph) -> bool:
        """Say whether a picture is one of the bundle's own."""
        samples = [(folder / SAMPLES).resolve() for folder in self.bundle.folders]
        return photo.file is not None and photo.file.resolve().parent in samples

    def sample_photo(self, name: str) -> Path:
        """Return an aligned picture that comes with the bundle: "source" or "target".

        Raises:
            UserError: the bundle has none.
        """
        file = self.bundle.file(f"{SAMPLES}/{name}.png")
        if file is None:
            raise UserError(
                f"bundle {self.bundle} has no sample picture {SAMPLES}/{name}.png: give pictures "
                "of your own"
            )
        return file

    def invert(self, *photos: Photo | Portrait, face: str = "only") -> Faces:
        """Find the codes of the faces in some photographs.

        Args:
            *photos: paths, PIL images or arrays [H,W,3]; see `read`.
            face: see `read`; the same for all photographs.

        Returns:
            One face for each photograph; `me, friend = pipe.invert(a, b)` unpacks them.

        Raises:
            UserError: see `read`.
        """
        if not photos:
            raise UserError("no photographs given: wanted one or more")
        portraits = tuple(
            photo if isinstance(photo, Portrait) else self.read(photo, face=face)
            for photo in photos
        )
        return Faces(self, self._inverted(self.inverter, self._inputs(portraits)), portraits)

    def encode(self, faces: np.ndarray) -> np.ndarray:
        """Return the encoder's codes [N,L,D] of aligned faces uint8 [N,R,R,3], without passes."""
        encoder = Inverter(self.inverter.generator, self.inverter.encoder)
        return np.asarray(self._inverted(encoder, faces).w_plus)

    def sample(self, seeds: int | Iterable[int], *, truncation: float | None = None) -> Faces:
        """Return generated faces: those that `emojax sample` draws for the same seeds.

        Args:
            seeds: sample ids, one or several.
            truncation: ψ; 1 draws from the whole distribution, 0 gives the mean face. Default: 0.7,
                or 1 for a generator without a mean face.

        Raises:
            UserError: the generator has no mean face, and another truncation is asked for.
        """
        ids = jnp.asarray([seeds] if isinstance(seeds, int) else list(seeds), jnp.uint32)
        generator = self.inverter.generator
        psi = truncation_of(generator.config, truncation)
        codes = generator.w_plus(sample_codes(generator, ids, psi))
        return Faces(self, Inversion(codes, made_with=self.inverter.made_with))

    def edit(
        self,
        faces: Faces | Photo,
        k: Mapping[str, float | Sequence[float]] | None = None,
        *,
        unit: Unit = "norm",
        layers: slice = arithmetic.WHOLE,
        **emotions: float | Sequence[float],
    ) -> Faces:
        """Move faces along directions: C + Σ k·D, the paper's Equation 1.

        Args:
            faces: from `invert`, `sample` or another edit; or a photograph.
            k: how far along which direction, {"happiness": 12, "anger": -4}; one face with
                several numbers gives as many edits.
            unit: what k counts. "norm": the paper's. "layer": unit norm in every layer. "sigma":
                standard deviations among generated faces.
            layers: layers of the generator that move; default: all.
            **emotions: the same as `k`, by keyword.

        Raises:
            UserError: an unknown direction, or a range without layers.
        """
        faces = self._faces(faces)
        amounts = {**(k or {}), **emotions}
        codes = arithmetic.edit(
            faces.codes.w_plus, self.directions, amounts, layers=layers, unit=unit
        )
        return faces.with_codes(faces.codes.with_codes(codes))

    def check_directions(
        self, names: Sequence[str], *, unit: Unit = "norm", layers: slice = arithmetic.WHOLE
    ) -> None:
        """Refuse what `edit` could not move along.

        Raises:
            UserError: an unknown direction or unit, or a range without layers.
        """
        n_latent = self.inverter.generator.config.n_latent
        arithmetic.moves(self.directions, names, n_latent, layers=layers, unit=unit)

    def neutralise(
        self, faces: Faces | Photo, *, k: float = K, projection: Projection = "plain"
    ) -> Faces:
        """Remove the expression: f(C, ND) + k·ND, the paper's Equation 2.

        Args:
            faces: from `invert`, `sample` or an edit; or a photograph.
            k: the step along the neutral direction.
            projection: f, see `emojax.latents.arithmetic.neutralise`.
        """
        faces = self._faces(faces)
        codes = arithmetic.neutralise(
            faces.codes.w_plus, self.directions, k=k, projection=projection
        )
        return faces.with_codes(faces.codes.with_codes(codes))

    def combine(
        self, source: Prepared, target: Prepared, alpha: float | Sequence[float] = 1.0
    ) -> Faces:
        """Transfer between faces that `prepare` made ready; arguments as for `transfer`."""
        return Faces(self, combine(source, target, jnp.asarray(alpha)))

    def emotions(self, photo: Photo, *, face: str = "only") -> dict[str, float]:
        """Return the emotion probabilities of the face in a photograph.

        Args:
            photo: see `read`.
            face: see `read`.
        """
        scores = self.scores(photo, face=face)
        return {name: scores[name] for name in self.classes}

    def scores(self, photo: Photo, *, face: str = "only") -> dict[str, float]:
        """Return all that the classifier tells of the face in a photograph.

        Args:
            photo: see `read`.
            face: see `read`.

        Returns:
            Emotion probabilities, then valence and arousal, in about [-1, 1], if it tells them.
        """
        portrait = self.read(photo, face=face)
        scores = self.classify(portrait.face[None]).scores
        return named(np.asarray(scores)[0], self.score_names)

    def classify(self, pictures: np.ndarray) -> classification.Prediction:
        """Return what the classifier says of aligned pictures [N,S,S,3].

        Args:
            pictures: uint8, or float in [-1, 1].

        Raises:
            UserError: the pictures have another shape, dtype or range.
        """
        crop, batch = self.settings.crop, self.settings.batch
        return classification.classify(
            self.classifier, pictures, crop=crop, batch=batch, devices=self._devices
        )

    def compare(self, pictures: np.ndarray, references: np.ndarray) -> dict[str, np.ndarray]:
        """Return how alike pictures uint8 [N,S,S,3] are to others, see `Faces.compare`."""
        return comparison.compare(self._comparing, pictures, references, batch=self.settings.batch)

    @functools.cached_property
    def _comparing(self) -> comparison.Networks:
        return comparison.load(self.bundle)

    def render(self, groups: Sequence[Faces]) -> None:
        """Draw and classify several groups of faces in as few batches as possible.

        What the groups' `pictures` and `prediction` return afterwards is ready. Groups that were
        drawn before are left alone; edits that share one face's kernels are drawn by themselves.
        """
        todo = [each for each in groups if "pictures" not in each.__dict__]
        alone = [each for each in todo if each.codes.is_shared]
        together = [each for each in todo if not each.codes.is_shared]
        if together:
            drawn = self.draw(concatenate([each.codes for each in together]))
            deal(together, "pictures", drawn)
        for each in alone:
            each.__dict__["pictures"] = self.draw(each.codes)
        unread = [each for each in groups if "prediction" not in each.__dict__]
        if unread:
            said = self.classify(np.concatenate([each.pictures for each in unread]))
            deal(unread, "prediction", said)

    def doubts(self, faces: Faces) -> list[str]:
        """Return a sentence for each photograph that is not like the bundle's own faces.

        A bundle that has not measured what its own faces are like says that, once.

        Args:
            faces: as `invert` returned them.
        """
        if not faces.portraits:
            return []
        names = [each.name for each in faces.portraits]
        if self._usual is None:
            return reconstruction.unmeasured(self.bundle, self.inverter, names)
        photos = self._inputs(faces.portraits)
        return reconstruction.doubts(self.bundle, self._usual, names, photos, faces.pictures)

    @functools.cached_property
    def _usual(self) -> reconstruction.Usual | None:
        return reconstruction.load(self.bundle, self.inverter)

    def synthesize(self, codes: Inversion) -> np.ndarray:
        """Return the pictures [N,S,S,3] of some codes in about [-1, 1], float32."""
        batch, devices = self.settings.batch, self._devices
        return inversion.synthesize(self.inverter, codes, batch=batch, devices=devices)

    def draw(self, codes: Inversion) -> np.ndarray:
        """Return the pictures uint8 [N,S,S,3] of some codes."""
        return images.to_uint8(self.synthesize(codes))

    def about(self) -> dict[str, Any]:
        """Return what a result was made with, JSON-able: settings, hashes and versions."""
        return provenance.of(self.settings, self.bundle, self.inverter)

    def _inputs(self, portraits: Sequence[Portrait]) -> np.ndarray:
        """Return aligned faces as the encoder takes them, uint8 [N,R,R,3]."""
        side = self.inverter.resolution
        return np.stack([images.resize(each.face, side) for each in portraits])

    def _inverted(self, inverter: Inverter, faces: np.ndarray) -> Inversion:
        passes, batch = self.settings.passes, self.settings.batch
        return inversion.invert(inverter, faces, passes=passes, batch=batch, devices=self._devices)
