"""How much the page takes from its visitors, and keeps for them."""

import dataclasses

MEGABYTE = 1 << 20


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds that keep one visitor, or many, from exhausting the machine.

    Attributes:
        upload: bytes of one uploaded file.
        disk: bytes of all uploaded files and results together; the oldest go after an hour.
        memory: bytes of the faces kept for all visitors; the least recently used go first.
        waiting: calls that wait for the networks, of all visitors together.
        message: bytes of a request that is no upload.
        frames: pictures of the film from one expression to another.
        film_seconds: length of an uploaded film.
        film_frames: its frames.
        film_pixels: pixels of one of its frames.
        crops: faces of a photograph that are shown to choose from.
        sessions: visitors whose settings of the page are remembered.
    """

    upload: int = 32 * MEGABYTE
    disk: int = 2048 * MEGABYTE
    memory: int = 256 * MEGABYTE
    waiting: int = 64
    message: int = 1 * MEGABYTE
    frames: int = 24
    film_seconds: int = 30
    film_frames: int = 900
    film_pixels: int = 2_100_000
    crops: int = 12
    sessions: int = 200
