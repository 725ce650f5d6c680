"""Labelled sheets: every picture has a cell, at a size where captions can be read."""

import numpy as np
import pytest

from emojax.report import contact_sheet

RED, BLUE = (255, 0, 0), (0, 0, 255)


def plain(height: int, width: int, colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.uint8(colour), (height, width, 3))


def area(sheet: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int]:
    """Rows and columns of the rectangle of one colour."""
    rows, columns = np.nonzero((sheet == np.uint8(colour)).all(-1))
    size = (np.ptp(rows) + 1, np.ptp(columns) + 1)
    assert len(rows) == size[0] * size[1]
    return size


@pytest.mark.parametrize(
    ("shape", "side", "shown"),
    [
        ((8, 8), 16, (128, 128)),  # cells are large enough for captions
        ((30, 60), 256, (120, 240)),  # whole multiples: pixels stay squares
        ((200, 200), 256, (200, 200)),
        ((512, 256), 256, (256, 128)),  # fitted
    ],
)
def test_pictures_are_fitted_into_their_cells(
    shape: tuple[int, int], side: int, shown: tuple[int, int]
) -> None:
    sheet = contact_sheet.grid([plain(*shape, RED)], ["one"], columns=1, side=side)
    assert area(sheet, RED) == shown


def test_cells_follow_each_other_row_by_row() -> None:
    pictures = [plain(8, 8, RED), plain(8, 8, BLUE), plain(8, 8, RED)]
    sheet = contact_sheet.grid(pictures, ["a", "b", "c"], columns=2, side=128)
    left, right = np.split(sheet[:128], [sheet.shape[1] // 2], axis=1)
    assert area(left, RED) == area(right, BLUE) == (124, 128)  # a margin of 4 above
    assert (sheet[-20:] < 128).any(), "no caption in the last row"
    with pytest.raises(ValueError, match="argument"):
        contact_sheet.grid(pictures, ["a"], columns=2)
