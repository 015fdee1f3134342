"""PyTorch: oneDNN in its own layout and in channels-last, no oneDNN, and torch.compile where it makes kernels of its own."""

import peer
import torch
from torch import nn
from torch.nn import functional as F

aten = torch.ops.aten
THREADS = peer.threads()
torch.set_num_threads(THREADS)
torch.manual_seed(1)

LAYOUTS = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def tensors(line, layout):
    """`x`, `w` and `dy`."""
    shapes = [(line.n, line.c, line.h, line.w), (line.out, line.c // line.groups, line.kernel, line.kernel),
              (line.n, line.out, line.out_h, line.out_w)]
    return [torch.from_numpy(peer.random(*shape)).contiguous(memory_format=layout) for shape in shapes]


def conv(line, kind, layout):
    x, w, dy = tensors(line, layout)
    window = [line.stride] * 2, [line.pad] * 2, [1, 1]
    if kind == "forward":
        return lambda: F.conv2d(x, w, None, *window, line.groups)
    mask = [kind == "data", kind == "weights", False]
    return lambda: aten.convolution_backward(dy, x, w, None, *window, False, [0, 0], line.groups, mask)


def pool(line, kind, layout):
    x, _, dy = tensors(line, layout)
    size, stride, pad = [line.kernel] * 2, [line.stride] * 2, [line.pad] * 2
    if line.op == "avg":
        backward = lambda: aten.avg_pool2d_backward(dy, x, size, stride, pad, False, False, None)
        return backward if kind == "data" else lambda: aten.avg_pool2d(x, size, stride, pad, False, False)
    _, indices = aten.max_pool2d_with_indices(x, size, stride, pad)
    backward = lambda: aten.max_pool2d_with_indices_backward(dy, x, size, stride, pad, [1, 1], False, indices)
    return backward if kind == "data" else lambda: aten.max_pool2d_with_indices(x, size, stride, pad)


def dense(line, kind):
    x, w, dy = (torch.from_numpy(peer.random(*shape)) for shape in [(line.n, line.c), (line.out, line.c), (line.n, line.out)])
    return {"forward": lambda: F.linear(x, w), "data": lambda: dy @ w, "weights": lambda: dy.t() @ x}[kind]


def without_grad(run):
    def inner():
        with torch.no_grad():
            return run()
    return inner


def without_onednn(run):
    def inner():
        with torch.backends.mkldnn.flags(enabled=False):
            return run()
    return inner


def layer(line, kind):
    if line.op == "dense":
        return {"eager": without_grad(dense(line, kind))}
    if line.op == "conv":
        ways = {name: without_grad(conv(line, kind, layout)) for name, layout in LAYOUTS.items()}
        return ways | {"no_onednn": without_onednn(ways["nchw"])}
    runs = {name: pool(line, kind, layout) for name, layout in LAYOUTS.items()}
    compiled = {f"{name}_compile": torch.compile(run) for name, run in runs.items()}
    return {name: without_grad(run) for name, run in (runs | compiled).items()}


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )


def mnist(layout):
    images, labels = peer.mnist()
    images = torch.from_numpy(images / 255).float().unsqueeze(1)
    return images.contiguous(memory_format=layout), torch.from_numpy(labels).long()


def epoch(layout, compiled):
    images, labels = mnist(layout)
    model = lenet5().to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    if compiled:
        step = torch.compile(step, dynamic=False)

    def run():
        return sum(step(images[at], labels[at]) for at in torch.randperm(len(images)).split(peer.BATCH)).item()
    return run


def inference(kind, layout, compiled):
    images, _ = mnist(layout)
    parts = images[:1].split(1) if kind == "one" else images.split(peer.BATCH)
    model = lenet5().to(memory_format=layout).eval()
    if compiled:
        model = torch.compile(model, dynamic=False, options={"freezing": True})

    def run():
        for part in parts:
            model(part)
    return without_grad(run)


def net(kind):
    make = epoch if kind == "epoch" else lambda *way: inference(kind, *way)
    ways = {name: make(layout, False) for name, layout in LAYOUTS.items()}
    return ways | {f"{name}_compile": make(layout, True) for name, layout in LAYOUTS.items()}


peer.serve("torch", THREADS, layer, net)
