"""A judge of expressions beside the classifier: action units as the attribute regressor reads them.

Results are judged by a linear discriminant that was fitted on readings of true pictures, of people
other than those whose results it judges: people with even numbers judge those with odd ones, and
the other way round.
"""

import numpy as np

FEWEST = 16
"""People from which on a discriminant is fitted."""


def recognised(readings: np.ndarray, true: np.ndarray) -> np.ndarray | None:
    """Return whether each result is told to show the emotion that it should, float64 [N,T].

    Args:
        readings: [N,T,U] units read in results that should show T emotions.
        true: [N,T,U] units read in the true pictures of the same people.

    Returns:
        1 where it is; None where the people or the emotions are too few to fit anything to.
    """
    people, emotions, width = readings.shape
    if people < FEWEST or emotions < 2:
        return None
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis  # late: takes a second

    found = np.zeros((people, emotions))
    for half in (0, 1):
        judges, judged = true[1 - half :: 2], readings[half::2]
        labels = np.tile(np.arange(emotions), len(judges))
        discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        discriminant.fit(np.float64(judges).reshape(-1, width), labels)
        told = np.asarray(discriminant.predict(np.float64(judged).reshape(-1, width)))
        found[half::2] = told.reshape(len(judged), emotions) == np.arange(emotions)
    return found
