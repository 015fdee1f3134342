//! Lines of `benches/lines.csv`.

use std::fs;

use crate::{Error, root};

#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub op: String,
    pub n: usize,
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub out: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    pub groups: usize,
}

impl Line {
    pub fn all() -> Result<Vec<Line>, Error> {
        let table = fs::read_to_string(root().join("benches/lines.csv"))?;
        table.lines().skip(1).map(|row| Line::read(row).ok_or_else(|| format!("no line: {row}").into())).collect()
    }

    pub fn read(row: &str) -> Option<Self> {
        let mut fields = row.split(',');
        let (name, op) = (fields.next()?.into(), fields.next()?.into());
        let sizes: Vec<usize> = fields.map(str::parse).collect::<Result<_, _>>().ok()?;
        let [n, h, w, c, out, kernel, stride, pad, groups] = sizes.try_into().ok()?;
        Some(Line { name, op, n, h, w, c, out, kernel, stride, pad, groups })
    }

    pub fn x(&self) -> [usize; 4] {
        [self.n, self.c, self.h, self.w]
    }

    pub fn weights(&self) -> [usize; 4] {
        [self.out, self.c / self.groups, self.kernel, self.kernel]
    }

    pub fn y(&self) -> [usize; 4] {
        let size = |size: usize| (size + 2 * self.pad - self.kernel) / self.stride + 1;
        [self.n, self.out, size(self.h), size(self.w)]
    }
}
