"""An inverter under evaluation, and the targets as it sees them.

Targets are inverted and prepared block by block into the store, as sources are:

    psp-1a2b3c4d/targets/original/   codes of the targets
    psp-1a2b3c4d/targets/reinvert/   their bases by one normaliser

so an interrupted run, of an optimisation above all, loses at most one of their blocks.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence

import numpy as np

from emojax.evaluation.inputs import resized
from emojax.evaluation.stored_faces import arrays_of, faces_of, prepared_arrays, prepared_of
from emojax.evaluation.table import ORIGINAL
from emojax.faces import images
from emojax.latents import inversion
from emojax.latents.bases import Prepared
from emojax.latents.codes import Inversion
from emojax.latents.inversion import Inverter
from emojax.latents.normalisers import Transferrer
from emojax.store.block_store import BlockStore


@dataclasses.dataclass(frozen=True)
class EvaluatedInverter:
    """An inverter with its normalisers, and the targets prepared by them.

    Attributes:
        inverter: the networks.
        transferrers: by normaliser, and by the name of the directions where there are several.
        pictures: the targets, uint8 [H,W,3], see `Targets`.
        store: of the evaluation.
        passes: of HyperStyle.
        batch: pictures at a time.
    """

    inverter: Inverter
    transferrers: dict[str, Transferrer]
    pictures: Sequence[np.ndarray]
    store: BlockStore
    passes: int
    batch: int

    @property
    def part(self) -> str:
        """Name of its part of the store."""
        return f"{self.inverter.method}-{self.inverter.made_with[:8]}"

    @functools.cached_property
    def target_store(self) -> BlockStore:
        """The same place, with blocks of targets."""
        count = len(self.pictures)
        return BlockStore(self.store.place, count, min(self.store.block, count))

    @functools.cached_property
    def targets(self) -> dict[str, Prepared]:
        """The targets prepared by each of `transferrers`, from the store; see `prepare_targets`."""
        store, part = self.target_store, f"{self.part}/targets"
        faces = faces_of(self.inverter, store.read(f"{part}/{ORIGINAL}"), self.passes)
        return {
            name: prepared_of(each, faces, store.read(f"{part}/{name}"))
            for name, each in self.transferrers.items()
        }

    @property
    def target_steps(self) -> int:
        """Number of names that `prepare_targets` yields."""
        return self.target_store.blocks * (1 + len(self.transferrers))

    def prepare_targets(self) -> Iterator[str]:
        """Invert and prepare the targets that the store lacks; yields a name after each block.

        Where all transfers are in the store, no targets are needed.
        """
        needed = any(
            not self.store.has(f"{self.part}/{name}", block)
            for name in self.transferrers
            for block in range(self.store.blocks)
        )
        store, part = self.target_store, f"{self.part}/targets"
        for block in range(store.blocks):
            if needed and not store.has(f"{part}/{ORIGINAL}", block):
                store.write(f"{part}/{ORIGINAL}", block, arrays_of(self._inverted(block)))
            yield part
            for name in self.transferrers:
                if needed and not store.has(f"{part}/{name}", block):
                    prepared = self._prepared(name, block)
                    store.write(f"{part}/{name}", block, prepared_arrays(prepared))
                yield part

    def _inverted(self, block: int) -> Inversion:
        seen = images.to_float(resized(self._shown(block), self.inverter.resolution))
        return inversion.invert(self.inverter, seen, passes=self.passes, batch=self.batch)

    def _prepared(self, name: str, block: int) -> Prepared:
        stored = self.target_store.read_block(f"{self.part}/targets/{ORIGINAL}", block)
        rows = self.target_store.padded(block) - block * self.target_store.block
        faces = faces_of(
            self.inverter, {key: array[rows] for key, array in stored.items()}, self.passes
        )
        shown = resized(self._shown(block), self.inverter.generator.config.size)
        return self.transferrers[name].prepare(faces, shown)

    def _shown(self, block: int) -> list[np.ndarray]:
        """Return the pictures of a block, the last repeated to fill it."""
        return [self.pictures[i] for i in self.target_store.padded(block)]
