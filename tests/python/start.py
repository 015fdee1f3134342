"""First weights as `Sequential::build` makes them from a seed: SplitMix64, Glorot-uniform kernels, zero biases."""

import numpy as np

GAMMA = np.uint64(0x9E3779B97F4A7C15)


def mix(z):
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@np.errstate(over="ignore")
def uniform(seed, stream, count):
    """The first numbers of a stream, from -1 to 1 in steps of 2^-23."""
    state = mix(mix(np.uint64(seed) + GAMMA) + np.uint64(stream) + GAMMA)
    bits = mix(state + GAMMA * np.arange(1, count + 1, dtype=np.uint64))
    return (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)


def weights(seed, shapes):
    """An array for each of `shapes`; those of biases have one axis."""
    arrays = []
    for stream, shape in enumerate(shapes):
        array = np.zeros(shape, np.float32)
        if len(shape) > 1:
            *taps, inputs, outputs = shape
            limit = np.float32(np.sqrt(6 / (np.prod(taps) * (inputs + outputs))))
            array = (uniform(seed, stream, array.size) * limit).reshape(shape)
        arrays.append(array)
    return arrays
