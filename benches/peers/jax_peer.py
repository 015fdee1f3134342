"""JAX: XLA's code for the CPU, in both layouts."""

import os

import peer

THREADS = peer.threads()
os.environ |= {"JAX_PLATFORMS": "cpu", "NPROC": str(THREADS)}

import jax
import jax.numpy as jnp
from jax import lax

LAYOUTS = {"nhwc": ("NHWC", "HWIO", "NHWC"), "nchw": ("NCHW", "OIHW", "NCHW")}


def tensors(line, layout):
    """`x`, `w` and `dy`."""
    x, w, dy = (line.n, line.h, line.w, line.c), (line.kernel, line.kernel, line.c // line.groups, line.out), \
               (line.n, line.out_h, line.out_w, line.out)
    if layout == "nchw":
        x, w, dy = (x[0], x[3], *x[1:3]), (w[3], w[2], *w[:2]), (dy[0], dy[3], *dy[1:3])
    return [jnp.asarray(peer.random(*shape)) for shape in (x, w, dy)]


def convolve(line, layout):
    def run(x, w):
        return lax.conv_general_dilated(x, w, (line.stride,) * 2, [(line.pad,) * 2] * 2,
                                        dimension_numbers=LAYOUTS[layout], feature_group_count=line.groups)
    return run


def pool(line, layout):
    around = (lambda size: (1, size, size, 1)) if layout == "nhwc" else (lambda size: (1, 1, size, size))
    size, strides = around(line.kernel), around(line.stride)
    if line.op == "max":
        return lambda x, _: lax.reduce_window(x, -jnp.inf, lax.max, size, strides, "VALID")
    return lambda x, _: lax.reduce_window(x, 0.0, lax.add, size, strides, "VALID") / line.kernel**2


def passed(operation, kind, x, w, dy):
    if kind == "forward":
        run, inputs = jax.jit(operation), (x, w)
    elif kind == "data":
        run, inputs = jax.jit(lambda x, w, dy: jax.vjp(lambda x: operation(x, w), x)[1](dy)), (x, w, dy)
    else:
        run, inputs = jax.jit(lambda x, w, dy: jax.vjp(lambda w: operation(x, w), w)[1](dy)), (x, w, dy)
    return lambda: jax.block_until_ready(run(*inputs))


def layer(line, kind):
    if line.op == "dense":
        shapes = [(line.n, line.c), (line.c, line.out), (line.n, line.out)]
        return {"jit": passed(jnp.matmul, kind, *(jnp.asarray(peer.random(*shape)) for shape in shapes))}
    make = convolve if line.op == "conv" else pool
    return {layout: passed(make(line, layout), kind, *tensors(line, layout)) for layout in LAYOUTS}


def lenet5(params, x):
    for w, b in params[:2]:
        x = jax.nn.relu(lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=LAYOUTS["nhwc"]) + b)
        x = lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    x = x.reshape(len(x), -1)
    for w, b in params[2:4]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[4]
    return x @ w + b


def parameters():
    shapes = [(5, 5, 1, 6), (5, 5, 6, 16), (256, 120), (120, 84), (84, 10)]
    keys = jax.random.split(jax.random.key(1), len(shapes))
    glorot = jax.nn.initializers.glorot_uniform()
    return [(glorot(key, shape), jnp.zeros(shape[-1])) for key, shape in zip(keys, shapes)]


def mnist():
    images, labels = peer.mnist()
    return jnp.asarray(images / 255, jnp.float32)[..., None], jnp.asarray(labels, jnp.int32)


def loss(params, x, y):
    return -jnp.take_along_axis(jax.nn.log_softmax(lenet5(params, x)), y[:, None], 1).mean()


@jax.jit
def step(params, images, labels, at):
    grads = jax.grad(loss)(params, images[at], labels[at])
    return jax.tree.map(lambda value, grad: value - 0.05 * grad, params, grads)


def epoch():
    images, labels = mnist()
    state = [parameters(), jax.random.key(2)]

    def run():
        params, key = state
        key, now = jax.random.split(key)
        order = jax.random.permutation(now, len(images))
        for start in range(0, len(images), peer.BATCH):
            params = step(params, images, labels, order[start:start + peer.BATCH])
        state[:] = jax.block_until_ready(params), key
    return run


def inference(kind):
    images, params, run_one = mnist()[0], parameters(), jax.jit(lenet5)
    size, count = (1, 1) if kind == "one" else (peer.BATCH, len(images))
    parts = [jax.block_until_ready(images[at:at + size]) for at in range(0, count, size)]
    return lambda: [jax.block_until_ready(run_one(params, part)) for part in parts]


def net(kind):
    return {"jit": epoch() if kind == "epoch" else inference(kind)}


peer.serve("jax", THREADS, layer, net)
