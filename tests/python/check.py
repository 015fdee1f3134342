"""A net trained here gives the same logits there, and the reverse, on the MNIST test images."""

import subprocess
import tempfile
from pathlib import Path

import nets
import numpy as np
import torch

# Of the largest logit.
TOLERANCE = 1e-5


def example(name, *flags):
    command = ["cargo", "run", "--release", "--quiet", "--example", name, "--", *map(str, flags)]
    subprocess.run(command, cwd=nets.ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def logits_here(weights, layout):
    with tempfile.NamedTemporaryFile() as file:
        example("exchange", weights, "--from", layout, "--logits", file.name)
        return np.fromfile(file.name, "<f4").reshape(-1, 10)


def compare(what, here, there, labels):
    error = np.abs(here - there).max() / np.abs(there).max()
    accuracy = (here.argmax(1) == labels).mean()
    print(f"{what:28} {error:.1e} of the largest logit  accuracy {accuracy:.4f}", flush=True)
    assert here.shape == there.shape and error <= TOLERANCE, what
    assert accuracy > 0.8, "the net has learnt nothing, so that its logits show little"


def train_torch(images, labels):
    torch.manual_seed(1)
    model = nets.torch_lenet5()
    optimiser = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    images, labels = nets.channels_first(images), torch.from_numpy(labels)
    for batch in torch.randperm(len(images)).split(256):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        optimiser.step()
    return model


def train_keras(images, labels):
    nets.keras.utils.set_random_seed(1)
    model = nets.keras_lenet5()
    loss = nets.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(nets.keras.optimizers.SGD(0.05, momentum=0.9), loss)
    model.fit(images, labels, batch_size=256, epochs=1, verbose=0)
    return model


def main():
    images, labels = nets.mnist("t10k")
    train = nets.mnist("train")
    with tempfile.TemporaryDirectory() as directory:
        keras_file, torch_file = [Path(directory) / f"{name}.safetensors" for name in ("keras", "torch")]
        example("lenet5", "--epochs", 1, "--save", keras_file)
        example("exchange", keras_file, "--to", "pytorch", "--save", torch_file)
        here = logits_here(keras_file, "keras")

        model = nets.keras_lenet5()
        nets.keras_load(model, keras_file)
        compare("trained here, loaded in Keras", here, nets.keras_logits(model, images), labels)
        model = nets.torch_lenet5()
        nets.torch_load(model, torch_file)
        compare("trained here, loaded in PyTorch", here, nets.torch_logits(model, images), labels)

        model = train_keras(*train)
        nets.keras_save(model, keras_file)
        compare("trained in Keras, loaded here", logits_here(keras_file, "keras"), nets.keras_logits(model, images), labels)
        model = train_torch(*train)
        nets.torch_save(model, torch_file)
        compare("trained in PyTorch, loaded here", logits_here(torch_file, "pytorch"), nets.torch_logits(model, images), labels)


main()
