"""The bundle's networks, opened once for each inverter."""

import dataclasses
from collections.abc import Iterator

from emojax import Pipeline, UserError
from emojax.page.pair import Pair
from emojax.page.recipes import Origin
from emojax.page.scale import Scale
from emojax.page.subject import draw, open_photo, samples
from emojax.runtime.choices import InverterName
from emojax.runtime.flags import PipelineFlags

BATCH = 4
"""Pictures at a time: as many as a row of the page shows come in two batches."""


class Networks:
    """Pipelines of one bundle by inverter; call it from the worker's thread."""

    def __init__(self, flags: PipelineFlags) -> None:
        """Open the bundle for the inverter of the flags.

        Raises:
            UserError: see `emojax.load`.
        """
        self._flags = flags
        self.default = Pipeline(flags)
        self._opened: dict[InverterName, Pipeline] = {flags.inverter: self.default}
        self.scale = Scale(self.default)

    def of(self, inverter: InverterName) -> Pipeline:
        """Return the pipeline of an inverter, opened when it is first asked for.

        Raises:
            UserError: the bundle has no such inverter.
        """
        if inverter not in self.default.inverters:
            raise UserError(
                f"this bundle has no inverter {inverter!r}: wanted one of "
                f"{', '.join(self.default.inverters)}"
            )
        if inverter not in self._opened:
            self._opened[inverter] = Pipeline(dataclasses.replace(self._flags, inverter=inverter))
        return self._opened[inverter]

    def warm(self) -> Iterator[str]:
        """Compile what the page runs, by running it; yields what is done next."""
        pipe, scale = self.default, self.scale
        yield "drawing faces"
        drawn = draw(pipe, Origin(seed=1))
        yield "moving a slider"
        pipe.render([pipe.edit(drawn.face, dict.fromkeys(scale.names, 0.1))])
        yield "a row of faces"
        pipe.render([pipe.sample(range(8))])
        yield "opening a photograph"
        subjects = [open_photo(pipe, file).subject for file in samples(pipe).values()]
        if not subjects:  # a bundle without photographs of its own inverts a face that it drew
            pipe.classify(pipe.invert(drawn.face.pictures[0]).pictures)
            subjects = [drawn]
        yield "transferring an expression"
        pair = Pair.prepare(pipe, subjects[0], subjects[-1], "reinvert")
        yield "the way from one expression to the other"
        pair.path(6)
