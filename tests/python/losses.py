"""Writes tests/data/losses/keras.csv: the loss of each of 100 training steps in Keras, in float32 and in float64.

Weights start as `Sequential::build` makes them, batches are those of the MNIST training images in order. Prints besides how far Keras
is from itself when only roundings differ: in float64, or with the images of every batch the other way round.
"""

import csv

import nets
import numpy as np
import start

STEPS, BATCH, SEED = 100, 32, 42

# Activation and learning rate; the first activation is that of the tutorial's LeNet-5.
RUNS = [("relu", 0.01), ("relu", 0.05), ("tanh", 0.05)]


def losses(activation, rate, dtype, order=1):
    nets.keras.config.set_floatx(dtype)
    model = nets.keras_lenet5(activation)
    model.add(nets.layers.Softmax())
    model.set_weights(start.weights(SEED, [tuple(weight.shape) for weight in model.weights]))
    model.compile(nets.keras.optimizers.SGD(rate), "sparse_categorical_crossentropy")
    images, labels = nets.mnist("train")
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        model.reset_metrics()  # Else the loss would be the mean of all steps so far.
        yield float(model.train_on_batch(images[batch][::order], labels[batch][::order]))


def differ(what, here, there):
    errors = np.abs(np.array(here) / np.array(there) - 1)
    over = np.flatnonzero(errors > 1e-4)
    print(f"  {what:20} at most {errors.max():.1e}, over 1e-4", f"from step {over[0]}" if len(over) else "never", flush=True)


def main():
    columns = {}
    for activation, rate in RUNS:
        name = f"{activation}/{rate}"
        single, double = [list(losses(activation, rate, dtype)) for dtype in ("float32", "float64")]
        print(f"{name}: {single[0]:.4f} to {single[-1]:.4f}; Keras in float32 against")
        differ("float64", single, double)
        differ("images turned round", single, list(losses(activation, rate, "float32", -1)))
        columns |= {f"{name}/float32": single, f"{name}/float64": double}
    path = nets.ROOT / "tests/data/losses/keras.csv"
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows([f"{loss:.9g}" for loss in step] for step in zip(*columns.values()))


main()
