"""Back into the photograph: the inverse of the alignment, by what changed or as a whole.

`align.crop` cuts a square that lies askew in the photograph, so the way back is one affine map.
`paste_change` adds what an edit changed, the edited face minus its reconstruction, to the
photograph, within the face and where something changed: hair, background, grain and colours stay
the photograph's own. Where much changes, details of the photograph that the reconstruction lacks
would stay as ghosts of the old expression, so they give way to the drawn ones. `paste` replaces the
whole square, which falls off towards its edges.
"""

from typing import NamedTuple, get_args

import numpy as np
from PIL import Image

from emojax.faces import align, face_mask
from emojax.faces.photo_reader import SIZE, Portrait
from emojax.faces.smoothing import blurred, smoothstep
from emojax.runtime.choices import PasteForm
from emojax.runtime.errors import UserError

FEATHER = 0.15
"""Width of the soft edge of `paste`, as a share of the square's side."""
CHANGED = (4.0, 16.0)
"""Mean change in grey levels up to which nothing is pasted, and from which on all of it is."""
REPLACED = (6.0, 20.0)
"""Mean change from which on, and up to which, the photograph's details give way to the drawn."""
NEAR = 0.05
"""Standard deviation of these means, as a share of the square's side."""
TONE = 0.06
"""Standard deviation, as a share of the side, that separates tone from detail."""
GRAIN = 1.5
"""Fine detail up to this many of its standard deviations is grain, and always kept."""
EDGE = 0.05
"""Width, as a share of the side, over which a change fades towards the edges of the square."""
SOFT = 0.03
"""Standard deviation, as a share of the side, of the soft edge of the face."""


