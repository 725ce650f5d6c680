"""The paper's Table I and its claims, beside those of an evaluation.

Source: Azak and Sahin, "Facial Emotion Editing and Transfer with Pretrained Networks".
"""

from collections.abc import Sequence

import numpy as np

from emojax.evaluation.table import ALL, ORIGINAL, Claim, PaperRow, Row
from emojax.latents.directions import Directions
from emojax.runtime.choices import EMOTIONS

METHOD = "reinvert"
"""The paper's normaliser."""
SCORES = {
    "hyperstyle": (0.371, 0.707, 0.539, 0.541, 0.733, 0.770, 0.778, 0.123),
    "psp": (0.401, 0.712, 0.565, 0.410, 0.961, 0.587, 0.644, 0.086),
}
"""The paper's emotion scores, in the order of `EMOTIONS`; 2,000 sources, one target an emotion."""
DISTANCES = {
    "hyperstyle": (36.385, 36.926, 35.868, 36.383, 34.348, 36.214, 37.336, 35.202),
    "psp": (37.590, 39.999, 39.156, 35.243, 41.131, 39.738, 34.875, 34.752),
}
"""The paper's FIDs of the same results."""
ORIGINALS = {"hyperstyle": 22.558, "psp": 26.045}
"""The paper's FIDs of plain reconstructions."""
PSP_WINS = ("anger", "contempt", "disgust", "happiness")
"""Emotions on which pSp scores higher in the paper; on the others HyperStyle does."""
NEARLY = 0.95
"""Cosine from which two directions count as one."""


def table_one(rows: Sequence[Row]) -> list[PaperRow]:
    """Return the paper's Table I beside the values of an evaluation, emotion by emotion."""
    found = {row[:3]: row.values for row in rows}
    beside = []
    for inverter, scores in SCORES.items():
        for index, emotion in enumerate(EMOTIONS):
            if values := found.get((inverter, METHOD, emotion)):
                theirs = (scores[index], DISTANCES[inverter][index])
                ours = (values["emotion_score"], values.get("frechet"))
                beside.append(PaperRow(inverter, emotion, *ours, *theirs))
        if values := found.get((inverter, ORIGINAL, ALL)):
            ours = (None, values.get("frechet"), None, ORIGINALS[inverter])
            beside.append(PaperRow(inverter, ORIGINAL, *ours))
    return beside


def claims(rows: Sequence[Row], directions: Directions) -> list[Claim]:
    """Return the paper's claims that can be judged by an evaluation and the directions it used."""
    found = {row[:3]: row.values for row in rows}
    tests = (_reconstructions, _winners, _without_reinversion)
    judged = [claim for test in tests if (claim := test(found))]
    return [*judged, *_of_directions(directions)]


Found = dict[tuple[str, str, str], dict[str, float]]


def _reconstructions(found: Found) -> Claim | None:
    hyperstyle, psp = (
        found.get((name, ORIGINAL, ALL), {}).get("frechet") for name in ("hyperstyle", "psp")
    )
    if hyperstyle is None or psp is None:
        return None
    return Claim(
        "HyperStyle reconstructs better than pSp (lower distance of the originals)",
        hyperstyle < psp,
        f"{hyperstyle:.4g} and {psp:.4g}",
    )


def _winners(found: Found) -> Claim | None:
    scores = {
        name: {e: found.get((name, METHOD, e), {}).get("emotion_score") for e in EMOTIONS}
        for name in ("hyperstyle", "psp")
    }
    pairs = {e: (scores["psp"][e], scores["hyperstyle"][e]) for e in EMOTIONS}
    known = {e: (a, b) for e, (a, b) in pairs.items() if a is not None and b is not None}
    if not known:
        return None
    agreeing = [e for e, (a, b) in known.items() if (a > b) == (e in PSP_WINS)]
    return Claim(
        f"pSp scores higher on {', '.join(PSP_WINS)}, HyperStyle on the others",
        len(agreeing) == len(known),
        f"so for {len(agreeing)} of {len(known)}",
    )


def _without_reinversion(found: Found) -> Claim | None:
    """Compare how far each way gets from the sources' own expressions: by top-1."""
    rates = [
        (found[inverter, "none", ALL]["top1"], values["top1"])
        for (inverter, result, target), values in found.items()
        if result == METHOD and target == ALL and (inverter, "none", ALL) in found
    ]
    if not rates:
        return None
    chance = 1 / len(EMOTIONS)
    return Claim(
        "without re-inversion the result is nearly the source: targets are hardly reached",
        all(none - chance < (full - chance) / 2 for none, full in rates),
        "top-1 " + ", ".join(f"{none:.3f} against {full:.3f}" for none, full in rates),
    )


def _of_directions(directions: Directions) -> list[Claim]:
    if any(name not in directions.names for name in EMOTIONS):
        return []
    units = directions.units.reshape(len(directions.names), -1).astype(np.float64)
    raw = directions.coefficients.reshape(len(directions.names), -1).astype(np.float64)
    at = directions.index
    others = -np.sum([raw[at(name)] for name in EMOTIONS if name != "neutral"], 0)
    neutral = _cosine(raw[at("neutral")], others)
    pairs = {
        (a, b): _cosine(units[at(a)], units[at(b)])
        for i, a in enumerate(EMOTIONS)
        for b in EMOTIONS[i + 1 :]
    }
    similar = pairs["fear", "surprise"]
    rank = sum(other > similar for other in pairs.values()) + 1
    return [
        Claim(
            "the neutral direction is minus the sum of the others",
            neutral > NEARLY,
            f"cosine {neutral:.4f}",
        ),
        Claim(
            "fear and surprise are similar",
            rank == 1,
            f"cosine {similar:.3f}, number {rank} of {len(pairs)} pairs",
        ),
    ]


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
