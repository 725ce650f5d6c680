"""Emotions as combinations of facial action units (FACS, EMFACS), with intensity and asymmetry."""

from typing import Final

import jax
import jax.numpy as jnp
import numpy as np

from emojax.runtime.choices import EMOTIONS

ACTION_UNITS: Final = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26)
"""FACS numbers of the sixteen action units, in the order of the rows of an activation array."""

_COMBINATIONS = {  # emotion: {action unit: activation at full intensity}
    "anger": {4: 1.0, 5: 0.6, 7: 0.8, 23: 1.0},
    "contempt": {12: 0.7, 14: 1.0},
    "disgust": {9: 1.0, 10: 0.9, 15: 0.5, 17: 0.4},
    "fear": {1: 1.0, 2: 0.7, 4: 0.6, 5: 1.0, 20: 1.0, 25: 0.8},
    "happiness": {6: 0.9, 12: 1.0, 25: 0.7},
    "neutral": {},
    "sadness": {1: 1.0, 4: 0.5, 15: 1.0, 17: 0.5},
    "surprise": {1: 1.0, 2: 1.0, 5: 0.9, 26: 1.0},
}


def emfacs_table() -> np.ndarray:
    """Return activations [8, 16] of the action units at full intensity, one row an emotion.

    The combinations are those of Friesen and Ekman's EMFACS; the activations are chosen here.
    """
    table = np.zeros((len(EMOTIONS), len(ACTION_UNITS)), np.float32)
    for emotion, units in _COMBINATIONS.items():
        for unit, activation in units.items():
            table[EMOTIONS.index(emotion), ACTION_UNITS.index(unit)] = activation
    return table


def activations(
    emotion: jax.Array,
    intensity: jax.Array,
    *,
    asymmetry: jax.Array,
    parted_lips: jax.Array,
    raised_brows: jax.Array,
    squint: jax.Array,
) -> jax.Array:
    """Return the action unit activations of a face that shows a mixture of emotions.

    Args:
        emotion: weights [8] that sum to one, in the order of `EMOTIONS`.
        intensity: strength of the whole expression, 0 (none) to 1 (full).
        asymmetry: -1 (stronger on the left of the picture) to 1 (on its right). Its sign also
            decides on which side contempt, the only unilateral emotion, shows.
        parted_lips: this person's activation of AU 25, whatever the emotion.
        raised_brows: the same of AU 1 and AU 2.
        squint: the same of AU 7.

    Returns:
        Activations [16, 2], rows as `ACTION_UNITS`, columns the left and right of the picture.
        0 is at rest, 1 is fully activated; the sum of an emotion's activation and the person's own
        may exceed 1 slightly.
    """
    side = jnp.stack([-asymmetry, asymmetry])  # [2]
    both = 1 + 0.15 * side
    one = jax.nn.sigmoid(12 * side) * 1.1
    contempt = np.arange(len(EMOTIONS)) == EMOTIONS.index("contempt")
    sides = jnp.where(contempt[:, None], one, both)  # [8, 2]
    shown = (intensity * emotion)[:, None] * sides
    units = jnp.einsum("eu,es->us", emfacs_table(), shown)
    own = {25: parted_lips, 1: raised_brows, 2: raised_brows, 7: squint}
    for unit, activation in own.items():
        units = units.at[ACTION_UNITS.index(unit)].add(activation)
    return units
