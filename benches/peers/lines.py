"""Lines of `benches/lines.csv`."""

import csv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Line:
    line: str
    op: str
    n: int
    h: int
    w: int
    c: int
    out: int
    kernel: int
    stride: int
    pad: int
    groups: int

    @property
    def out_h(self):
        return (self.h + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def out_w(self):
        return (self.w + 2 * self.pad - self.kernel) // self.stride + 1

    @property
    def flops(self):
        """Of a pass by the direct algorithm, two for a multiply-add; none for a pooling."""
        taps = self.kernel**2 * self.c // self.groups
        return 2 * self.n * self.out_h * self.out_w * taps * self.out if self.op in ("conv", "dense") else 0

    @property
    def passes(self):
        return ("forward", "data", "weights") if self.flops else ("forward", "data")


def lines():
    with open(ROOT / "benches/lines.csv") as file:
        rows = csv.DictReader(file)
        return [Line(*(value if key in ("line", "op") else int(value) for key, value in row.items())) for row in rows]
