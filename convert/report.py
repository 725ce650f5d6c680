"""How a converter ends: what it keeps and prints of a file it has converted."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emojax.runtime.files import sha256
from emojax.store import bundle, weights
from emojax.store.parts import ConfigT, Part


def file_source(file: Path, layout: str, where: str, ignored: Mapping[str, str]) -> dict[str, Any]:
    """Return the `source` of a part's metadata.

    Args:
        file: the published file.
        layout: whose key names it has.
        where: the part of the file the tensors come from.
        ignored: {key: reason} of the tensors left out.
    """
    return {
        "file": file.name,
        "sha256": sha256(file),
        "layout": layout,
        "part": where,
        "ignored": dict(Counter(ignored.values())),
    }


def save(
    folder: Path,
    part: Part[Any, ConfigT],
    config: ConfigT,
    table: weights.Arrays,
    source: dict[str, Any],
    **facts: str,
) -> dict[str, Any]:
    """Write a part as `bundle.save` does, print a summary with further facts; return metadata.

    Raises:
        UserError: see `bundle.save`.
    """
    stored = bundle.save(folder, part, config, table, source)
    rows = {
        "read": f"{source['file']} ({source['layout']} layout, {source['part']})",
        "sha256": source["sha256"],
        **{name.replace("_", " "): fact for name, fact in facts.items()},
        "parameters": f"{stored['parameters']:,}",
        **{f"left out ({n})": reason for reason, n in source["ignored"].items()},
        "written": str(folder / part.name),
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
    return stored
