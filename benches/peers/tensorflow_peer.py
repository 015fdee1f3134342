"""TensorFlow: graphs of the operations that a Keras model runs, with and without XLA, and Keras's own `fit`."""

import os

os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}

import peer

THREADS = peer.threads()

import keras
import tensorflow as tf
from keras import layers

tf.config.threading.set_intra_op_parallelism_threads(THREADS)
tf.config.threading.set_inter_op_parallelism_threads(1)
keras.utils.set_random_seed(1)
raw = tf.raw_ops


def tensors(line):
    """`x`, `w` and `dy`, in the layout of TensorFlow."""
    shapes = [(line.n, line.h, line.w, line.c), (line.kernel, line.kernel, line.c // line.groups, line.out),
              (line.n, line.out_h, line.out_w, line.out)]
    return [tf.constant(peer.random(*shape)) for shape in shapes]


def conv(line, kind):
    x, w, dy = tensors(line)
    pads = [0, 0, line.pad, line.pad, line.pad, line.pad, 0, 0]
    window = {"strides": [1, line.stride, line.stride, 1], "padding": "EXPLICIT", "explicit_paddings": pads}
    prefix = "Conv2D"
    if line.groups > 1:
        assert line.groups == line.c == line.out
        w, prefix = tf.reshape(w, (line.kernel, line.kernel, line.c, 1)), "DepthwiseConv2dNative"
    if kind == "forward":
        return getattr(raw, prefix), {"input": x, "filter": w} | window
    if kind == "data":
        sizes = {"input_sizes": tf.shape(x), "filter": w, "out_backprop": dy}
        return getattr(raw, prefix + "BackpropInput"), sizes | window
    sizes = {"input": x, "filter_sizes": tf.shape(w), "out_backprop": dy}
    return getattr(raw, prefix + "BackpropFilter"), sizes | window


def pool(line, kind):
    x, _, dy = tensors(line)
    size, strides = [1, line.kernel, line.kernel, 1], [1, line.stride, line.stride, 1]
    window = {"ksize": size, "strides": strides, "padding": "VALID"}
    if line.op == "avg":
        if kind == "forward":
            return raw.AvgPool, {"value": x} | window
        return raw.AvgPoolGrad, {"orig_input_shape": tf.shape(x), "grad": dy} | window
    if kind == "forward":
        return raw.MaxPool, {"input": x} | window
    return raw.MaxPoolGrad, {"orig_input": x, "orig_output": raw.MaxPool(input=x, **window), "grad": dy} | window


def dense(line, kind):
    x, w, dy = (tf.constant(peer.random(*shape)) for shape in [(line.n, line.c), (line.c, line.out), (line.n, line.out)])
    a, b = {"forward": (x, w), "data": (dy, w), "weights": (x, dy)}[kind]
    return raw.MatMul, {"a": a, "b": b, "transpose_a": kind == "weights", "transpose_b": kind == "data"}


def layer(line, kind):
    op, arguments = {"conv": conv, "dense": dense}.get(line.op, pool)(line, kind)
    variable = {name: value for name, value in arguments.items() if tf.is_tensor(value) and value.dtype == tf.float32}
    fixed = {name: value for name, value in arguments.items() if name not in variable}

    def ready(xla):
        graph = tf.function(lambda **tensors: op(**tensors, **fixed), jit_compile=xla)
        try:
            graph(**variable)
        except (tf.errors.OpError, ValueError, NotImplementedError):
            return None  # XLA has no kernel for it.
        return lambda: graph(**variable)

    ways = {"function": ready(False), "xla": ready(True)}
    return {way: run for way, run in ways.items() if run}


def lenet5():
    return keras.Sequential([
        layers.Input((28, 28, 1)),
        layers.Conv2D(6, 5, activation="relu"),
        layers.AveragePooling2D(2),
        layers.Conv2D(16, 5, activation="relu"),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(120, activation="relu"),
        layers.Dense(84, activation="relu"),
        layers.Dense(10),
    ])


def mnist():
    images, labels = peer.mnist()
    return (images / 255).astype("float32")[..., None], labels.astype("int32")


def fit():
    images, labels = mnist()
    model = lenet5()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss=loss, metrics=["accuracy"])
    return lambda: model.fit(images, labels, batch_size=peer.BATCH, verbose=0)


def epoch(xla):
    images, labels = (tf.constant(values) for values in mnist())
    model, optimizer = lenet5(), keras.optimizers.SGD(0.05)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=xla)
    def step(x, y):
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True))
            loss = tf.reduce_mean(losses)
        optimizer.apply_gradients(zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables))
        return loss

    def run():
        order = tf.random.shuffle(tf.range(len(images)))
        for start in range(0, len(images), peer.BATCH):
            at = order[start:start + peer.BATCH]
            loss = step(tf.gather(images, at), tf.gather(labels, at))
        return float(loss)
    return run


def inference(kind, xla):
    images = mnist()[0]
    size = 1 if kind == "one" else peer.BATCH
    parts = [tf.constant(images[at:at + size]) for at in range(0, 1 if kind == "one" else len(images), size)]
    model = lenet5()
    graph = tf.function(lambda x: model(x, training=False), jit_compile=xla)

    def run():
        for part in parts:
            last = graph(part)
        return last.numpy()
    return run


def net(kind):
    if kind == "epoch":
        return {"keras_fit": fit(), "function": epoch(False), "xla": epoch(True)}
    return {"function": inference(kind, False), "xla": inference(kind, True)}


peer.serve("tensorflow", THREADS, layer, net)
