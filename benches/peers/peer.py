"""What every Python peer does: answer requests for measurements, one a line, on standard input.

A peer is started with its number of threads. A request is `line pass`; the answer is a CSV line
`peer,way,line,pass,threads,us` for every way the peer has, the median of its runs in microseconds, and an empty line.
Passes of a layer are `forward`, `data` and `weights`; a pooling has `forward` and `data`. The line `lenet5` has the passes
`epoch`, `batch` (inference of all images, a batch at a time) and `one` (inference of one image).
"""

import gzip
import os
import sys
import time
from statistics import median

import numpy as np
from lines import ROOT, lines

BATCH = 256
SECONDS, RUNS, MOST_SECONDS = 0.05, 3, 0.5
"""What goes into a median: at least so long and so many runs, but no run after half a second."""


def random(*shape):
    return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def mnist():
    """The training images, `[60000][28][28]` of bytes, and their labels."""
    def read(name, header):
        with gzip.open(ROOT / "tests/data/mnist" / name) as file:
            return np.frombuffer(bytearray(file.read()), np.uint8, offset=header)
    return read("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28), read("train-labels-idx1-ubyte.gz", 8)


def threads():
    """The number of threads asked for; the process is kept to as many cores."""
    count = int(sys.argv[1])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    return count


def measure(run):
    """Median microseconds of `run`, which returns when the work is done."""
    times = []
    while sum(times) < SECONDS or len(times) < RUNS and sum(times) < MOST_SECONDS:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    return 1e6 * median(times)


def serve(peer, count, layer, net):
    """Answers requests. `layer(line, pass)` and `net(pass)` give functions to be measured by the names of their ways."""
    by_name, ways = {line.line: line for line in lines()}, {}
    for request in sys.stdin:
        name, kind = request.split()
        if request not in ways:
            ways[request] = net(kind) if name == "lenet5" else layer(by_name[name], kind)
            for run in ways[request].values():
                run()  # compiles, if anything is to be
        for way, run in ways[request].items():
            print(f"{peer},{way},{name},{kind},{count},{measure(run):.2f}")
        print(flush=True)
