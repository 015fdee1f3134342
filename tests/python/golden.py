"""Writes the files in tests/data/exchange: weights of the tiny net, inputs and logits, from Keras and from PyTorch."""

import json

import nets
import numpy as np
import torch

DIRECTORY = nets.ROOT / "tests/data/exchange"


def write(name, model, save, logits):
    images = np.random.default_rng(1).uniform(-1, 1, (4, *nets.TINY)).astype(np.float32)
    save(model, DIRECTORY / f"{name}.safetensors")
    content = {"inputs": images.ravel().tolist(), "logits": logits(model, images).ravel().tolist()}
    (DIRECTORY / f"{name}.json").write_text(json.dumps(content) + "\n")


DIRECTORY.mkdir(exist_ok=True)
nets.keras.utils.set_random_seed(1)
write("keras", nets.keras_tiny(), nets.keras_save, nets.keras_logits)
torch.manual_seed(1)
write("pytorch", nets.torch_tiny(), nets.torch_save, nets.torch_logits)
