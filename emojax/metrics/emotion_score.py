"""How far a result shows the emotion it was to show: the paper's emotion score, and top-1.

The emotion score of a pair is the cosine between what the classifier says of the result and of the
target. On softmax probabilities it lies in [0, 1] and mostly asks whether the strongest emotions
agree; on log-probabilities the faint ones count as well.
"""

from typing import NamedTuple

import numpy as np


class EmotionScore(NamedTuple):
    """Scores of N pairs, float64.

    Attributes:
        softmax: [N] cosine of the probabilities, the paper's score.
        log: [N] cosine of the log-probabilities.
        top1: [N] whether the strongest emotion is the same, 0 or 1.
    """

    softmax: np.ndarray
    log: np.ndarray
    top1: np.ndarray


def emotion_score(result: np.ndarray, target: np.ndarray) -> EmotionScore:
    """Compare what a classifier says of results and of their targets.

    Args:
        result: [N,K] logits (`emotions.classify(...).logits`) of the results.
        target: [N,K] logits of the targets, or [K] or [1,K] where all have the same.

    Raises:
        ValueError: the shapes do not fit.
    """
    result, target = np.asarray(result, np.float64), np.atleast_2d(np.asarray(target, np.float64))
    if result.ndim != 2 or target.shape not in (result.shape, (1, result.shape[1])):
        raise ValueError(
            f"logits are {list(result.shape)} and {list(target.shape)}, wanted [N, K] and as many "
            "or one"
        )
    a, b = _log_softmax(result), _log_softmax(target)
    same = result.argmax(1) == target.argmax(1)
    return EmotionScore(_cosine(np.exp(a), np.exp(b)), _cosine(a, b), same.astype(np.float64))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