class Place(NamedTuple):
    """Where a face lies in a photograph.

    Attributes:
        box: left, top, right, bottom of the part of the photograph that holds the square.
        corners: [4,2] of the square in that part, where pixel i spans [i, i + 1].
        side: of the square, in pixels of the photograph.
    """

    box: tuple[int, int, int, int]
    corners: np.ndarray
    side: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the part."""
        left, top, right, bottom = self.box
        return bottom - top, right - left

    @property
    def map_back(self) -> np.ndarray:
        """The affine map [2,3] from the part to the square, [0, 1] along each side."""
        across, down = self.corners[3] - self.corners[0], self.corners[1] - self.corners[0]
        inverse = np.linalg.inv(np.stack([across, down], axis=1))
        return np.concatenate([inverse, -inverse @ self.corners[:1].T], axis=1)

    def part_of(self, photo: np.ndarray) -> np.ndarray:
        """Return the part of a photograph, a view."""
        left, top, right, bottom = self.box
        return photo[top:bottom, left:right]


def put_back(
    portrait: Portrait, edited: np.ndarray, drawn: np.ndarray, form: PasteForm = "change"
) -> np.ndarray:
    """Return the photograph of a portrait with an edit of its face.

    Args:
        portrait: the face as it was cut out; of a picture that is an aligned face, all of it.
        edited: uint8 [S,S,3], the edited face as the generator draws it.
        drawn: uint8 [S,S,3], its reconstruction before the edit; used by "change" only.
        form: "change" or "crop", see this module.

    Returns:
        uint8 [H,W,3].

    Raises:
        UserError: there is no such form.
    """
    if form not in get_args(PasteForm):
        raise UserError(f"paste is {form!r}, wanted {' or '.join(get_args(PasteForm))}")
    photo, quad, size = portrait.photo, portrait.quad, SIZE
    if quad is None:
        size = len(photo)
        quad = np.array([[0, 0], [0, size], [size, size], [size, 0]]) - 0.5
    if form == "crop":
        return paste(photo, edited, quad, size=size)
    return paste_change(photo, edited, drawn, quad, points=portrait.points, size=size)


def paste(
    photo: np.ndarray,
    face: np.ndarray,
    quad: np.ndarray,
    *,
    size: int = 1024,
    feather: float = FEATHER,
) -> np.ndarray:
    """Return the photograph with an aligned face put back where it came from.

    Args:
        photo: uint8 [H,W,3].
        face: uint8 or float32 [S,S,3], of any size; what `align.crop(photo, quad, size)` gave,
            changed.
        quad: [4,2], see `align.quad_of`.
        size: side that the crop was made with.
        feather: width of the soft edge as a share of the side, above 0 and at most 0.5.

    Returns:
        uint8 [H,W,3]; pixels outside the quad are the photograph's own.

    Raises:
        ValueError: the feather is out of range.
    """
    if not 0 < feather <= 0.5:
        raise ValueError(f"feather is {feather}, wanted above 0 and at most 0.5")
    place = _place(photo, quad, size)
    if place is None:
        return photo.copy()
    result = photo.copy()
    region = place.part_of(result)
    mask = _depth(place, feather)[..., None]
    region[:] = np.rint(region + mask * (_drawn(face, place) - region))
    return result


def paste_change(
    photo: np.ndarray,
    edited: np.ndarray,
    drawn: np.ndarray,
    quad: np.ndarray,
    *,
    points: np.ndarray | None = None,
    size: int = 1024,
) -> np.ndarray:
    """Return the photograph with what an edit changed.

    Args:
        photo: uint8 [H,W,3].
        edited: uint8 or float32 [S,S,3], the edited face as the generator draws it.
        drawn: the same, its reconstruction before the edit, by the same generator.
        quad: [4,2], where the face was cut out, see `align.quad_of`.
        points: landmarks [5,2] or [68,2] in the photograph; None: where FFHQ has them.
        size: side that the crop was made with.

    Returns:
        uint8 [H,W,3]; pixels outside the face and where nothing changed are the photograph's own.

    Raises:
        ValueError: the two faces have different shapes.
    """
    if edited.shape != drawn.shape:
        raise ValueError(f"the faces are {edited.shape} and {drawn.shape}: wanted one shape")
    place = _place(photo, quad, size)
    if place is None:
        return photo.copy()
    after, before = _drawn(edited, place), _drawn(drawn, place)
    result = photo.copy()
    region = place.part_of(result)
    change = after - before
    strength = blurred(np.abs(change).max(-1), NEAR * place.side)
    mask = smoothstep(strength, CHANGED) * _depth(place, EDGE) * _face(place, points)
    # a mouth that opens must take the closed lips along, of which the reconstruction lacks a part
    replaced = smoothstep(strength, REPLACED)[..., None]
    change -= replaced * _details(region - before, place.side)
    region[:] = np.rint(region + mask[..., None] * change).clip(0, 255)
    return result


def _details(rest: np.ndarray, side: float) -> np.ndarray:
    """Return what the reconstruction lacks of a photograph [h,w,3], but for its tone and grain."""
    fine = rest - blurred(rest, 1.0)
    every = max(int(np.sqrt(fine.size / 1e6)), 1)  # a million values say as much as all
    most = GRAIN * 1.4826 * float(np.median(np.abs(fine[::every, ::every])))  # edges count little
    return rest - blurred(rest, TONE * side) - fine.clip(-most, most)


def _place(photo: np.ndarray, quad: np.ndarray, size: int) -> Place | None:
    """Return where a face lies; None where the photograph has nothing of its square."""
    height, width = photo.shape[:2]
    corners = _continuous(quad, size)
    left, top = np.maximum(np.floor(corners.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(0)).astype(int), (width, height))
    if left >= right or top >= bottom:
        return None
    box = (int(left), int(top), int(right), int(bottom))
    return Place(box, corners - (left, top), align.side_of(quad))


def _continuous(quad: np.ndarray, size: int) -> np.ndarray:
    """Return the corners that the crop really reached, where pixel i spans [i, i + 1].

    The original adds half a pixel after shrinking a large photograph, so half a *shrunken* pixel.
    """
    shrink = max(int(align.side_of(quad) / size * 0.5), 1)
    return quad + 0.5 * shrink


def _face(place: Place, points: np.ndarray | None) -> np.ndarray:
    """Return the mask [h,w] of the face inside the hull of its landmarks."""
    if points is None:
        across, down = place.corners[3] - place.corners[0], place.corners[1] - place.corners[0]
        shares = face_mask.FFHQ_POINTS
        inside = place.corners[0] + shares[:, :1] * across + shares[:, 1:] * down
    else:
        inside = points + 0.5 - np.array(place.box[:2])
    return face_mask.filled(face_mask.outline(inside), place.shape, SOFT * place.side)


def _drawn(face: np.ndarray, place: Place) -> np.ndarray:
    """Return a face [S,S,3] as it lies in its part of the photograph, float32 0..255.

    Pillow rounds the levels of uint8; those of float32, one picture a colour, it does not.
    """
    if face.dtype == np.uint8:
        return np.asarray(_warped(Image.fromarray(face), place), np.float32)
    channels = np.ascontiguousarray(face.transpose(2, 0, 1), np.float32)
    warped = [np.asarray(_warped(Image.fromarray(each), place)) for each in channels]
    return np.stack(warped, axis=-1).clip(0, 255)


def _warped(face: Image.Image, place: Place) -> Image.Image:
    """Return a square picture as it lies in its part of the photograph."""
    wanted = max(int(np.ceil(place.side)), 1)
    if face.width > wanted:  # no larger than where it goes, so that sampling it does not alias
        face = face.resize((wanted, wanted), Image.Resampling.LANCZOS)
    height, width = place.shape
    return face.transform(
        (width, height),
        Image.Transform.AFFINE,
        tuple((place.map_back * face.width).flatten()),
        Image.Resampling.BICUBIC,
    )


def _depth(place: Place, feather: float) -> np.ndarray:
    """Return the share [h,w] of a square that fades over `feather` of its side at the edges."""
    height, width = place.shape
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    least = np.full((height, width), np.inf, np.float32)
    for row in place.map_back:
        share = (row[0] * x + row[1] * y + row[2]).astype(np.float32)  # in [0, 1] inside
        least = np.minimum(least, np.minimum(share, 1 - share))
    return smoothstep(least, (0.0, feather))
