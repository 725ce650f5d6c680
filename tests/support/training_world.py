"""A bundle of the smallest networks that can be trained, and photographs for it."""

from emojax.faces import images
from emojax.models import hyperstyle, psp, stylegan2
from emojax.models.efficientnet import EmotionConfig, EmotionNet
from emojax.store import bundle, parts
from tests.support.pictures import noise
from tests.support.small_world import table

SIDE = 16
GENERATOR = stylegan2.GeneratorConfig(channels=(8, 8, 8), style_dim=16, z_dim=16, n_mlp=1)
TRUNK = {"stem": 16, "widths": (16,), "units": (1,), "resolution": SIDE}
ENCODER = psp.EncoderConfig("w", n_styles=6, style_dim=16, average_rows=6, **TRUNK)
"""For both encoders: a gradual one has more convolutions than all else together."""
HYPERNET = hyperstyle.HypernetConfig(
    layers=(0, 2, 3),
    n_deltas=8,
    channels=GENERATOR.channels,
    resolution=SIDE,
    widths=(16, 16, 16, 16),
    units=(1, 1, 1, 1),
    shared_width=8,
    separate_width=8,
)
EMOTION = EmotionConfig(width=0.1, depth=0.1, size=32)


def write(folder):
    """Write the bundle and return its folder."""
    arrays = table(stylegan2.Generator, GENERATOR, 0)
    stored = bundle.save(folder, parts.GENERATOR, GENERATOR, arrays, {})
    tied = {"generator_sha256": stored["weights_sha256"]}
    bundle.save(folder, parts.PSP, ENCODER, table(psp.Encoder, ENCODER, 1), tied)
    bundle.save(folder, parts.W_ENCODER, ENCODER, table(psp.Encoder, ENCODER, 2), tied)
    bundle.save(folder, parts.HYPERSTYLE, HYPERNET, table(hyperstyle.Hypernet, HYPERNET, 3), tied)
    bundle.save(folder, parts.EMOTION, EMOTION, table(EmotionNet, EMOTION, 5), {})
    return folder


def write_photographs(folder, count=12):
    """Write aligned faces and return their folder."""
    folder.mkdir(parents=True)
    for number, picture in enumerate(noise("training", count, SIDE)):
        images.write(folder / f"face{number:02}.png", images.to_uint8(picture))
    return folder
