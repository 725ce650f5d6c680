"""ArcFace with an IR-SE-50 trunk: maps a face to a unit vector that stands for the person.

The cosine of two faces' vectors is the identity similarity of pSp and HyperStyle.

Sources: TreB1eN/InsightFace_Pytorch `model.py`; eladrich/pixel2style2pixel `criteria/id_loss.py`
and `models/encoders/model_irse.py` (the same in HyperStyle).
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from emojax.models import irse
from emojax.nn.pooling import pooling_matrix, resample

RESOLUTION = 256
"""Side of the aligned faces, as FFHQ's, that the crop below is of."""
ROWS, COLUMNS = slice(35, 223), slice(32, 220)
"""The face in such a picture."""


@dataclasses.dataclass(frozen=True)
class ArcFaceConfig:
    """Dimensions of the network; the defaults are those of `model_ir_se50.pth`.

    Attributes:
        features: length of the vector.
        side: of the trunk's input in pixels, to which the face is pooled.
        stem: see `irse.TrunkConfig`.
        widths: see `irse.TrunkConfig`.
        units: see `irse.TrunkConfig`.
    """

    features: int = 512
    side: int = 112
    stem: int = 64
    widths: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)


class ArcFace(nnx.Module):
    """Trunk, and a linear layer between two BatchNorms."""

    def __init__(self, config: ArcFaceConfig, *, rngs: nnx.Rngs) -> None:
        self.config = config
        trunk = irse.TrunkConfig(config.stem, config.widths, config.units)
        self.trunk = irse.Trunk(trunk, rngs=rngs)
        width, side = config.widths[-1], config.side >> len(config.units)
        self.norm1 = irse.batch_norm(width, rngs=rngs)
        self.linear = nnx.Linear(side * side * width, config.features, rngs=rngs)
        self.norm2 = irse.batch_norm(config.features, rngs=rngs)

    def __call__(self, pictures: jax.Array) -> jax.Array:
        """Return unit vectors [B,F].

        Args:
            pictures: [B,256,256,3] aligned faces in [-1, 1].
        """
        x = self.norm1(self.trunk(self.pooled(pictures))[-1])
        x = self.norm2(self.linear(x.reshape(x.shape[0], -1)))  # flattened as H, W, C
        return x / jnp.linalg.norm(x, axis=-1, keepdims=True)

    def pooled(self, pictures: jax.Array) -> jax.Array:
        """Return the face as the trunk takes it, [B,side,side,3].

        The mean over overlapping bins of two or three pixels (`AdaptiveAvgPool2d`), no resizing.
        """
        face = pictures[:, ROWS, COLUMNS]
        return resample(face, pooling_matrix(face.shape[1], self.config.side))
