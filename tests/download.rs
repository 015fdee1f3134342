//! Datasets fetched from mirrors, which here are servers of the test's own.

#[allow(dead_code)]
mod idx;
mod programs;

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use convlane::data::Dataset;
use convlane::data::download::{self, Options, Remote, Source, fetch};
use convlane::error::{Error, Result};
use convlane::kernels::cast::Pixels;
use idx::gzip;
use programs::program;
use sha2::{Digest, Sha256};

const MNIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/mnist");

/// Long enough for this machine to answer itself, short enough to wait for.
const TIMEOUT: Duration = Duration::from_millis(500);

/// What a mirror does when asked for a file.
#[derive(Clone)]
enum Answer {
    /// Sends these bytes, having announced so many.
    Bytes(Vec<u8>, usize),
    /// Sends bytes without saying how many.
    Unannounced(Vec<u8>),
    NotFound,
    /// Sends the asker elsewhere.
    Redirect(String),
    /// Says nothing.
    Stalls,
    /// Sends half of what it announces, then nothing.
    StallsHalfway(Vec<u8>),
}

impl Answer {
    fn good(bytes: &[u8]) -> Self {
        let packed = gzip(bytes);
        Answer::Bytes(packed.clone(), packed.len())
    }

    fn send(&self, mut to: TcpStream) -> std::io::Result<()> {
        let ok = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        match self {
            Answer::Bytes(bytes, announced) => to.write_all(&[&ok(*announced), &bytes[..]].concat()),
            Answer::Unannounced(bytes) => to.write_all(&[b"HTTP/1.0 200 OK\r\n\r\n", &bytes[..]].concat()),
            Answer::NotFound => to.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            Answer::Redirect(url) => {
                write!(to, "HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n")
            }
            Answer::Stalls => hold(to),
            Answer::StallsHalfway(bytes) => {
                to.write_all(&[&ok(bytes.len()), &bytes[..bytes.len() / 2]].concat())?;
                hold(to)
            }
        }
    }
}

/// Keeps a connection open until the other side gives up.
fn hold(to: TcpStream) -> std::io::Result<()> {
    BufReader::new(to).read_line(&mut String::new()).map(drop)
}

/// A server that answers each path in its way, one connection a request, and remembers what it was asked for.
struct Mirror {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Mirror {
    fn new(answer: impl Fn(&str) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        thread::spawn(move || {
            for connection in listener.incoming().map_while(std::result::Result::ok) {
                let mut lines = BufReader::new(&connection).lines().map_while(std::result::Result::ok);
                let Some(request) = lines.next() else { continue };
                lines.take_while(|line| !line.is_empty()).for_each(drop);
                let path = request.split(' ').nth(1).unwrap().to_owned();
                log.lock().unwrap().push(path.clone());
                let answer = answer(&path);
                thread::spawn(move || _ = answer.send(connection));
            }
        });
        Mirror { url, asked }
    }

