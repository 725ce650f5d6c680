"""Latent space of the drawn faces: 64 normal numbers to identity, pose, light and emotion."""

from typing import Final, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from emojax.demo.drawing.expressions import EMOTIONS, activations
from emojax.runtime.errors import UserError

LATENT_SIZE: Final = 64
"""Number of entries of a latent; each of them changes the picture."""


class Identity(NamedTuple):
    """All factors of a face but its emotion, scalars.

    Lengths are in half sides of a picture at zoom 1, angles in radians; `FACTORS` has the ranges.
    """

    # this person's own activations, whatever the emotion
    asymmetry: jax.Array
    parted_lips: jax.Array
    raised_brows: jax.Array
    squint: jax.Array
    # pose
    gaze_x: jax.Array
    gaze_y: jax.Array
    yaw: jax.Array
    pitch: jax.Array
    roll: jax.Array
    zoom: jax.Array
    # light and background
    light_x: jax.Array
    light_y: jax.Array
    light_warmth: jax.Array
    backdrop_red: jax.Array
    backdrop_blue: jax.Array
    backdrop_lightness: jax.Array
    backdrop_slope: jax.Array
    # skin
    skin_tone: jax.Array
    skin_warmth: jax.Array
    blush: jax.Array
    freckles: jax.Array
    wrinkles: jax.Array
    # head
    head_width: jax.Array
    forehead: jax.Array
    jaw: jax.Array
    chin: jax.Array
    cheeks: jax.Array
    ears: jax.Array
    neck: jax.Array
    # eyes and brows
    eye_size: jax.Array
    eye_distance: jax.Array
    eye_tilt: jax.Array
    iris_blue: jax.Array
    iris_lightness: jax.Array
    lid_crease: jax.Array
    makeup: jax.Array
    brow_thickness: jax.Array
    brow_height: jax.Array
    brow_arch: jax.Array
    # nose and mouth
    nose_length: jax.Array
    nose_width: jax.Array
    nose_bridge: jax.Array
    mouth_width: jax.Array
    lip_fullness: jax.Array
    lip_redness: jax.Array
    # hair
    hair_tone: jax.Array
    hair_redness: jax.Array
    hair_length: jax.Array
    hair_volume: jax.Array
    hair_recession: jax.Array
    hair_curl: jax.Array
    hair_fringe: jax.Array
    hair_parting: jax.Array
    beard: jax.Array
    # things worn
    glasses: jax.Array
    clothes: jax.Array
    hat: jax.Array
    earrings: jax.Array


class Params(NamedTuple):
    """Everything that the renderer needs to draw a face; also its labels.

    Attributes:
        identity: identity, pose, light and background.
        emotion: weights [8] that sum to one, in the order of `EMOTIONS`: the soft label.
        intensity: strength of the expression, 0 to 1.
        action_units: activations [16, 2], rows as `ACTION_UNITS`, columns left and right of the
            picture. The renderer reads the expression from them alone.
    """

    identity: Identity
    emotion: jax.Array
    intensity: jax.Array
    action_units: jax.Array


class Factor(NamedTuple):
    """Map from one latent entry to one factor.

    Without a threshold the factor is uniform between `low` and `high`. With one it is a sigmoid at
    the threshold: most people have no beard.
    """

    name: str
    low: float
    high: float
    threshold: float | None = None
    sharpness: float = 4.0

    def __call__(self, z: jax.Array) -> jax.Array:
        """Return the factor for a standard normal entry, of the same shape."""
        if self.threshold is None:
            share = jax.scipy.stats.norm.cdf(z)
        else:
            share = jax.nn.sigmoid(self.sharpness * (z - self.threshold))
        return self.low + (self.high - self.low) * share


FACTORS: Final = (
    Factor("asymmetry", -1.0, 1.0),
    Factor("parted_lips", 0.0, 0.35, 1.0, 2.5),
    Factor("raised_brows", -0.15, 0.2),
    Factor("squint", -0.1, 0.25),
    Factor("gaze_x", -0.03, 0.03),
    Factor("gaze_y", -0.012, 0.012),
    Factor("yaw", -0.10, 0.10),
    Factor("pitch", -0.05, 0.05),
    Factor("roll", -0.09, 0.09),
    Factor("zoom", 1.08, 1.20),
    Factor("light_x", -0.9, 0.9),
    Factor("light_y", 0.1, 0.9),
    Factor("light_warmth", -0.08, 0.08),
    Factor("backdrop_red", -0.16, 0.16),
    Factor("backdrop_blue", -0.16, 0.16),
    Factor("backdrop_lightness", 0.2, 0.68),
    Factor("backdrop_slope", -0.2, 0.2),
    Factor("skin_tone", 0.0, 1.0),
    Factor("skin_warmth", -0.06, 0.06),
    Factor("blush", 0.0, 1.0),
    Factor("freckles", 0.0, 1.0, 1.2, 3.0),
    Factor("wrinkles", 0.0, 1.0, 0.5, 2.0),
    Factor("head_width", 0.48, 0.56),
    Factor("forehead", 0.66, 0.74),
    Factor("jaw", -0.15, 0.22),
    Factor("chin", 0.72, 0.81),
    Factor("cheeks", 0.0, 1.0),
    Factor("ears", 0.75, 1.3),
    Factor("neck", 0.27, 0.41),
    Factor("eye_size", 0.92, 1.22),
    Factor("eye_distance", 0.215, 0.26),
    Factor("eye_tilt", -0.02, 0.04),
    Factor("iris_blue", 0.0, 1.0, 0.3),
    Factor("iris_lightness", 0.0, 1.0),
    Factor("lid_crease", 0.0, 1.0),
    Factor("makeup", 0.0, 1.0, 0.6, 2.5),
    Factor("brow_thickness", 0.019, 0.044),
    Factor("brow_height", -0.02, 0.03),
    Factor("brow_arch", 0.0, 0.06),
    Factor("nose_length", -0.035, 0.03),
    Factor("nose_width", 0.08, 0.125),
    Factor("nose_bridge", 0.6, 1.3),
    Factor("mouth_width", 0.165, 0.215),
    Factor("lip_fullness", 0.6, 1.35),
    Factor("lip_redness", 0.0, 1.0),
    Factor("hair_tone", 0.0, 1.0),
    Factor("hair_redness", -1.0, 1.0),
    Factor("hair_length", 0.0, 1.0, 0.0, 2.5),
    Factor("hair_volume", 0.0, 1.0),
    Factor("hair_recession", 0.0, 1.0, 1.1, 3.5),
    Factor("hair_curl", 0.0, 1.0, 0.5, 2.5),
    Factor("hair_fringe", 0.0, 1.0, 0.3, 2.5),
    Factor("hair_parting", -1.0, 1.0),
    Factor("beard", 0.0, 1.0, 0.8, 3.0),
    Factor("glasses", 0.0, 1.0, 0.9, 6.0),
    Factor("clothes", 0.0, 1.0),
)
"""Identity factors; factor `i` comes from entry `8 + i` of the latent."""

