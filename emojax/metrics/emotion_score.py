"""Emotion score and top-1 accuracy of transferred expressions.

The emotion score of the paper is the cosine similarity between the classifier's softmax
probabilities for the result and for the target; it lies in [0, 1] and is dominated by the most
probable emotions. The same similarity of log-probabilities gives weight to improbable ones, too.
"""

from typing import NamedTuple

import numpy as np


class EmotionScore(NamedTuple):
    """Scores of N pairs, float64.

    Attributes:
        softmax: [N] cosine similarity of the probabilities, the paper's emotion score.
        log: [N] cosine similarity of the log-probabilities.
        top1: [N] 1 where the most probable emotion is the same, else 0.
    """

    softmax: np.ndarray
    log: np.ndarray
    top1: np.ndarray


def emotion_score(result: np.ndarray, target: np.ndarray) -> EmotionScore:
    """Compare a classifier's logits of results and of their targets.

    Args:
        result: [N,K] logits of the results.
        target: [N,K] logits of the targets, or [K] or [1,K] for a target they share.

    Raises:
        ValueError: the shapes do not fit.
    """
    result, target = np.asarray(result, np.float64), np.atleast_2d(np.asarray(target, np.float64))
    if result.ndim != 2 or target.shape not in (result.shape, (1, result.shape[1])):
        raise ValueError(
            f"logits are {list(result.shape)} and {list(target.shape)}, wanted [N, K] and [N, K], "
            "[1, K] or [K]"
        )
    a, b = _log_softmax(result), _log_softmax(target)
    same = result.argmax(1) == target.argmax(1)
    return EmotionScore(_cosine(np.exp(a), np.exp(b)), _cosine(a, b), same.astype(np.float64))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
