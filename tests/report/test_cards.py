"""Sheets of cards: pictures, captions and bars where they belong."""

import numpy as np
import pytest

from emojax.report import cards
from emojax.report.cards import Card

BLUE = (0, 0, 255)
NAMES = ("anger", "neutral")


def card(label: str = "one", probabilities: tuple[float, ...] | None = None) -> Card:
    picture = np.broadcast_to(np.uint8(BLUE), (8, 8, 3))
    return Card(label, picture, None if probabilities is None else np.array(probabilities))


def columns_of(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    """Return in how many columns of pixels a colour occurs."""
    return int((sheet == np.uint8(colour)).all(-1).any(0).sum())


def test_a_row_fills_the_width_with_equal_pictures() -> None:
    sheet = cards.sheet([[card(), card()]], NAMES, width=640)
    assert sheet.shape[1] == 640
    assert columns_of(sheet, BLUE) == 2 * ((640 - 12) // 2 - 12)
    alone = cards.sheet([[card()]], NAMES, width=640, most=200)
    assert columns_of(alone, BLUE) == 200


def test_the_bar_of_the_strongest_class_stands_out() -> None:
    sheet = cards.sheet([[card(probabilities=(0.75, 0.25))]], NAMES)
    strongest, other = (columns_of(sheet, colour) for colour in (cards.STRONGEST, cards.BAR))
    assert strongest / other == pytest.approx(3, rel=0.05)
    assert columns_of(cards.sheet([[card()]], NAMES), cards.STRONGEST) == 0


def test_bars_of_signed_scores_begin_in_the_middle() -> None:
    both = [card(probabilities=(0.75, 0.25, value)) for value in (0.5, -0.5)]
    sheet = cards.sheet([both], NAMES, signed=("valence",))
    strip = sheet[-25:-18]  # within the last bars
    half = sheet.shape[1] // 2
    for part, side in ((strip[:, :half], 1), (strip[:, half:], -1)):
        bar, track = (
            np.flatnonzero((part == np.uint8(colour)).all((0, 2)))
            for colour in (cards.BAR, cards.TRACK)
        )
        middle = (min(bar[0], track[0]) + max(bar[-1], track[-1])) / 2
        assert abs((bar[0] if side > 0 else bar[-1]) - middle) <= 1.5
        assert len(bar) == pytest.approx((len(bar) + len(track)) / 4, abs=3)


def test_a_long_caption_stays_within_its_card() -> None:
    sheet = cards.sheet([[card("a caption of many words, which is far too long for it")]], NAMES)
    inside = (sheet != 255).any((0, 2))
    blue = (sheet == np.uint8(BLUE)).all(-1).any(0)
    assert not (inside & ~blue).any()


def test_headings_stand_above_their_rows() -> None:
    plain = cards.sheet([[card()], [card()]], NAMES)
    headed = cards.sheet([[card()], [card()]], NAMES, headings=["", "stages"])
    extra = len(headed) - len(plain)
    assert extra > 20
    half = len(plain) // 2
    np.testing.assert_array_equal(headed[:half], plain[:half])
    np.testing.assert_array_equal(headed[half + extra :], plain[half:])
    with pytest.raises(ValueError, match="1 headings for 2 rows: wanted as many"):
        cards.sheet([[card()], [card()]], NAMES, headings=["stages"])


def test_rows_under_one_heading_have_pictures_of_one_size() -> None:
    rows = [[card()], [card()] * 4, [card()]]
    sheet = cards.sheet(rows, NAMES, headings=["", "range", ""], width=640)
    side = (640 - 12) // 4 - 12
    blue = (sheet == np.uint8(BLUE)).all(-1)
    filled = [row for row in blue if row.any()]
    four, one = filled[-side - 1], filled[-1]
    assert (four.sum(), one.sum()) == (4 * side, side)
    assert four.argmax() == one.argmax()  # under the first of the four