# Entries 0-6 of the latent are logits of seven emotions before scale and offset; neutral's is 0.
# The offsets are fitted so that the strongest emotion is happiness in 42 % of faces, neutral in
# 35 %, sadness in 8 %, surprise in 6 %, anger in 5 %, disgust in 2.5 %, fear in 0.8 % and contempt
# in 0.7 %: the order of the paper's Figure 4 for FFHQ.
EMOTION_OFFSETS = {
    "anger": -1.38,
    "contempt": -2.22,
    "disgust": -1.7,
    "fear": -2.17,
    "happiness": -0.06,
    "sadness": -1.14,
    "surprise": -1.29,
}
_EMOTION_SHARPNESS = 4.0  # logits a unit of z: soft labels, mostly close to one emotion
_INTENSITY = Factor("intensity", 0.6, 1.0)  # entry 7


def sample(key: jax.Array) -> jax.Array:
    """Draw a standard normal latent [64]."""
    return jax.random.normal(key, (LATENT_SIZE,))


def emotion_weights(latent: jax.Array) -> jax.Array:
    """Return the emotion weights [8] of a latent [64]; they sum to one."""
    offsets = np.array(list(EMOTION_OFFSETS.values()), np.float32)
    scaled = _EMOTION_SHARPNESS * (latent[: len(offsets)] + offsets)
    logits = jnp.insert(scaled, EMOTIONS.index("neutral"), 0.0)
    return jax.nn.softmax(logits)


def params(latent: jax.Array) -> Params:
    """Return the face of a latent [64], differentiable in each entry.

    Raises:
        UserError: the latent has another shape.
    """
    if latent.shape != (LATENT_SIZE,):
        raise UserError(
            f"a latent of the demo has shape ({LATENT_SIZE},), not {latent.shape}; "
            "use jax.vmap for a batch"
        )
    first = len(EMOTION_OFFSETS) + 1
    factors = {factor.name: factor(latent[first + i]) for i, factor in enumerate(FACTORS)}
    none = jnp.zeros(())
    identity = Identity(**factors, hat=none, earrings=none)
    intensity = _INTENSITY(latent[first - 1])
    return express(identity, emotion_weights(latent), intensity)


def express(identity: Identity, emotion: jax.Array, intensity: jax.Array) -> Params:
    """Return a person with an expression.

    Args:
        identity: the person.
        emotion: weights [8] that sum to one.
        intensity: 0 to 1.
    """
    units = activations(
        emotion,
        intensity,
        asymmetry=identity.asymmetry,
        parted_lips=identity.parted_lips,
        raised_brows=identity.raised_brows,
        squint=identity.squint,
    )
    return Params(identity, emotion, intensity, units)


def with_emotion(face: Params, emotion: str, intensity: float | jax.Array = 1.0) -> Params:
    """Return the same person, pose and light with another emotion: ground truth of a transfer.

    Args:
        face: any face.
        emotion: one of `EMOTIONS`.
        intensity: 0 to 1.

    Raises:
        UserError: unknown emotion.
    """
    if emotion not in EMOTIONS:
        raise UserError(f"unknown emotion {emotion!r}; choose one of {', '.join(EMOTIONS)}")
    weights = jax.nn.one_hot(EMOTIONS.index(emotion), len(EMOTIONS))
    return express(face.identity, weights, jnp.asarray(intensity, weights.dtype))


def sample_balanced(key: jax.Array) -> Params:
    """Draw a face; each of the eight emotions is the strongest one equally often.

    Among the latents of `sample` contempt is the strongest in one of 140. The other emotions keep
    some weight, so that labels are soft as those of `params`.
    """
    latent_key, emotion_key, weight_key = jax.random.split(key, 3)
    face = params(sample(latent_key))
    chosen = jax.nn.one_hot(jax.random.randint(emotion_key, (), 0, len(EMOTIONS)), len(EMOTIONS))
    share = jax.random.uniform(weight_key, minval=0.7, maxval=1.0)
    others = face.emotion * (1 - chosen) + 1e-6
    weights = share * chosen + (1 - share) * others / others.sum()
    return express(face.identity, weights, face.intensity)
