"""The encoders against the originals' recorded outputs, stage by stage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from emojax.models import irse, psp
from emojax.nn import pooling
from emojax.store import weights
from tests.support import encoder_cases as cases
from tests.support import oracles, small_world
from tests.support.pictures import noise

STAGES = {"body.2": 0, "body.6": 1, "body.20": 2, "body.23": 3}


def nchw(x):
    return np.asarray(x).transpose(0, 3, 1, 2)


@jax.jit
def forward(encoder, pictures):
    """Everything the cases recorded, in one program."""
    stages = encoder.trunk(pictures)
    encoded = encoder.head(stages)
    average = 0.0 if encoder.latent_avg is None else encoder.latent_avg[...]
    return stages, encoded, encoded + average


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "architecture"), [("psp_w", "w"), ("psp_wplus", "w_plus"), ("e4e_ffhq", "e4e")]
)
def test_encoder_matches_the_original(case, architecture):
    encoder = cases.encoder(case, architecture)
    stages, encoded, codes = forward(encoder, noise("input", 2, 256))
    for name, index in STAGES.items():
        cases.check_probe(case, name, nchw(stages[index]))
    if architecture == "w":  # recorded before it is repeated for every layer
        encoded, codes = encoded[:, 0], codes[:, 0]
    cases.check(case, "encoder_out", encoded)
    cases.check(case, "codes", codes)


@pytest.mark.slow
def test_pyramid_and_heads_match_the_original():
    case = "psp_ffhq"
    encoder = cases.encoder(case, "gradual")
    pictures = noise("input", 2, 256)
    stages, encoded, codes = forward(encoder, pictures)
    cases.check(case, "encoder_out", encoded)
    cases.check(case, "codes", codes)
    np.testing.assert_array_equal(np.asarray(jax.jit(lambda m, x: m(x))(encoder, pictures)), codes)
    maps = jax.jit(lambda head, stages: head.pyramid(stages))(encoder.head, stages)
    cases.check_probe(case, "p2", nchw(maps[1]))
    cases.check_probe(case, "p1", nchw(maps[2]))
    for style in (0, 3, 7, 17):
        pooled = jax.jit(lambda head, x: head.pooled(x))(
            encoder.head.heads[style], maps[psp.level(style)]
        )
        cases.check_probe(case, f"styles.{style}.convs", np.asarray(pooled)[:, :, None, None])


SMALL = {"n_styles": 10, "style_dim": 32, **small_world.TRUNK}


@jax.jit
def encode(encoder, pictures):
    return encoder(pictures)


def drawn(config):
    """An encoder of random weights; those it shares with another config are the same."""
    table = small_world.table(psp.Encoder, config, 0)
    return weights.load(weights.abstract(psp.Encoder, config), table)


@pytest.mark.parametrize("architecture", list(psp.HEADS))
def test_shapes_and_average_code(architecture):
    pictures = noise("small", 2, 64)
    codes = {}
    for rows in (0, 1, 10):
        encoder = drawn(psp.EncoderConfig(architecture, average_rows=rows, **SMALL))
        if rows:
            encoder.latent_avg[...] = jnp.ones((rows, 32))
        codes[rows] = encode(encoder, pictures)
        assert codes[rows].shape == (2, 10, 32)
        assert codes[rows].dtype == jnp.float32
    for rows in (1, 10):
        np.testing.assert_allclose(codes[rows], codes[0] + 1, rtol=1e-5, atol=1e-5)  # one sum


def test_bfloat16_is_close_and_not_the_same():
    exact, coarse = (
        encode(
            drawn(psp.EncoderConfig(average_rows=10, dtype=dtype, **SMALL)), noise("small", 2, 64)
        )
        for dtype in ("float32", "bfloat16")
    )
    assert coarse.dtype == jnp.float32
    error = oracles.rel_err(coarse, exact)
    assert 1e-5 < error < 5e-2  # eight bits of mantissa through ten layers


def test_unknown_architecture_and_average_are_refused():
    with pytest.raises(ValueError, match="'vgg' is none of gradual, e4e, w, w_plus"):
        psp.EncoderConfig("vgg")
    with pytest.raises(ValueError, match="average_rows 7 is none of 0, 1, 18"):
        psp.EncoderConfig(average_rows=7)


def test_resampling_matrices():
    # 2 to 4 points with aligned corners: thirds; a half-pixel rule would give quarters
    np.testing.assert_allclose(
        psp.bilinear_matrix(2, 4), [[1, 0], [2 / 3, 1 / 3], [1 / 3, 2 / 3], [0, 1]], atol=1e-12
    )
    bins = pooling.pooling_matrix(16, 7)  # bins of 3 or 4, which overlap
    assert sorted({int(n) for n in (bins > 0).sum(1)}) == [3, 4]
    np.testing.assert_allclose(bins.sum(1), 1, rtol=1e-12)


def test_shortcut_subsamples_where_the_width_stays():
    unit = irse.ResidualUnit(16, 16, 2, rngs=weights.OneKey())
    unit.norm2.scale[...] = jnp.zeros(16)  # silences the residual branch
    x = noise("unit", 1, 8)
    x = jnp.asarray(np.tile(x, (1, 1, 1, 6))[..., :16])
    np.testing.assert_array_equal(unit(x), x[:, ::2, ::2])


@pytest.mark.parametrize(("size", "styles"), [(1024, 18), (512, 16), (256, 14)])
def test_full_size_shapes_cost_nothing(size, styles):
    config = psp.EncoderConfig(n_styles=styles, average_rows=styles)
    encoder = weights.abstract(psp.Encoder, config)
    picture = jax.ShapeDtypeStruct((1, 256, 256, 3), jnp.float32)
    assert jax.eval_shape(lambda m, x: m(x), encoder, picture).shape == (1, styles, 512)
    if size == 1024:  # FACTS: 267,136,704 learned values; running statistics and the mean beside
        learned = {
            k: v for k, v in weights.flatten(encoder).items() if not k.endswith((".mean", ".var"))
        }
        assert weights.count(learned) - 18 * 512 == 267_136_704
