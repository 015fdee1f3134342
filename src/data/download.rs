//! Datasets fetched from public mirrors, once: MNIST, Fashion-MNIST, and whatever files have a known SHA-256.

use std::borrow::Cow;
use std::env;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;

use super::{Dataset, idx};
use crate::atomic;
use crate::error::{Error, Result};

/// By how many bytes a packed file may be longer than what it holds, besides a thousandth.
const OVERHEAD: u64 = 1024;

/// Files, and where to have them from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name of their directory in the cache.
    pub name: Cow<'static, str>,
    /// Where to look for `<file>.gz`, as URLs up to and without the last `/`; a mirror that fails is asked last from
    /// then on.
    pub mirrors: Vec<Cow<'static, str>>,
    /// The files.
    pub files: Vec<Remote>,
}

/// A file of a [`Source`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its name when unpacked; mirrors have it with `.gz` behind.
    pub name: Cow<'static, str>,
    /// Its length in bytes when unpacked.
    pub len: usize,
    /// The SHA-256 of what is unpacked, in lower-case hexadecimal digits.
    pub sha256: Cow<'static, str>,
}

/// Names and lengths of the files of MNIST and of Fashion-MNIST, which was made to take its place.
const FILES: [(&str, usize); 4] = [
    ("train-images-idx3-ubyte", 47_040_016),
    ("train-labels-idx1-ubyte", 60_008),
    ("t10k-images-idx3-ubyte", 7_840_016),
    ("t10k-labels-idx1-ubyte", 10_008),
];

impl Source {
    /// MNIST: 60,000 training and 10,000 test images of handwritten digits, by Yann LeCun and Corinna Cortes under CC
    /// BY-SA 3.0. The mirrors send 12 MB, which become 55 MB.
    pub fn mnist() -> Self {
        let mirrors =
            ["https://storage.googleapis.com/cvdf-datasets/mnist", "https://ossci-datasets.s3.amazonaws.com/mnist"];
        let sha256 = [
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ];
        Source::like_mnist("mnist", mirrors, sha256)
    }

    /// Fashion-MNIST: 60,000 training and 10,000 test images of ten kinds of clothes, by Zalando under the MIT licence. The
    /// mirrors send 31 MB, which become 55 MB.
    pub fn fashion_mnist() -> Self {
        let mirrors = [
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
        ];
        let sha256 = [
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ];
        Source::like_mnist("fashion-mnist", mirrors, sha256)
    }

    fn like_mnist(name: &'static str, mirrors: [&'static str; 2], sha256: [&'static str; 4]) -> Self {
        let file = |((name, len), sha256)| Remote { name: Cow::Borrowed(name), len, sha256: Cow::Borrowed(sha256) };
        let files = FILES.into_iter().zip(sha256).map(file).collect();
        Source { name: name.into(), mirrors: mirrors.map(Cow::Borrowed).into(), files }
    }
}

/// How far a file has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received<'a> {
    /// Its name.
    pub file: &'a str,
    /// Bytes that have come, packed.
    pub bytes: u64,
    /// Bytes that were announced, packed.
    pub total: Option<u64>,
}

/// How to fetch.
///
/// ```
/// use std::time::Duration;
/// use convlane::data::download::Options;
///
/// let options = Options::default()
///     .directory("datasets/mnist")
///     .timeout(Duration::from_secs(5))
///     .progress(|received| eprintln!("{}: {} bytes", received.file, received.bytes));
/// ```
pub struct Options<'a> {
    directory: Option<PathBuf>,
    timeout: Duration,
    progress: Box<dyn FnMut(Received<'_>) + 'a>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Options { directory: None, timeout: Duration::from_secs(20), progress: Box::new(|_| {}) }
    }
}

