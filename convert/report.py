"""What a converter keeps of a published file and prints: source, hash, counts, tensors left out."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emojax.runtime.files import sha256
from emojax.store import bundle
from emojax.store.parts import ConfigT, Part

if TYPE_CHECKING:
    from emojax.store.weights import Array


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
    table: "Mapping[str, Array]",
    source: Mapping[str, Any],
    **facts: str,
) -> dict[str, Any]:
    """Write a part as `bundle.save` does, and print a summary; return the metadata.

    Args:
        folder: of the bundle.
        part: which.
        config: the network's.
        table: its weights.
        source: see `file_source`.
        **facts: further lines of the summary, by title.

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
        "use it": f"--bundle {bundle.name_of(folder)}",
    }
    width = max(map(len, rows))
    for name, value in rows.items():
        print(f"{name:<{width}}  {value}")
    return stored
