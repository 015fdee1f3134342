"""LeNet-5 and a tiny net in Keras and in PyTorch, their weights in safetensors files, and MNIST."""

import gzip
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from keras import layers
from torch import nn

ROOT = Path(__file__).resolve().parents[2]

# Rows, columns and channels of the tiny net's input; every axis on its way to the first dense layer is another size.
TINY = (6, 5, 2)


def keras_lenet5(activation="relu"):
    return keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(6, 5, activation=activation, name="conv2d"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation=activation, name="conv2d_1"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation=activation, name="dense"),
        layers.Dense(84, activation=activation, name="dense_1"),
        layers.Dense(10, name="dense_2"),
    ])


def torch_lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )


def keras_tiny():
    return keras.Sequential([
        layers.Input(TINY),
        layers.Conv2D(3, (3, 2), activation="relu", bias_initializer="uniform", name="conv2d"),
        layers.MaxPooling2D((2, 1)),
        layers.Flatten(),
        layers.Dense(5, activation="tanh", bias_initializer="uniform", name="dense"),
        layers.Dense(3, use_bias=False, name="dense_1"),
    ])


def torch_tiny():
    return nn.Sequential(
        nn.Conv2d(2, 3, (3, 2)), nn.ReLU(), nn.MaxPool2d((2, 1)),
        nn.Flatten(),
        nn.Linear(24, 5), nn.Tanh(), nn.Linear(5, 3, bias=False),
    )


def keras_variables(model):
    """The variables by the names of the files: conv2d.kernel, ..."""
    return {f"{layer.name}.{variable.name}": variable for layer in model.layers for variable in layer.weights}


def keras_save(model, path):
    tensors = {name: keras.ops.convert_to_numpy(variable) for name, variable in keras_variables(model).items()}
    safetensors.numpy.save_file(tensors, path)


def keras_load(model, path):
    tensors, variables = safetensors.numpy.load_file(path), keras_variables(model)
    assert tensors.keys() == variables.keys(), (tensors.keys(), variables.keys())
    for name, variable in variables.items():
        variable.assign(tensors[name])


def torch_save(model, path):
    safetensors.torch.save_file(model.state_dict(), path)


def torch_load(model, path):
    model.load_state_dict(safetensors.torch.load_file(path), strict=True)


def keras_logits(model, images):
    return model.predict(images, batch_size=1000, verbose=0)


def torch_logits(model, images):
    with torch.inference_mode():
        return model(channels_first(images)).numpy()


def channels_first(images):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def mnist(part):
    """Images [n][28][28][1] from 0 to 1, and labels; part is train or t10k."""
    def read(name, header):
        path = next((ROOT / "tests/data/mnist").glob(f"{part}-{name}-ubyte*"))
        data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
        return np.frombuffer(data, np.uint8, offset=header)
    images = read("images-idx3", 16).reshape(-1, 28, 28, 1).astype(np.float32) / np.float32(255)
    return images, read("labels-idx1", 8).astype(np.int64)
