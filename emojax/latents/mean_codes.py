"""The normaliser "means": a step between the mean faces of emotions, corrected by the classifier.

Faces with emotion probabilities q have about the mean code μ + B (q − p̄), see
`emojax.latents.emotion_means`. A face keeps what sets it apart from that mean, and its base is the
face with the mean of the neutral ones in place of its own,

    C_base = C − m ⊗ B (q − e_neutral),

m being 1 in the generator's layers that shape an expression and 0 in the others. Equation 3 then
gives SC + m ⊗ B a exactly, with a = q_t − q_s. It needs the expressions of both:

    q_s = p(G(SC)),                 the classifier's probabilities of the drawn source;
    q_t ∝ exp γ (⟨log p⟩ − β log p̄),  of the target, ⟨⟩ the mean over its photograph, its
                                    reconstruction, and the mirror image of each; the photograph
                                    counts twice.

A target is posed: it was chosen for its expression, whatever the expression's share p̄ among random
faces. With β = 1 all expressions would count as equally frequent, with β = 0 as frequent as the
classifier finds them. γ makes the reading of a posed expression certain: it is the least number
from 2 to 8 that brings the reading's entropy to 0.1.

What the step misses for one person is corrected, a ← a + q_t − p(G(SC + m ⊗ B a)), a few times. The
result is SC + α m ⊗ B a. HyperStyle's kernels are the source's.
"""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from emojax.faces import images
from emojax.latents import inversion
from emojax.latents.bases import Prepared, Readings, Resources
from emojax.latents.codes import Inversion
from emojax.latents.emotion_means import EmotionMeans
from emojax.models.efficientnet import EmotionNet
from emojax.models.generator import Config
from emojax.runtime.choices import NEUTRAL
from emojax.runtime.errors import UserError
from emojax.scoring import classifier

CERTAINTY = (2.0, 8.0)
"""How much more certain than the classifier a target's expression is taken to be; gamma above."""
ENTROPY = 0.1
"""Of a reading that is certain enough, in nats."""
PHOTOGRAPH = 2.0
"""How many times a photograph counts among the views of a target."""
EVENNESS = 0.4
"""How far expressions count as equally frequent; beta above."""
CORRECTIONS = 3
"""How often the step is corrected."""
COARSEST, FINEST = 8, 32
"""Resolutions of the first and the last layers that shape an expression."""


class MeanCodes:
    """The normaliser "means"."""

    def __init__(self, given: Resources) -> None:
        """Hold the networks.

        Raises:
            UserError: the directions have mean codes of other classes than the classifier's.
            ValueError: there are no mean codes, or there is no classifier.
        """
        self.given = given
        self._means, self._classifier = _needed(given)
        config = given.inverter.generator.config
        self._mask = jnp.asarray(expression_layers(config), jnp.float32)[:, None]
        self._steps = jnp.asarray(self._means.steps, jnp.float32)

    def prepare(self, faces: Inversion, photographs: np.ndarray | None) -> Prepared:
        """Return faces with their readings, and the mean neutral face in place of their own.

        One picture a face is drawn and two are classified, with a photograph four.
        """
        drawn = self._drawn(faces)
        views, weights = [self._log(drawn), self._log(drawn[:, :, ::-1])], [1.0, 1.0]
        if photographs is not None:
            views += [self._log(photographs), self._log(photographs[:, :, ::-1])]
            weights += [PHOTOGRAPH, PHOTOGRAPH]
        told = np.average(np.asarray(jnp.stack(views), np.float64), axis=0, weights=weights)
        shown = posed(told - EVENNESS * np.log(self._means.shares))
        readings = Readings(jnp.exp(views[0]), jnp.asarray(shown, jnp.float32))
        neutral = jax.nn.one_hot(self._means.classes.index(NEUTRAL), len(self._means.classes))
        base = faces.with_codes(faces.w_plus - self._step(readings.own - neutral))
        return Prepared(faces, base, base, self, readings)

    def combine(self, source: Prepared, target: Prepared, alpha: jax.Array) -> Inversion:
        """Return SC + α m ⊗ B a; as many pictures as pairs are drawn for each correction."""
        if source.readings is None or target.readings is None:
            raise ValueError("faces without readings: wanted some that this normaliser prepared")
        wanted, own = target.readings.shown, source.readings.own
        amounts = wanted - own
        for _ in range(CORRECTIONS):
            moved = source.face.with_codes(source.face.w_plus + self._step(amounts))
            amounts += wanted - jnp.exp(self._log(self._drawn(moved)))
        return source.face.with_codes(source.face.w_plus + alpha * self._step(amounts))

    def _step(self, amounts: jax.Array) -> jax.Array:
        """Return m ⊗ B a [N,L,D] of a [N,K]."""
        w = jnp.matmul(amounts, self._steps, precision=jax.lax.Precision.HIGHEST)
        return self._mask * w[:, None]

    def _drawn(self, faces: Inversion) -> np.ndarray:
        """Return pictures uint8 [N,S,S,3], as a file would keep them."""
        given = self.given
        return images.to_uint8(inversion.synthesize(given.inverter, faces, batch=given.batch))

    def _log(self, pictures: np.ndarray) -> jax.Array:
        """Return the logarithms of the probabilities [N,K] of pictures."""
        given = self.given
        said = classifier.classify(self._classifier, pictures, crop=given.crop, batch=given.batch)
        return jax.nn.log_softmax(jnp.asarray(said.logits))


def posed(evidence: np.ndarray) -> np.ndarray:
    """Return the softmax [N,K] of γ times logits [N,K], with the γ of each row; see the module."""
    least, most = (np.full((len(evidence), 1), end) for end in CERTAINTY)
    for _ in range(30):  # by halves
        gamma = (least + most) / 2
        sharp = scipy.special.softmax(gamma * evidence, axis=1)
        enough = -scipy.special.xlogy(sharp, sharp).sum(1, keepdims=True) <= ENTROPY
        least, most = np.where(enough, least, gamma), np.where(enough, gamma, most)
    return scipy.special.softmax(most * evidence, axis=1)


def expression_layers(config: Config) -> np.ndarray:
    """Return m [L]: 1 in the layers of `COARSEST`² to `FINEST`², 0 in the others.

    StyleGANs have two layers a resolution, from 4² on. A generator that has other layers, such as
    one code for all, moves as a whole.
    """
    if config.n_latent != 2 * (config.size // 4).bit_length():
        return np.ones(config.n_latent, np.float32)
    sides = 4 * 2 ** (np.arange(config.n_latent) // 2)
    return ((sides >= COARSEST) & (sides <= FINEST)).astype(np.float32)


def _needed(given: Resources) -> tuple[EmotionMeans, EmotionNet]:
    """Return the directions' mean codes and the classifier.

    Raises:
        UserError: see `MeanCodes`; ValueError: too.
    """
    means, net = given.directions.means, given.classifier
    if means is None or net is None:
        lacking = "mean codes" if means is None else "classifier"
        raise ValueError(f"no {lacking} given, wanted by the normaliser means")
    known = tuple(name.lower() for name in net.config.classes)
    if known != means.classes or NEUTRAL not in known:
        raise UserError(
            f"the directions have mean codes of {', '.join(means.classes)}, the classifier tells "
            f"{', '.join(known)}: fit directions to scores of this classifier, which tells neutral"
        )
    return means, net
