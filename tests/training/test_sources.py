"""Photographs and their labels, from a data set of TFDS."""

import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from emojax.models.efficientnet import EIGHT, SEVEN
from emojax.runtime.errors import UserError
from emojax.training.options import Emotion, Psp
from emojax.training.sources import open_source


class Posed(tfds.core.GeneratorBasedBuilder):
    """Six grey pictures with labels in an order of their own."""

    code_path = tfds.core.Path(__file__)
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        image = tfds.features.Image(shape=(16, 16, 3), encoding_format="png")
        label = tfds.features.ClassLabel(names=["contempt", "Anger"])
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return self.dataset_info_from_configs(features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(6):
            file = io.BytesIO()
            Image.fromarray(np.full((16, 16, 3), 20 * number, np.uint8)).save(file, "PNG")
            file.seek(0)
            yield number, {"image": file, "label": number % 2}


def test_labels_of_a_data_set_become_those_of_the_classifier(tmp_path):
    Posed(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    common = {"photos": "tfds:posed:train", "out": "out", "data_dir": tmp_path}
    found = open_source(Emotion(**common, align="never"), (32,), EIGHT)
    shades = [int(found.read(number)[0, 0, 0]) // 20 for number in range(6)]
    assert sorted(shades) == list(range(6))
    assert found.labels.tolist() == [0 if shade % 2 else 1 for shade in shades]
    plain = open_source(Psp(**common), (16,))
    assert plain.labels is None
    assert plain.read(2).shape == (16, 16, 3)
    with pytest.raises(UserError, match="has the label contempt: wanted labels of anger, disgust"):
        open_source(Emotion(**common), (32,), SEVEN)
