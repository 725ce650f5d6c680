"""A file on the loopback server, and its download."""

import hashlib
import random
import threading

from convert.download import connection, one_file
from convert.download.one_file import Patience, Wanted

SIZE = 3_000_000
BYTES = b"PK\x03\x04" + random.Random(0).randbytes(SIZE - 4)
HASH = hashlib.sha256(BYTES).hexdigest()
NAME = "psp.pt"


class Silent:
    def __init__(self):
        self.notes = []

    def at(self, done, total):
        pass

    def note(self, text):
        self.notes.append(text)


def fetch(server, folder, *, retries=3, stop=None, shown=None, url=None, **wanted):
    given = {"most": 2 * SIZE, "sha256": HASH, **wanted}
    file = Wanted(NAME, (url or server.url) + NAME, **given)
    with connection.Session() as session:
        return one_file.fetch(
            file,
            folder,
            session,
            shown or Silent(),
            stop or threading.Event(),
            Patience(retries, 0),
        )
