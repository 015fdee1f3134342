//! Datasets from public mirrors.

use std::path::PathBuf;

use convlane::data::download::{self, Received, Source};
use indicatif::{ProgressBar, ProgressStyle};

/// The datasets by name.
pub fn source(name: &str) -> Result<Source, String> {
    let sources = [Source::mnist(), Source::fashion_mnist()];
    let names = sources.each_ref().map(|source| source.name.to_string()).join(" or ");
    sources.into_iter().find(|source| source.name == name).ok_or_else(|| format!("expected {names}"))
}

/// The directory of a dataset, with a bar on the way there if standard error is a terminal.
pub fn fetch(source: &Source, quiet: bool) -> convlane::Result<PathBuf> {
    let bar = if quiet { ProgressBar::hidden() } else { ProgressBar::no_length() };
    let style = ProgressStyle::with_template("{prefix}  {wide_bar} {bytes}  {bytes_per_sec}  {eta} left");
    bar.set_style(style.expect("a template that was tried"));
    let show = |Received { file, bytes, total }: Received| {
        bar.set_prefix(file.to_owned());
        bar.set_length(total.unwrap_or(bytes));
        bar.set_position(bytes);
    };
    let fetched = download::fetch(source, download::Options::default().progress(show));
    bar.finish_and_clear();
    fetched
}
