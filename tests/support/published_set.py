"""Files in the layouts of the published ones: those of the FFHQ bundle.

small(folder)     a generator of 64² with few channels; encoders as they are published
published(folder) names and shapes of the published files, 4.6 GB
"""

import hashlib
import json
import shutil

import numpy as np

from tests.support import oracles, torch_file

CHANNELS = 8
"""Of the small generator, in all layers."""

SMALL_LAYERS = "2,3"
"""Layers of the small generator that the small HyperStyle refines."""

NAMES = {
    "generator": "stylegan2-ffhq-config-f.pt",
    "psp": "psp_ffhq_encode.pt",
    "hyperstyle": "hyperstyle_ffhq.pt",
    "w_encoder": "faces_w_encoder.pt",
    "emotion": "enet_b0_8_best_vgaf.pt",
    "inception": "pt_inception-2015-12-05-6726825d.pth",
}
"""Published names by part."""

MEASURING = {
    "identity": "model_ir_se50.pth",
    "alexnet": "alexnet-owt-7be5be79.pth",
    "lpips_alexnet": "alex.pth",
    "vgg16": "vgg16-397923af.pth",
    "lpips_vgg16": "vgg.pth",
}
"""The same of the networks that only measure, which `small` and `published` do not write."""


def decoder(seed=0):
    """A rosinality generator of 64² with few channels under its published names."""
    rng, state = np.random.default_rng(seed), {}

    def add(key, *shape):
        state[key] = rng.standard_normal(shape, np.float32)

    def layer(key, outputs, size, noise):
        add(f"{key}.conv.weight", 1, outputs, CHANNELS, size, size)
        add(f"{key}.conv.modulation.weight", CHANNELS, 512)
        add(f"{key}.conv.modulation.bias", CHANNELS)
        if noise:
            add(f"{key}.noise.weight", 1)
            add(f"{key}.activate.bias", outputs)
        else:
            add(f"{key}.bias", 1, 3, 1, 1)

    add("style.1.weight", 512, 512)
    add("style.1.bias", 512)
    add("input.input", 1, CHANNELS, 4, 4)
    layer("conv1", CHANNELS, 3, noise=True)
    layer("to_rgb1", 3, 1, noise=False)
    for i in range(8):
        layer(f"convs.{i}", CHANNELS, 3, noise=True)
    for i in range(4):
        layer(f"to_rgbs.{i}", 3, 1, noise=False)
    for i in range(9):
        side = 4 * 2 ** ((i + 1) // 2)
        add(f"noises.noise_{i}", 1, 1, side, side)
    return state


def small(folder):
    """Write the six files with a small generator (0.4 GB) and return {part: path}."""
    files = {part: folder / name for part, name in NAMES.items()}
    generator, mean = decoder(), np.ones((10, 512), np.float32)
    prefixed = {f"decoder.{key}": array for key, array in generator.items()}
    torch_file.write(files["generator"], {"g_ema": generator, "latent_avg": mean[0]})
    psp = {**drawn("psp_w", "encoder."), **prefixed}
    opts = {"encoder_type": "BackboneEncoderUsingLastLayerIntoW", "start_from_latent_avg": True}
    torch_file.write(files["psp"], {"state_dict": psp, "opts": opts, "latent_avg": mean})
    w_encoder = drawn("hyperstyle_ffhq", "encoder.", "manifest_w_encoder.json")
    opts = {"encoder_type": "SingleStyleCodeEncoder"}
    torch_file.write(files["w_encoder"], {"state_dict": w_encoder, "opts": opts})
    hypernet = {**_small_hypernet(), **prefixed}
    opts = {"encoder_type": "SharedWeightsHyperNetResNet", "layers_to_tune": SMALL_LAYERS}
    torch_file.write(
        files["hyperstyle"], {"state_dict": hypernet, "opts": opts, "latent_avg": mean}
    )
    shutil.copy(oracles.DATA / "files" / "hsemotion_tiny.pt", files["emotion"])
    torch_file.write(files["inception"], drawn("fid_inception"))
    return files


def published(folder):
    """Write the six files with the published names and shapes (4.6 GB) and return {part: path}.

    The values are random; only what the converters check has the published values.
    """
    files = {part: folder / name for part, name in NAMES.items()}
    generator = drawn("stylegan2_ffhq1024")
    mean = np.zeros((18, 512), np.float32)
    torch_file.write(files["generator"], {"g_ema": generator, "latent_avg": mean[0]})
    for part, case in {"psp": "psp_ffhq", "hyperstyle": "hyperstyle_ffhq"}.items():
        opts = oracles.manifest(case)["config"]["opts"]
        state = drawn(case)
        state |= {f"decoder.{key}": array for key, array in generator.items()}
        torch_file.write(files[part], {"state_dict": state, "opts": opts, "latent_avg": mean})
    w_encoder = oracles.case_folder("hyperstyle_ffhq") / "manifest_w_encoder.json"
    about = json.loads(w_encoder.read_text())
    state, opts = _arrays(about["entries"]), about["config"]["opts"]
    torch_file.write(files["w_encoder"], {"state_dict": state, "opts": opts, "latent_avg": mean})
    torch_file.write(files["emotion"], drawn("hsemotion_b0"))
    torch_file.write(files["inception"], drawn("fid_inception"))
    return files


def table(server, holds, **changes):
    """Return the text of a set whose files a server has.

    Args:
        server: see `tests.support.file_server`.
        holds: {name of a file: what it holds}.
        **changes: {key: value} of entries by name of the file without its ending.
    """
    lines = ['about = "a test"', "[licences]", 'mine = "a licence to test"']
    for name, held in holds.items():
        file = server.folder / name
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        entry = {
            "name": name,
            "holds": held,
            "about": "a network to test",
            "address": server.url + name,
            "bytes": file.stat().st_size,
            "sha256": digest,
            "licence": "mine",
            "source": "https://authors.invalid",
            **changes.get(name.partition(".")[0], {}),
        }
        lines.append("[[files]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
    return "\n".join(lines)


def drawn(case, prefix="", manifest="manifest.json"):
    """Return random arrays of a recorded case's names and shapes; its fixed filters as they are."""
    about = json.loads((oracles.DATA / case / manifest).read_text())
    state = _arrays(entry for entry in about["entries"] if entry["key"].startswith(prefix))
    return state | {name: state[source] for name, source in about.get("aliases", {}).items()}


def lpips_weights(width):
    """Return weights of LPIPS under their published names, for AlexNet (192) or VGG16 (128)."""
    channels = {192: (64, 192, 384, 256, 256), 128: (64, 128, 256, 512, 512)}[width]
    return {
        f"lin{i}.model.1.weight": np.full((1, count, 1, 1), 0.1, np.float32)
        for i, count in enumerate(channels)
    }


def _arrays(entries):
    rng, state = np.random.default_rng(0), {}
    for entry in entries:
        key, shape = entry["key"], entry["shape"]
        array = rng.standard_normal(shape, np.float32) * np.float32(0.02)
        if key.endswith("running_var"):
            array = np.abs(array) + 1
        if "values" in entry["init"]:
            array = np.reshape(np.asarray(entry["init"]["values"], np.float32), shape)
        state[key] = np.asarray(array).astype(entry["dtype"])
    return state


def _small_hypernet():
    """HyperStyle's hypernetwork as published, but for the small generator and two of its layers."""
    case, length = "hyperstyle_ffhq", 512
    kept = [f"refinement_blocks.{layer}." for layer in SMALL_LAYERS.split(",")]
    kept += ["conv1.", "bn1.", "relu.", "body."]
    entries = json.loads((oracles.DATA / case / "manifest.json").read_text())["entries"]
    wanted = tuple(f"hypernet.{name}" for name in kept)
    state = _arrays(entry for entry in entries if entry["key"].startswith(wanted))
    shapes = {"w1": (length, CHANNELS * 9), "b1": (CHANNELS * 9,)}
    shapes |= {"w2": (length, CHANNELS * length), "b2": (CHANNELS * length,)}
    shared = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
    places = ["shared_weight_hypernet", *(f"{name}hypernet" for name in kept[:2])]
    return state | {
        f"hypernet.{place}.{name}": array for place in places for name, array in shared.items()
    }
