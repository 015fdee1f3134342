"""Runs the Python of the guide pages in src/guide: all blocks of a page as one program, and every layer of its table."""

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

GUIDE = Path(__file__).resolve().parents[2] / "src/guide"
PARAMETERS = 44_426


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def layers(page):
    """The code in the first column of the table of layers."""
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    return [code for row in rows for code in re.findall(r"`(.*?)`", row)]


def images():
    import numpy as np
    random = np.random.default_rng(1)
    return random.random((20, 28, 28, 1), np.float32), np.arange(20) % 10


def keras_names():
    import keras
    x, y = images()
    names = {"keras": keras, "layers": keras.layers, "x": x, "y": y, "x_test": x, "y_test": y}
    names["batches"] = [(x[:10], y[:10]), (x[10:], y[10:])]
    if keras.backend.backend() == "tensorflow":
        import tensorflow
        names["tf"] = tensorflow
    return names, vars(keras.layers), lambda model: model.count_params()


def pytorch_names():
    import safetensors.torch
    import torch
    from torch.utils.data import DataLoader, TensorDataset
    x, y = images()
    x, y = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), torch.from_numpy(y)
    names = {"torch": torch, "nn": torch.nn, "safetensors": safetensors, "DataLoader": DataLoader}
    names |= {"train": TensorDataset(x, y), "x_test": x, "y_test": y}
    names["batches"] = [(x[:10], y[:10]), (x[10:], y[10:])]
    return names, vars(torch.nn), lambda model: sum(parameter.numel() for parameter in model.parameters())


def run(page, names, layer_names, count):
    text = (GUIDE / f"{page}.md").read_text()
    ran, left_out = 0, 0
    for block in blocks(text):
        if "tf." in block and "tf" not in names:
            left_out += 1
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            exec(block, names)
        ran += 1
    assert count(names["model"]) == PARAMETERS
    for code in layers(text):
        eval(code, dict(layer_names))
    print(f"{page}: {ran} blocks and {len(layers(text))} layers run, {left_out} blocks left out for want of TensorFlow")


PAGES = {"keras": keras_names, "pytorch": pytorch_names}
with tempfile.TemporaryDirectory() as directory:
    os.chdir(directory)
    for page in sys.argv[1:] or PAGES:
        run(page, *PAGES[page]())