    /// Answers every request alike.
    fn always(answer: Answer) -> Self {
        Mirror::new(move |_| answer.clone())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A URL at which nobody listens.
fn nobody() -> String {
    format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap())
}

const CONTENT: &[u8] = b"all that the file should hold";

/// One file, `digits`, with [`CONTENT`].
fn source(mirrors: &[&str]) -> Source {
    let sha256 = Sha256::digest(CONTENT).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    Source {
        name: "test".into(),
        mirrors: mirrors.iter().map(|url| url.to_string().into()).collect(),
        files: vec![Remote { name: "digits".into(), len: CONTENT.len(), sha256: sha256.into() }],
    }
}

fn bytes(data: &Dataset) -> &[u8] {
    match data.pixels() {
        Pixels::U8 { values, .. } => values,
        Pixels::F32(_) => panic!("expected bytes"),
    }
}

/// A directory that is not there yet.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("download").join(name);
    let _ = fs::remove_dir_all(&directory);
    directory
}

fn options<'a>(directory: &Path) -> Options<'a> {
    Options::default().directory(directory).timeout(TIMEOUT)
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The message of a failure, with nothing of this machine and run in it, after which nothing may be left.
fn failure(directory: &Path, result: Result<PathBuf>, mirrors: &[&str]) -> String {
    assert_eq!(names(directory), [""; 0]);
    let error = result.unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
    let message = error.to_string().replace(&*directory.to_string_lossy(), "DIR").replace('\\', "/");
    mirrors.iter().zip(["A", "B"]).fold(message, |message, (url, letter)| message.replace(url, letter))
}

/// What is said if the only mirror gives this answer.
fn refused(name: &str, answer: Answer) -> String {
    let (directory, mirror) = (directory(name), Mirror::always(answer));
    let message = failure(&directory, fetch(&source(&[&mirror.url]), options(&directory)), &[&mirror.url]);
    let problem = message.strip_prefix("DIR/digits.gz: cannot be fetched (A/digits.gz: ").expect(&message);
    problem.strip_suffix("); put it there by hand").expect(&message).to_owned()
}

#[test]
fn a_good_file_is_fetched_once() {
    let (directory, mirror) = (directory("good"), Mirror::always(Answer::good(CONTENT)));
    let source = source(&[&mirror.url]);
    for _ in 0..2 {
        assert_eq!(fetch(&source, options(&directory)).unwrap(), directory);
        assert_eq!(fs::read(directory.join("digits")).unwrap(), CONTENT);
        assert_eq!(names(&directory), ["digits"]);
        assert_eq!(mirror.asked(), ["/digits.gz"]);
    }
}

#[test]
fn a_mirror_may_unpack_and_need_not_announce() {
    for (name, bytes) in [("plain", CONTENT.to_vec()), ("packed", gzip(CONTENT))] {
        let (directory, mirror) = (directory(name), Mirror::always(Answer::Unannounced(bytes)));
        fetch(&source(&[&mirror.url]), options(&directory)).unwrap();
        assert_eq!(fs::read(directory.join("digits")).unwrap(), CONTENT);
    }
}

#[test]
fn a_file_put_there_by_hand_is_kept() {
    let mirror = Mirror::always(Answer::good(CONTENT));
    for (name, bytes) in [("digits", CONTENT.to_vec()), ("digits.gz", gzip(CONTENT))] {
        let directory = directory(&format!("hand-{name}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), bytes).unwrap();
        fetch(&source(&[&mirror.url]), options(&directory)).unwrap();
        assert_eq!((names(&directory), mirror.asked().len()), (vec![name.to_owned()], 0));
    }
}

#[test]
fn a_damaged_file_is_fetched_again() {
    let mirror = Mirror::always(Answer::good(CONTENT));
    for (nth, name) in ["digits", "digits.gz"].into_iter().enumerate() {
        let directory = directory(&format!("damaged-{name}"));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name), &CONTENT[1..]).unwrap();
        fetch(&source(&[&mirror.url]), options(&directory)).unwrap();
        assert_eq!(fs::read(directory.join("digits")).unwrap(), CONTENT);
        assert_eq!(mirror.asked().len(), nth + 1);
    }
}

#[test]
fn wrong_contents_are_refused() {
    let mut other = CONTENT.to_vec();
    other[0] ^= 1;
    let message = refused("hash", Answer::good(&other));
    assert!(message.starts_with("expected SHA-256 ") && message.contains(", got "), "{message}");
    assert_eq!(refused("short", Answer::good(&CONTENT[1..])), "expected 29 bytes, got 28");
    assert_eq!(refused("long", Answer::good(&[CONTENT, b"!"].concat())), "expected 29 bytes, got more");
}

#[test]
fn no_more_is_read_than_the_file_can_have() {
    let message = refused("large", Answer::good(&vec![0; 100_000_000]));
    assert!(message.starts_with("announces ") && message.ends_with(" bytes, the limit is 1053"), "{message}");
    assert_eq!(refused("bomb", Answer::good(&[0; 100_000])), "expected 29 bytes, got more");
    // An empty member of a gzip file after the other: packed bytes without end, of which nothing is unpacked.
    let message = refused("endless", Answer::Unannounced(gzip(b"").repeat(10_000)));
    assert!(message.contains("1053"), "{message}");
}

#[test]
fn broken_answers_are_refused() {
    let packed = gzip(CONTENT);
    let half = packed[..packed.len() / 2].to_vec();
    assert_eq!(refused("truncated", Answer::Bytes(half.clone(), packed.len())), "Peer disconnected");
    assert!(!refused("cut", Answer::Unannounced(half)).is_empty());
    assert!(refused("404", Answer::NotFound).contains("404"));
    assert!(refused("loop", Answer::Redirect("/again".into())).contains("redirects"));
}

#[test]
fn a_mirror_that_stalls_is_given_up() {
    for (name, answer) in [("silent", Answer::Stalls), ("halfway", Answer::StallsHalfway(gzip(CONTENT)))] {
        let start = Instant::now();
        let message = refused(name, answer);
        assert!(message.contains("timeout"), "{message}");
        assert!(start.elapsed() >= TIMEOUT);
    }
}

#[test]
fn a_redirect_is_followed() {
    let (directory, end) = (directory("redirect"), Mirror::always(Answer::good(CONTENT)));
    let mirror = Mirror::always(Answer::Redirect(format!("{}/elsewhere", end.url)));
    fetch(&source(&[&mirror.url]), options(&directory)).unwrap();
    assert_eq!(fs::read(directory.join("digits")).unwrap(), CONTENT);
    assert_eq!((mirror.asked(), end.asked()), (vec!["/digits.gz".to_owned()], vec!["/elsewhere".to_owned()]));
}

#[test]
fn the_next_mirror_is_asked_and_stays_first() {
    let (directory, bad, good) =
        (directory("second"), Mirror::always(Answer::NotFound), Mirror::always(Answer::good(CONTENT)));
    let mut source = source(&[&bad.url, &good.url]);
    let more = Remote { name: "more".into(), ..source.files[0].clone() };
    source.files.push(more);
    fetch(&source, options(&directory)).unwrap();
    assert_eq!(names(&directory), ["digits", "more"]);
    assert_eq!((bad.asked(), good.asked()), (vec!["/digits.gz".into()], vec!["/digits.gz".into(), "/more.gz".into()]));
}

#[test]
fn nothing_reachable_is_one_line_that_says_what_to_do() {
    let (directory, mirrors) = (directory("nobody"), [nobody(), nobody()]);
    let mirrors = mirrors.each_ref().map(|url| &url[..]);
    let message = failure(&directory, fetch(&source(&mirrors), options(&directory)), &mirrors);
    assert!(message.starts_with("DIR/digits.gz: cannot be fetched (A/digits.gz: "), "{message}");
    assert!(message.contains("; B/digits.gz: ") && message.ends_with("); put it there by hand"), "{message}");
    assert_eq!(message.lines().count(), 1);
    let message = failure(&directory, fetch(&source(&[]), options(&directory)), &[]);
    assert_eq!(message, "DIR/digits.gz: cannot be fetched (no mirror); put it there by hand");
}

#[test]
fn progress_reaches_the_end() {
    let (directory, mirror) = (directory("progress"), Mirror::always(Answer::good(CONTENT)));
    let told = RefCell::new(Vec::new());
    let note = |received: download::Received| {
        told.borrow_mut().push((received.file.to_owned(), received.bytes, received.total))
    };
    fetch(&source(&[&mirror.url]), options(&directory).progress(note)).unwrap();
    let len = gzip(CONTENT).len() as u64;
    let told = told.into_inner();
    assert_eq!(told.last(), Some(&("digits".to_owned(), len, Some(len))));
    assert!(told.is_sorted_by_key(|(_, bytes, _)| *bytes));
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let (file, mirror) = (directory("file"), Mirror::always(Answer::good(CONTENT)));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, "in the way").unwrap();
    let error = fetch(&source(&[&mirror.url]), options(&file)).unwrap_err();
    assert!(matches!(&error, Error::Io { file: at, .. } if *at == file), "{error:?}");
    fs::remove_file(file).unwrap();
}

/// A mirror of MNIST.
fn bundled() -> Mirror {
    Mirror::new(|path| {
        let bytes = fs::read(format!("{MNIST}{path}")).unwrap();
        Answer::Bytes(bytes.clone(), bytes.len())
    })
}

#[test]
fn mnist_comes_as_it_is_bundled() {
    let (mirror, directory) = (bundled(), directory("mnist"));
    let source = Source { mirrors: vec![mirror.url.clone().into()], ..Source::mnist() };
    fetch(&source, options(&directory)).unwrap();
    assert_eq!(mirror.asked().len(), 4);

    // Nothing is left to ask the public mirrors for.
    let (train, test) = download::mnist(options(&directory)).unwrap();
    let (bundled_train, bundled_test) = convlane::data::mnist::load(MNIST).unwrap();
    assert_eq!((train.labels(), test.labels()), (bundled_train.labels(), bundled_test.labels()));
    assert!(bytes(&train) == bytes(&bundled_train) && bytes(&test) == bytes(&bundled_test));
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn fashion_mnist_is_not_mnist() {
    let (mirror, directory) = (bundled(), directory("not-fashion"));
    let source = Source { mirrors: vec![mirror.url.clone().into()], ..Source::fashion_mnist() };
    let message = failure(&directory, fetch(&source, options(&directory)), &[&mirror.url]);
    assert!(message.contains("expected SHA-256 c59f468a"), "{message}");
}

/// Only where Debian's package dataset-fashion-mnist is installed.
#[test]
fn fashion_mnist_is_known_by_its_hashes() {
    let installed = Path::new("/usr/share/datasets/fashion-mnist");
    if !installed.exists() {
        return println!("left out: no {}", installed.display());
    }
    let source = Source { mirrors: Vec::new(), ..Source::fashion_mnist() };
    assert_eq!(fetch(&source, options(installed)).unwrap(), installed);
    let (train, test) = download::fashion_mnist(options(installed)).unwrap();
    assert_eq!((train.len(), test.len(), train.classes()), (60_000, 10_000, 10));
}

#[cfg(target_os = "linux")]
#[test]
fn the_example_takes_from_the_cache_what_was_fetched() {
    let cache = directory("cache");
    let at_hand = cache.join("convlane/mnist");
    fs::create_dir_all(&at_hand).unwrap();
    for Remote { name, .. } in Source::mnist().files {
        fs::copy(format!("{MNIST}/{name}.gz"), at_hand.join(format!("{name}.gz"))).unwrap();
    }
    let run = |flags: &str| program("lenet5", flags).env("XDG_CACHE_HOME", &cache).output().unwrap();
    for flags in ["--epochs 0 --quiet --download", "--download mnist --epochs 0 --quiet"] {
        let output = run(flags);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty() && text.starts_with("test loss "), "{text}");
    }
    for (flags, problem) in [("kmnist", "expected mnist or fashion-mnist"), ("mnist --data x", "cannot be used with")] {
        let output = run(&format!("--download {flags}"));
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(2) && message.contains(problem), "{message}");
    }
    fs::remove_dir_all(cache).unwrap();
}
