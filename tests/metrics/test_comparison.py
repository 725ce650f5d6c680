"""Pairs of pictures are compared by what the bundle has, and the rest is named."""

import numpy as np
import pytest

from emojax.faces import images
from emojax.metrics import comparison, image_quality
from emojax.store import bundle
from emojax.store.parts import ALEXNET
from tests.support import small_world
from tests.support.pictures import noise


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = small_world.write_comparing(tmp_path_factory.mktemp("checkpoints") / "small")
    return bundle.find(folder)


def pictures(name, side):
    return images.to_uint8(noise(name, 3, side))


def test_large_pictures_are_compared_at_256_pixels(place):
    a, b = pictures("a", 512), pictures("b", 512)
    networks = comparison.load(place)
    found = comparison.compare(networks, a, b, batch=2)
    assert list(found) == list(comparison.TITLES)
    small = [np.stack([images.resize(each, 256) for each in side]) for side in (a, b)]
    np.testing.assert_allclose(
        found["l2"], image_quality.l2(*map(images.to_float, small)), rtol=1e-4
    )
    again = comparison.compare(networks, *small, batch=2)
    for name, values in found.items():
        assert values.shape == (3,)
        np.testing.assert_allclose(values, again[name], rtol=1e-5)
    same = comparison.compare(networks, a, a, batch=2)
    np.testing.assert_allclose(same["identity"], 1, rtol=1e-5)
    np.testing.assert_allclose(same["lpips"], 0, atol=1e-9)
    assert (found["identity"] < 0.999).all()
    assert (found["lpips"] > 0).all()


def test_small_pictures_and_a_bundle_without_networks():
    a, b = pictures("a", 64), pictures("b", 64)
    demo = bundle.find("demo")
    assert comparison.parts(demo) == []
    found = comparison.compare(comparison.load(demo), a[:1], b[:1], batch=2)
    assert list(found) == ["l2", "psnr"]
    lpips, identity = comparison.missing(demo)
    assert lpips.startswith("no LPIPS: bundle demo has no alexnet (AlexNet, whose features LPIPS")
    assert identity.startswith("no identity similarity: bundle demo has no identity (ArcFace")
    assert all(
        "get the published networks with 'emojax fetch ffhq'" in x for x in (lpips, identity)
    )


def test_half_of_lpips_is_none(place, tmp_path):
    folder = tmp_path / "half"
    config = bundle.find(place.name).config(ALEXNET)
    bundle.save(folder, ALEXNET, config, small_world.table(ALEXNET.network_class(), config, 1), {})
    half = bundle.find(folder)
    assert comparison.load(half).lpips is None
    assert "has no lpips_alexnet" in comparison.missing(half)[0]
    assert "'emojax convert lpips FILE --name" in comparison.missing(half)[0]
    assert comparison.missing(place) == []
    assert [part.name for part in comparison.parts(place)] == [
        "alexnet",
        "lpips_alexnet",
        "identity",
    ]
