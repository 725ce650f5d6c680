"""The emotion score against its definition."""

import numpy as np
import pytest

from emojax.metrics.emotion_score import emotion_score


def test_cosine_of_probabilities_and_of_logs():
    logits = np.log([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
    same = emotion_score(logits + 3.0, logits)  # softmax ignores a constant
    np.testing.assert_allclose(same.softmax, 1)
    np.testing.assert_allclose(same.log, 1)
    np.testing.assert_array_equal(same.top1, 1)
    to_one = emotion_score(logits, logits[0])
    p, q = np.exp(logits)
    cosine = p @ q / np.sqrt(p @ p * (q @ q))
    np.testing.assert_allclose(to_one.softmax, [1, cosine])
    p, q = logits
    np.testing.assert_allclose(to_one.log, [1, p @ q / np.sqrt(p @ p * (q @ q))])
    np.testing.assert_array_equal(to_one.top1, [1, 0])
    with pytest.raises(ValueError, match=r"logits are \[2, 3\] and \[3, 3\]"):
        emotion_score(logits, np.zeros((3, 3)))