impl<'a> Options<'a> {
    /// Keeps the files here rather than in `convlane/<name>` of the platform's cache: `$XDG_CACHE_HOME` or `~/.cache`,
    /// `~/Library/Caches` on macOS, `%LOCALAPPDATA%` on Windows.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// How long a mirror may take to connect, as long again to answer, and between any two pieces of a file; 20 seconds
    /// otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Is told whenever a piece of a file has come.
    pub fn progress(mut self, progress: impl FnMut(Received<'_>) + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }
}

/// MNIST as [`mnist::load`](super::mnist::load) gives it, fetched if it is not at hand: training and test samples.
///
/// ```no_run
/// use convlane::data::download::{self, Options};
///
/// let (train, test) = download::mnist(Options::default())?;
/// assert_eq!((train.len(), test.len(), train.classes()), (60_000, 10_000, 10));
/// # Ok::<(), convlane::Error>(())
/// ```
///
/// # Errors
/// As [`fetch`].
pub fn mnist(options: Options<'_>) -> Result<(Dataset, Dataset)> {
    super::mnist::load(fetch(&Source::mnist(), options)?)
}

/// Fashion-MNIST, as [`mnist`] gives MNIST.
///
/// # Errors
/// As [`fetch`].
pub fn fashion_mnist(options: Options<'_>) -> Result<(Dataset, Dataset)> {
    super::mnist::load(fetch(&Source::fashion_mnist(), options)?)
}

/// Fetches what is not yet at hand, and says in which directory all files are.
///
/// A file that is there, plain or with `.gz` behind its name, is checked and kept, and nobody is asked for it: files put
/// there by hand do as well. Any other comes from the first mirror that sends the right bytes. No more of them are read
/// than the file can have, and it gets its name only when they are known to be right.
///
/// ```no_run
/// use convlane::data::download::{Options, Remote, Source, fetch};
///
/// let source = Source {
///     name: "digits".into(),
///     mirrors: vec!["https://example.org/digits".into()],
///     files: vec![Remote {
///         name: "digits-idx3-ubyte".into(),
///         len: 1_000_016,
///         sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into(),
///     }],
/// };
/// println!("{}", fetch(&source, Options::default())?.display());
/// # Ok::<(), convlane::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] if no mirror has a file, with what is wrong with each and the place where to put the file by hand;
/// [`Error::Io`] if it cannot be written; [`Error::Setting`] if there is no cache directory and none was given.
pub fn fetch(source: &Source, options: Options<'_>) -> Result<PathBuf> {
    let Options { directory, timeout, mut progress } = options;
    let directory = directory.or_else(|| Some(cache()?.join("convlane").join(&*source.name)));
    let directory = directory.ok_or_else(|| Error::Setting {
        name: "directory",
        problem: "this platform names no place for caches, give one".into(),
    })?;
    let mut mirrors = Mirrors { agent: agent(timeout), urls: source.mirrors.iter().map(|url| &**url).collect() };
    for file in &source.files {
        if !is_at_hand(&directory, file) {
            let bytes = mirrors.fetch(file, &mut progress).map_err(|problem| {
                let problem = format!("cannot be fetched ({problem}); put it there by hand");
                Error::file(directory.join(format!("{}.gz", file.name)), problem)
            })?;
            fs::create_dir_all(&directory).map_err(|source| Error::Io { file: directory.clone(), source })?;
            atomic::write(directory.join(&*file.name), &bytes)?;
        }
    }
    Ok(directory)
}

/// Where the platform keeps what can be had again.
fn cache() -> Option<PathBuf> {
    let named = |variable| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = |path| env::home_dir().map(|home| home.join(path));
    match env::consts::OS {
        "windows" => named("LOCALAPPDATA"),
        "macos" => home("Library/Caches"),
        _ => named("XDG_CACHE_HOME").or_else(|| home(".cache")),
    }
}

/// Whether the file that [`mnist::load`](super::mnist::load) would read is the right one.
fn is_at_hand(directory: &Path, file: &Remote) -> bool {
    let plain = directory.join(&*file.name);
    let packed = directory.join(format!("{}.gz", file.name));
    let found = File::open(plain).or_else(|_| File::open(packed));
    found.is_ok_and(|found| contents(found, file).is_ok())
}

/// What is unpacked from `bytes`, if it is what the file should hold.
fn contents(bytes: impl Read, file: &Remote) -> std::result::Result<Vec<u8>, String> {
    let unpacked = idx::unpacked(bytes).and_then(|(_, mut bytes)| idx::read_up_to(&mut bytes, file.len + 1));
    let unpacked = unpacked.map_err(|error| error.to_string())?;
    if unpacked.len() != file.len {
        let got = if unpacked.len() > file.len { "more".to_owned() } else { unpacked.len().to_string() };
        return Err(format!("expected {} bytes, got {got}", file.len));
    }
    match hex(&Sha256::digest(&unpacked)) {
        sha256 if sha256 == *file.sha256 => Ok(unpacked),
        sha256 => Err(format!("expected SHA-256 {}, got {sha256}", file.sha256)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn agent(timeout: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_resolve(Some(timeout))
        .timeout_connect(Some(timeout))
        .timeout_recv_response(Some(timeout))
        .timeout_per_read(Some(timeout))
        .user_agent(concat!("convlane/", env!("CARGO_PKG_VERSION")));
    config.build().into()
}

/// The mirrors in the order in which they are asked.
struct Mirrors<'a> {
    agent: Agent,
    urls: Vec<&'a str>,
}

impl Mirrors<'_> {
    /// The contents of a file from the first mirror that has it, or what is wrong with each.
    fn fetch(&mut self, file: &Remote, progress: &mut dyn FnMut(Received<'_>)) -> std::result::Result<Vec<u8>, String> {
        let mut problems = Vec::new();
        for _ in 0..self.urls.len() {
            let url = format!("{}/{}.gz", self.urls[0], file.name);
            match get(&self.agent, &url, file, progress) {
                Ok(contents) => return Ok(contents),
                Err(problem) => problems.push(format!("{url}: {problem}")),
            }
            self.urls.rotate_left(1);
        }
        Err(if problems.is_empty() { "no mirror".to_owned() } else { problems.join("; ") })
    }
}

fn get(
    agent: &Agent,
    url: &str,
    file: &Remote,
    progress: &mut dyn FnMut(Received<'_>),
) -> std::result::Result<Vec<u8>, String> {
    let body = agent.get(url).call().map_err(|error| error.to_string())?.into_body();
    let total = body.content_length();
    let limit = file.len as u64 + file.len as u64 / 1000 + OVERHEAD;
    if let Some(total) = total.filter(|&total| total > limit) {
        return Err(format!("announces {total} bytes, the limit is {limit}"));
    }
    let bytes = body.into_with_config().limit(limit).reader();
    contents(Observed { bytes, received: Received { file: &file.name, bytes: 0, total }, progress }, file)
}

/// Bytes of which somebody is told.
struct Observed<'a, R> {
    bytes: R,
    received: Received<'a>,
    progress: &'a mut dyn FnMut(Received<'_>),
}

impl<R: Read> Read for Observed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.received.bytes += read as u64;
        if read > 0 {
            (self.progress)(self.received);
        }
        Ok(read)
    }
}
