"""What a pipeline gives back: faces as codes, drawn and classified when they are asked for."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np
from PIL import Image

from emojax.faces import images
from emojax.faces.paste import put_back
from emojax.faces.photo_reader import Portrait
from emojax.latents.codes import Inversion
from emojax.runtime.choices import PasteForm
from emojax.runtime.errors import UserError
from emojax.scoring.classifier import Prediction


class Renderer(Protocol):
    """What draws and classifies faces: a pipeline."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The classifier's classes."""
        ...

    @property
    def score_names(self) -> tuple[str, ...]:
        """Names of what the classifier tells."""
        ...

    def draw(self, codes: Inversion) -> np.ndarray:
        """Return the pictures uint8 [N,S,S,3] of some codes."""
        ...

    def classify(self, pictures: np.ndarray) -> Prediction:
        """Return what the classifier says of pictures uint8 [N,S,S,3]."""
        ...

    def compare(self, pictures: np.ndarray, references: np.ndarray) -> dict[str, np.ndarray]:
        """Return how alike pictures uint8 [N,S,S,3] are to others."""
        ...

    def doubts(self, faces: "Faces") -> list[str]:
        """Return a sentence for each photograph that is not like the bundle's own faces."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Faces(Sequence["Faces"]):
    """One or more faces in the generator's latent space; a sequence of single ones.

    Attributes:
        pipeline: what draws and classifies them.
        codes: their codes, for HyperStyle with what refines the generator's kernels.
        portraits: the photographs they come from, one for each face or one for all; empty where
            they come from none.
        inverted: these faces before any edit, as they were found in their photographs; None where
            they are that themselves.
    """

    pipeline: Renderer = dataclasses.field(repr=False)
    codes: Inversion
    portraits: tuple[Portrait, ...] = ()
    inverted: "Faces | None" = dataclasses.field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int | slice) -> "Faces":  # pyright: ignore[reportIncompatibleMethodOverride] - a part is of the same type
        """Return one face, or some; pictures that are drawn already come along."""
        rows = range(len(self))[index]
        rows = [rows] if isinstance(rows, int) else list(rows)
        portraits, inverted = self.portraits, self.inverted
        if len(portraits) == len(self):
            portraits = tuple(portraits[row] for row in rows)
        if inverted is not None and len(inverted) == len(self):
            inverted = inverted[index]
        part = Faces(self.pipeline, self.codes[rows], portraits, inverted)
        for name in ("pictures", "prediction"):
            if name in self.__dict__:
                part.__dict__[name] = jax.tree.map(lambda a: a[rows], self.__dict__[name])
        return part

    def __iter__(self) -> Iterator["Faces"]:
        return (self[row] for row in range(len(self)))

    def with_codes(self, codes: Inversion) -> "Faces":
        """Return faces of the same photographs with other codes."""
        inverted = self if self.inverted is None else self.inverted
        return Faces(self.pipeline, codes, self.portraits, inverted)

    def mixed(self, style: "Faces", layers: slice) -> "Faces":
        """Return the faces with the codes of another in some layers: StyleGAN's style mixing.

        Args:
            style: whose codes the layers get; as many faces, or one.
            layers: of the generator; the first ones draw pose and shape, the last ones colours.
        """
        given = self.codes.w_plus
        codes = given.at[:, layers].set(style.codes.w_plus[:, layers])
        return self.with_codes(self.codes.with_codes(codes))

    def showing(self, pictures: np.ndarray) -> "Faces":
        """Return the same faces with pictures uint8 [N,S,S,3] in place of the drawn ones."""
        shown = self.with_codes(self.codes)
        shown.__dict__["pictures"] = pictures
        return shown

    @property
    def w_plus(self) -> np.ndarray:
        """Codes [N,L,D], float32."""
        return np.asarray(self.codes.w_plus)

    @functools.cached_property
    def pictures(self) -> np.ndarray:
        """The faces as the generator draws them, uint8 [N,S,S,3]."""
        return self.pipeline.draw(self.codes)

    @functools.cached_property
    def prediction(self) -> Prediction:
        """What the classifier says of the pictures: logits and probabilities [N,K], features."""
        return self.pipeline.classify(self.pictures)

    @property
    def probabilities(self) -> np.ndarray:
        """Emotion probabilities [N,K], in the order of `pipeline.classes`."""
        return np.asarray(self.prediction.probabilities)

    @property
    def images(self) -> list[Image.Image]:
        """The faces as PIL images."""
        return [Image.fromarray(picture) for picture in self.pictures]

    @property
    def image(self) -> Image.Image:
        """The one face as a PIL image.

        Raises:
            UserError: there are several.
        """
        return self._only("images", lambda: self.images)[0]

    def compare(self, reference: "Faces | None" = None) -> dict[str, np.ndarray]:
        """Measure how alike the faces are to others, picture by picture.

        Args:
            reference: as many faces, or one that all are compared with; default: the photographs
                that these faces come from.

        Returns:
            [N] each: `l2` and `psnr`; from pictures of 176 pixels on `ms_ssim`, nan where the
            contrasts are opposed; with the bundle's networks for them `lpips`, the smaller the
            more alike, and `identity`, 1 for the same person. See `emojax.metrics.comparison`.

        Raises:
            UserError: the faces come from no photographs, or the numbers do not go together.
        """
        if reference is not None:
            wanted = reference.pictures
        elif self.portraits:
            side = self.pictures.shape[1]
            wanted = np.stack([images.resize(each.face, side) for each in self.portraits])
        else:
            raise UserError("these faces come from no photograph: give faces to compare them with")
        if len(wanted) not in (1, len(self)):
            raise UserError(f"there are {len(wanted)} to compare {len(self)} with: wanted as many")
        return self.pipeline.compare(self.pictures, np.broadcast_to(wanted, self.pictures.shape))

    def paste(self, form: PasteForm = "change") -> list[np.ndarray]:
        """Put the faces back into their photographs.

        Args:
            form: "change" adds what the edit changed to the photograph, so that hair, background,
                colours and grain stay the photograph's. "crop" replaces the whole aligned square.

        Returns:
            uint8 [H,W,3] for each face, the size of its photograph.

        Raises:
            UserError: the faces come from no photographs.
        """
        if not self.portraits:
            raise UserError("these faces come from no photograph: wanted some of invert")
        before = self._before
        portraits, drawn = self._for_each(self.portraits), self._for_each(list(before.pictures))
        return [
            put_back(portrait, edited, unedited, form)
            for portrait, edited, unedited in zip(portraits, self.pictures, drawn, strict=True)
        ]

    @property
    def pasted(self) -> Image.Image:
        """The photograph of the one face as a PIL image, with what the edit changed.

        Raises:
            UserError: there are several faces, or they come from no photograph.
        """
        return Image.fromarray(self._only("paste()", self.paste)[0])

    @property
    def doubts(self) -> list[str]:
        """A sentence for each photograph whose face the bundle cannot draw; empty: it can draw all.

        The bundle's own faces say how far a reconstruction may be from its photograph.
        """
        return self.pipeline.doubts(self._before)

    @property
    def _before(self) -> "Faces":
        """These faces before any edit."""
        return self if self.inverted is None else self.inverted

    def _for_each(self, rows: Sequence[Any]) -> list[Any]:
        """Return rows, of which there is one for each face or one for all, for each face."""
        return list(rows) if len(rows) == len(self) else [rows[0]] * len(self)

    @property
    def emotions(self) -> dict[str, float]:
        """Emotion probabilities of the one face by name.

        Raises:
            UserError: there are several.
        """
        said = self._only("probabilities", lambda: self.probabilities)
        return named(said[0], self.pipeline.classes)

    @property
    def scores(self) -> dict[str, float]:
        """All that the classifier tells of the one face by name.

        Emotion probabilities, then valence and arousal in about [-1, 1] if it tells them.

        Raises:
            UserError: there are several.
        """
        said = self._only("prediction.scores", lambda: np.asarray(self.prediction.scores))
        return named(said[0], self.pipeline.score_names)

    def _only(self, name: str, get: Callable[[], Any]) -> Any:
        if len(self) != 1:
            raise UserError(
                f"there are {len(self)} faces: take one of them, as faces[0], or all, as "
                f"faces.{name}"
            )
        return get()


def named(values: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Return numbers by name, as they go into a JSON file."""
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}


def deal(groups: Sequence[Faces], name: str, rows: Any) -> None:
    """Give each group its rows of an array, or of a tree of arrays, in order."""
    start = 0
    for group in groups:
        part = slice(start, start + len(group))
        group.__dict__[name] = jax.tree.map(lambda array, part=part: array[part], rows)
        start += len(group)
