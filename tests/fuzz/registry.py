"""The families of loaders by name. A new one: a file beside this one, and a line here."""

import importlib

from tests.fuzz.family import Family

FAMILIES = {
    "checkpoints": "tests.fuzz.checkpoints:CHECKPOINTS",
    "landmarks": "tests.fuzz.pictures:LANDMARKS",
    "pictures": "tests.fuzz.pictures:PICTURES",
    "converters": "tests.fuzz.converters:CONVERTERS",
    "records": "tests.fuzz.records:RECORDS",
    "bundles": "tests.fuzz.bundles:BUNDLES",
    "films": "tests.fuzz.films:FILMS",
}
"""Where each family is, "module:name"; imported only by the process that runs it."""

TWINS = {
    name: f"tests.fuzz.twins:{name.upper()}"
    for name in (
        "unsafe",
        "running",
        "writing",
        "hungry",
        "endless",
        "waiting",
        "clumsy",
        "wordy",
        "dying",
    )
}
"""Loaders that each break one rule, for the tests of the fuzz command itself."""


def find(name: str) -> Family:
    """Return a family or twin by name."""
    module, _, attribute = {**FAMILIES, **TWINS}[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
