"""Places in object stores: Amazon S3 and what speaks its language, and Google Cloud Storage.

By obstore, which repeats requests that fail on the way. A PUT is whole or nothing, and conditional
ones ("only where none is", "only in the place of this version") stand where a disk has renames and
locks. Keys come from the environment or the machine's role (see docs/cluster.md).
"""

import contextlib
import functools
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from emojax.runtime.errors import UserError, shortened
from emojax.store.reader.contents import Malformed

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
"""Variables with the address of a server of one's own, in the order in which they count."""
_KEYS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
"""Variables of which one says where the keys are, if it is not the machine."""
_PATIENCE = timedelta(minutes=10)
"""How long a request may take, and how long it is repeated."""


class ObjectStore:
    """The objects below one address.

    Attributes:
        address: s3://BUCKET/FOLDER or gs://BUCKET/FOLDER.
    """

    path = None

    def __init__(self, address: str) -> None:
        """Hold an address; nothing is asked yet.

        Raises:
            UserError: it names no bucket, or obstore is not installed.
        """
        self.address = address.rstrip("/")
        self._store = _opened(address)

    def __str__(self) -> str:
        return self.address

    def sizes(self, under: str = "") -> dict[str, int]:
        """See `Place`; of all objects below a folder."""
        return {name: size for name, (size, _) in self.versions(under).items()}

    def versions(self, under: str = "", most: int | None = None) -> dict[str, tuple[int, str]]:
        """Return the bytes and the version of every object below a folder.

        Args:
            under: the folder, without a slash at its end; default: all.
            most: objects that are listed.

        Raises:
            UserError: the store refuses, there are more, or one has a name that is no path.
        """
        import obstore

        found: list[Any] = []
        with self._refusals("list"):
            for some in obstore.list(self._store, under or None):
                found += some
                if most is not None and len(found) > most:
                    raise UserError(f"{self} holds more than {most:,} objects: wanted a folder")
        named = {each["path"]: (each["size"], str(each["e_tag"])) for each in found}
        for name in named:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
                raise UserError(f"{self} has an object {shortened(name, 60)!r}, which is no path")
        return named

    def is_empty(self) -> bool:
        """See `Place`."""
        import obstore

        with self._refusals("list"):
            return not next(iter(obstore.list(self._store, chunk_size=1)), ())

    def read(self, name: str, most: int) -> bytes:
        """See `Place`."""
        import obstore

        with self._refusals("read", name):
            found = obstore.get(self._store, name)
            if found.meta["size"] > most:
                raise Malformed(f"it has {found.meta['size']:,} bytes, more than {most:,}")
            return bytes(found.bytes())

    def copy_to(self, name: str, file: Path) -> None:
        """Copy an object into a file, piece by piece.

        Raises:
            FileNotFoundError: there is none.
            UserError: the store refuses.
            OSError: the disk does.
        """
        import obstore

        with self._refusals("read", name), file.open("wb") as stream:
            for piece in obstore.get(self._store, name).stream(min_chunk_size=2**23):
                stream.write(piece)

    def write(self, name: str, data: bytes) -> None:
        """See `Place`."""
        self._put(name, data)

    def create(self, name: str, data: bytes) -> bool:
        """See `Place`."""
        return self._put(name, data, mode="create")

    def replace(self, name: str, old: bytes, new: bytes) -> bool:
        """See `Place`."""
        import obstore

        with self._refusals("read", name):
            found = obstore.get(self._store, name)
            if bytes(found.bytes()) != old:
                return False
        version = {key: found.meta[key] for key in ("e_tag", "version") if found.meta.get(key)}
        return self._put(name, new, mode=version)

    @contextlib.contextmanager
    def file(self, name: str) -> Iterator[Path]:
        """See `Place`."""
        with tempfile.TemporaryDirectory() as folder:
            aside = Path(folder, PurePosixPath(name).name)
            yield aside
            self.write(name, aside.read_bytes())

    @contextlib.contextmanager
    def copy(self, name: str) -> Iterator[Path]:
        """See `Place`; a copy."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, PurePosixPath(name).name)
            self.copy_to(name, file)
            yield file

    def _put(self, name: str, data: bytes, mode: Any = "overwrite") -> bool:
        """Write an object; False where the condition of `mode` does not hold."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        with self._refusals("write", name):
            try:
                obstore.put(self._store, name, data, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
            except FileNotFoundError as error:  # of a PUT, the bucket
                raise self._refused("write", name, error) from error
        return True

    @contextlib.contextmanager
    def _refusals(self, doing: str, name: str = "") -> Iterator[None]:
        """Turn what a store answers into one sentence; that an object is missing is left."""
        from obstore.exceptions import BaseError

        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" not in str(error):
                raise
            raise self._refused(doing, name, error) from error
        except BaseError as error:
            raise self._refused(doing, name, error) from error

    def _refused(self, doing: str, name: str, error: Exception) -> UserError:
        place = f"{self}/{name}" if name else str(self)
        return UserError(
            f"cannot {doing} {shortened(place, 100)} ({_reason(error)}): look at the address, the "
            "keys and the connection, then give the same command again"
        )


def _opened(address: str) -> Any:
    try:
        from obstore import store
        from obstore.exceptions import BaseError
    except ImportError as error:
        raise UserError(
            f"{shortened(address, 100)} is in an object store, for which obstore is not "
            "installed: 'pip install \"emojax[cloud]\"' brings it"
        ) from error
    if address.startswith("s3:") and not any(os.environ.get(name) for name in _KEYS):
        _say_whose_keys()
    from_url: Any = store.from_url  # its overloads tell stores apart that an address may name
    options: dict[str, Any] = {}
    endpoint = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None)
    if endpoint and address.startswith("s3:"):
        options["endpoint"] = endpoint
    client: dict[str, Any] = {"timeout": _PATIENCE}
    if options and options["endpoint"].startswith("http:"):
        client["allow_http"] = True
    try:
        return from_url(
            address,
            client_options=client,
            retry_config={"max_retries": 10, "retry_timeout": _PATIENCE},
            **options,
        )
    except (BaseError, ValueError) as error:
        raise UserError(
            f"{shortened(address, 100)} is no address of an object store ({_reason(error)}): "
            "wanted s3://BUCKET/FOLDER or gs://BUCKET/FOLDER"
        ) from error


@functools.cache
def _say_whose_keys() -> None:
    """Say once what is waited for: a machine without a role may take minutes to say that."""
    logging.info("no AWS_ACCESS_KEY_ID is set: asking this machine for the keys of its role")


def _reason(error: Exception) -> str:
    """Return the part of obstore's message that is for a user."""
    text = str(error).partition("Debug source")[0]
    code = re.search(r"status code: (\d+)", text)
    said = re.search(r"<Message>(.{1,100}?)</Message>", text, re.DOTALL)
    if code and said:
        return shortened(f"{code[1]}, {said[1]}", 110)
    return shortened(" ".join(text.split()).rpartition(" - ")[2], 110)
