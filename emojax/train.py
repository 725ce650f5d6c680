"""Train an encoder, HyperStyle or the emotion classifier on photographs of your own.

    emojax train psp --photos faces/ --bundle ffhq --out mine
    emojax train hyperstyle --photos faces/ --bundle ffhq --out mine
    emojax train emotion --photos labelled/ --bundle ffhq --out mine
    emojax train psp --photos tfds:celeb_a_hq/256:train --bundle ffhq --out celeba --steps 20000

psp and hyperstyle make reconstructions of such faces better: they are trained on the photographs
and on generated faces, whose codes are known, with the losses of the papers as far as the bundle
has the networks for them. emotion fits the classifier to labels: a folder of photographs for each
emotion (labelled/happiness/, ...), or a data set with labels.

Training starts from the bundle's own network. The faces of the photographs are cut out first. Some
photographs are held out, and measured before and after. The result is written as a part of --out;
--work gets a page with curves and sample faces. A stopped run is gone on with by the same command.
All local devices share a batch; with --distributed so do the processes of a cluster that jax knows
(Slurm, GKE, TPU pods, Open MPI).
"""

import dataclasses
from typing import Annotated

import tyro

from emojax.runtime.cli import cli
from emojax.training.options import Emotion, Hyperstyle, Psp

Kind = (
    Annotated[Psp, tyro.conf.subcommand("psp", description="Train the encoder to W+.")]
    | Annotated[
        Hyperstyle,
        tyro.conf.subcommand("hyperstyle", description="Train HyperStyle's hypernetwork."),
    ]
    | Annotated[
        Emotion, tyro.conf.subcommand("emotion", description="Train the emotion classifier.")
    ]
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax train`."""

    kind: tyro.conf.OmitSubcommandPrefixes[Kind]
    """What is trained."""


def main(options: Options) -> None:
    """Train, and write the result into a bundle."""
    chosen = options.kind
    chosen.check()
    from emojax.runtime import devices
    from emojax.training import run

    if chosen.distributed:
        devices.join_hosts(**dataclasses.asdict(chosen.hosts))
    run.train(chosen)


if __name__ == "__main__":
    cli(main)
