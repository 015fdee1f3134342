//! The LeNet-5 example as a user runs it, on a small dataset.

mod idx;
mod programs;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::LazyLock;

use convlane::prelude::*;
use convlane::rng::Rng;
use idx::{gzip, idx};
use programs::program;
use serde_json::Value;

/// Names of the engines.
const ENGINES: [&str; 2] = ["nhwc", "lanes"];

const TMP: &str = env!("CARGO_TARGET_TMPDIR");

/// A place for a file of one test.
fn tmp(name: &str) -> PathBuf {
    Path::new(TMP).join(format!("example-{name}"))
}

/// Images of noise, brighter in the rows of their class.
#[derive(Clone, Copy)]
struct Images<'a> {
    /// Height, width and, if there are several, channels.
    dims: &'a [u32],
    classes: u32,
}

const DIGITS: Images = Images { dims: &[28, 28], classes: 10 };

impl Images<'_> {
    /// `n` images as pixels and labels in IDX form.
    fn files(&self, n: u32, seed: u64) -> [Vec<u8>; 2] {
        let mut rng = Rng::new(Seed(seed), 0);
        let labels: Vec<u8> = (0..n).map(|_| rng.below(self.classes.into()) as u8).collect();
        let [len, row] = [0, 1].map(|from| self.dims[from..].iter().product::<u32>());
        let brightness =
            |label: u8, at: u32| if at / row * self.classes / self.dims[0] == u32::from(label) { 150 } else { 0 };
        let pixels = labels.iter().flat_map(|&label| (0..len).map(move |at| brightness(label, at)));
        let pixels: Vec<u8> = pixels.map(|pixel| pixel + rng.below(100) as u8).collect();
        [idx(&[&[n], self.dims].concat(), &pixels), idx(&[n], &labels)]
    }

    /// A directory with 300 for training and 100 for tests, each file as `pack` makes it.
    fn dir(&self, name: &str, extension: &str, pack: fn(&[u8]) -> Vec<u8>) -> PathBuf {
        let dir = tmp(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        for (part, [images, labels]) in [("train", self.files(300, 1)), ("t10k", self.files(100, 2))] {
            fs::write(dir.join(format!("{part}-images-idx3-ubyte{extension}")), pack(&images)).unwrap();
            fs::write(dir.join(format!("{part}-labels-idx1-ubyte{extension}")), pack(&labels)).unwrap();
        }
        dir
    }

    fn plain_dir(&self, name: &str) -> PathBuf {
        self.dir(name, "", <[u8]>::to_vec)
    }
}

static PLAIN: LazyLock<PathBuf> = LazyLock::new(|| DIGITS.plain_dir("plain"));

/// Runs the example with these flags, separated by spaces.
fn run(flags: &str) -> Output {
    program("lenet5", flags).output().unwrap()
}

/// These flags, and those for two epochs of the small dataset unless they say otherwise.
fn small(flags: &str) -> String {
    let data = PLAIN.display().to_string();
    let defaults = [("--data", &data[..]), ("--epochs", "2"), ("--batch-size", "32")];
    let missing = defaults.iter().filter(|(flag, _)| !flags.contains(flag));
    missing.fold(flags.to_owned(), |flags, (flag, value)| format!("{flags} {flag} {value}"))
}

/// Runs it on the small dataset, and gives what it prints.
fn train(flags: &str) -> String {
    let output = run(&small(flags));
    assert!(output.status.success() && output.stderr.is_empty(), "{flags}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it prints but for the time it took.
fn results(flags: &str) -> Vec<String> {
    let text = train(flags);
    let lines = text.lines().filter(|line| line.starts_with("epoch ") || line.starts_with("test "));
    lines
        .map(|line| {
            line.rsplit_once("  ").filter(|_| line.starts_with("epoch")).map_or(line, |(line, _)| line).to_owned()
        })
        .collect()
}

/// The exit code and the only line on standard error.
fn refusal(flags: &str) -> (i32, String) {
    let output = run(flags);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{flags}: {message}");
    assert!(!message.contains("panicked"), "{flags}: {message}");
    (output.status.code().unwrap(), message.trim_end().replace(TMP, "TMP"))
}

/// The numbers that follow these words in a line.
fn numbers<const N: usize>(line: &str, words: [&str; N]) -> [f64; N] {
    let fields: Vec<&str> = line.split_whitespace().collect();
    words.map(|word| {
        let at = fields.iter().position(|&field| field == word).unwrap_or_else(|| panic!("no {word} in {line}"));
        fields[at + 1].parse().unwrap()
    })
}

#[test]
fn it_prints_summary_epochs_and_score() {
    let text = train("--seed 7");
    assert!(text.starts_with("Layer (type) "), "{text}");
    assert!(text.contains("Total params: 44,426 (173.54 KiB)\n"), "{text}");
    assert!(text.contains("engine lanes, level "), "{text}");

    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("epoch ")).collect();
    assert_eq!(lines.len(), 2);
    for (line, start) in lines.iter().zip(["epoch 1/2  loss ", "epoch 2/2  loss "]) {
        assert!(line.starts_with(start) && line.ends_with(" s"), "{line}");
        let [loss, accuracy, val_loss, val_accuracy] = numbers(line, ["loss", "accuracy", "val_loss", "val_accuracy"]);
        assert!(loss > 0.0 && val_loss > 0.0, "{line}");
        assert!([accuracy, val_accuracy].iter().all(|share| (0.0..=1.0).contains(share)), "{line}");
    }
    let score = text.lines().last().unwrap();
    assert!(score.starts_with("test loss "), "{score}");
    assert_eq!(numbers(score, ["loss", "accuracy"]), numbers(lines[1], ["val_loss", "val_accuracy"]));
}

#[test]
fn it_learns() {
    let lines = results("--epochs 8 --learning-rate 0.3");
    let [first, last] = [&lines[0], &lines[7]].map(|line| numbers(line, ["loss"])[0]);
    assert!(last < 0.7 * first, "{lines:#?}");
}

#[test]
fn flags_change_what_they_should() {
    let default = results("");
    assert_ne!(results("--seed 7"), default);
    assert_ne!(results("--shuffle false"), default);
    assert_ne!(results("--learning-rate 0.1"), default);
    assert_ne!(results("--batch-size 64"), default);
    assert_eq!(results("--seed 42 --shuffle true --learning-rate 0.05"), default);
    assert_eq!(results("--engine lanes"), default);
    assert_eq!(results("--engine auto"), default);
    assert_eq!(results("--algorithm auto"), default);
    let [direct, fast] = ["direct", "fast"].map(|algorithm| train(&format!("--algorithm {algorithm}")));
    assert!(fast.contains("/lanes F(4, 5)") && !direct.contains("F("), "{fast}{direct}");
    assert_eq!(results("--epochs 3").len(), 4);
}

#[test]
fn every_level_trains() {
    for level in Level::available() {
        let text = train(&format!("--level {level}"));
        assert!(text.contains(&format!("level {level},")), "{text}");
    }
}

#[test]
fn every_engine_trains_to_the_same_score() {
    let scores = ENGINES.map(|engine| {
        let text = train(&format!("--engine {engine}"));
        assert!(text.contains(&format!("engine {engine}, level ")), "{text}");
        numbers(text.lines().last().unwrap(), ["loss", "accuracy"])
    });
    let [[loss, accuracy], [other_loss, other_accuracy]] = scores;
    assert!((loss - other_loss).abs() < 2e-3 && (accuracy - other_accuracy).abs() < 0.02, "{scores:?}");
}

#[test]
fn packed_files_are_as_good_as_plain_ones() {
    let packed = DIGITS.dir("packed", ".gz", gzip);
    assert_eq!(results(&format!("--data {}", packed.display())), results(""));
}

#[test]
fn threads_do_not_change_the_saved_bytes() {
    for engine in ENGINES {
        let saved = [1, 2, 3].map(|threads| {
            let file = tmp(&format!("{engine}{threads}.safetensors"));
            train(&format!("--engine {engine} --threads {threads} --save {}", file.display()));
            fs::read(file).unwrap()
        });
        assert!(!saved[0].is_empty(), "{engine}");
        assert!(saved.iter().all(|bytes| *bytes == saved[0]), "{engine}");
    }
}

#[test]
fn saved_weights_give_the_same_score() {
    let (file, again) = (tmp("weights.safetensors"), tmp("again.safetensors"));
    let trained = results(&format!("--save {}", file.display()));
    let loaded = results(&format!("--weights {} --epochs 0 --seed 9 --save {}", file.display(), again.display()));
    assert_eq!(loaded, trained[2..]);
    assert_eq!(fs::read(file).unwrap(), fs::read(again).unwrap());
}

#[test]
fn the_history_has_options_and_epochs() {
    let file = tmp("history.json");
    let text = train(&format!("--threads 2 --seed 7 --history {}", file.display()));
    let history: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let options = &history["options"];
    assert_eq!(options["epochs"], 2);
    assert_eq!(options["batch_size"], 32);
    assert_eq!(options["seed"], 7);
    assert_eq!(options["shuffle"], true);
    assert!((options["learning_rate"].as_f64().unwrap() - 0.05).abs() < 1e-6);
    assert_eq!(options["data"], PLAIN.to_str().unwrap());
    assert_eq!(history["engine"], "lanes");
    assert_eq!(history["level"], Level::best().name());
    assert_eq!(history["threads"], 2);

    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("epoch ")).collect();
    let epochs = history["epochs"].as_array().unwrap();
    assert_eq!(epochs.len(), 2);
    for (index, (epoch, line)) in epochs.iter().zip(lines).enumerate() {
        assert_eq!(epoch["epoch"], index + 1);
        assert!(epoch["seconds"].as_f64().unwrap() > 0.0);
        let names = ["loss", "accuracy", "val_loss", "val_accuracy"];
        for (name, printed) in names.iter().zip(numbers(line, names)) {
            assert!((epoch[name].as_f64().unwrap() - printed).abs() <= 5.1e-5, "{name} of {epoch}, printed {printed}");
        }
    }
}

#[test]
fn help_names_every_flag() {
    let output = run("--help");
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    let flags = "data classes epochs batch-size learning-rate threads seed shuffle engine algorithm level history weights checkpoint \
                 resume save plot confusion-plot mistakes filters";
    for flag in flags.split_whitespace() {
        assert!(help.contains(&format!("--{flag} <")), "--{flag} in {help}");
    }
    for flag in ["confusion", "quiet"] {
        assert!(help.contains(&format!("--{flag}  ")), "--{flag} in {help}");
    }
}

#[test]
fn bad_flags_are_one_line_and_exit_2() {
    for flags in [
        "--epoch",
        "--epochs",
        "--epochs many",
        "--epochs -1",
        "--batch-size 1.5",
        "--threads two",
        "--seed -1",
        "--shuffle perhaps",
        "--engine gpu",
        "--algorithm slow",
        "--level sse",
        "--learning-rate fast",
        "--learning-rate -1",
        "--weights a --resume b",
        "--classes 0",
        "--plot plot.jpg",
        "--confusion-plot plot",
        "--mistakes png",
        "--filters filters.svg.gz",
        "data",
    ] {
        let (code, message) = refusal(flags);
        assert_eq!(code, 2, "{flags}: {message}");
        assert!(message.starts_with("error: "), "{flags}: {message}");
        assert!(flags.split_whitespace().any(|word| message.contains(word)), "{flags}: {message}");
    }
}

#[test]
fn settings_out_of_range_are_one_line() {
    for (setting, words) in [
        ("--learning-rate nan", "must be finite and at least 0, got NaN"),
        ("--learning-rate=-1", "must be finite and at least 0, got -1"),
        ("--learning-rate inf", "must be finite and at least 0, got inf"),
        ("--threads 0", "must be at least 1, got 0"),
        ("--threads 5000", "at most 1024, got 5000"),
        ("--batch-size 0", "must be at least 1, got 0"),
    ] {
        let (code, message) = refusal(&format!("--data {} {setting}", PLAIN.display()));
        assert!(code == 2 && message.contains(words), "{setting}: {code} {message}");
    }
    if Level::avx512().is_none() {
        let (code, message) = refusal(&format!("--data {} --level avx512", PLAIN.display()));
        assert!(code == 2 && message.contains("this CPU has no such instructions"), "{code} {message}");
    }
}

#[test]
fn files_that_cannot_be_used_are_one_line_and_exit_1() {
    let refused = |flags: &str| refusal(&format!("--epochs 0 {flags}"));
    let plain = format!("--data {}", PLAIN.display());
    let file = |name: &str, bytes: &[u8]| {
        fs::write(tmp(name), bytes).unwrap();
        tmp(name).display().to_string()
    };
    assert_eq!(
        refused(&format!("--data {}", tmp("nowhere").display())),
        (1, "error: TMP/example-nowhere: is not a directory, expected one with train-images-idx3-ubyte".to_owned())
    );

    let (code, message) = refused(&format!("{plain} --weights {}", tmp("nowhere.safetensors").display()));
    assert!(code == 1 && message.starts_with("error: TMP/example-nowhere.safetensors: "), "{code} {message}");
    let (code, message) = refused(&format!("{plain} --weights {}", file("broken.safetensors", b"weights")));
    assert!(
        code == 1 && message.starts_with("error: TMP/example-broken.safetensors: no safetensors"),
        "{code} {message}"
    );

    let model = Sequential::new(Shape::hwc(5, 5, 1)).layer(Conv2d::new(6, 3)).build(Seed(1)).unwrap();
    convlane::io::safetensors::save(&model, tmp("other.safetensors")).unwrap();
    assert_eq!(
        refused(&format!("{plain} --weights {}", tmp("other.safetensors").display())),
        (
            1,
            "error: TMP/example-other.safetensors: conv2d.kernel is F32 [3, 3, 1, 6], expected F32 [5, 5, 1, 6]"
                .to_owned()
        )
    );
    let (code, message) = refused(&format!("{plain} --resume {}", tmp("other.safetensors").display()));
    assert_eq!((code, &message[..]), (1, "error: TMP/example-other.safetensors: no checkpoint"));
}

#[test]
fn files_that_cannot_be_written_are_found_before_training() {
    let kept = tmp("kept.safetensors");
    fs::write(&kept, "kept").unwrap();
    let new = tmp("new.json");
    let _ = fs::remove_file(&new);
    let flags = format!("--data {} --save {} --history {}", PLAIN.display(), kept.display(), new.display());
    for (flag, file) in
        [("plot", "plot.png"), ("confusion-plot", "c.svg"), ("mistakes", "m.svg"), ("filters", "filters.png")]
    {
        let output = run(&format!("{flags} --{flag} {}", tmp("nowhere").join(file).display()));
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "--{flag}: {output:?}");
    }
    assert!(fs::read(kept).unwrap() == b"kept" && !new.exists());

    for flag in ["save", "history", "checkpoint"] {
        let (code, message) =
            refusal(&format!("--data {} --{flag} {}", PLAIN.display(), tmp("nowhere/file").display()));
        assert!(code == 1 && message.starts_with("error: TMP/example-nowhere/file: "), "--{flag}: {code} {message}");
    }
}

#[test]
fn pictures_are_drawn_and_the_matrix_is_printed() {
    let files = ["plot.svg", "confusion.svg", "mistakes.svg", "filters.svg", "plot.png"].map(tmp);
    let [plot, confusion, mistakes, filters, png] = files.each_ref().map(|file| file.display().to_string());
    let drawn = format!("--plot {plot} --confusion-plot {confusion} --mistakes {mistakes} --filters {filters}");
    let text = train(&format!("{drawn} --confusion"));
    for (file, words) in files.iter().zip(["validation", "predicted class", "surest of", "filters of conv2d"]) {
        let svg = fs::read_to_string(file).unwrap();
        assert!(svg.starts_with("<svg") && svg.contains(words), "{}", file.display());
    }
    let matrix = text.split_once("    true as ").unwrap().1;
    let [right] = numbers(text.lines().find(|line| line.starts_with("test ")).unwrap(), ["accuracy"]);
    assert!(matrix.ends_with(&format!("\n{:.1} % of 100 samples right\n", 100.0 * right)), "{matrix}");

    train(&format!("--plot {png}"));
    assert_eq!(image::open(&files[4]).unwrap().width(), 800);
}

#[test]
fn quiet_prints_results_alone() {
    let (loud, quiet) = (train(""), train("--quiet"));
    assert_eq!(quiet, loud.lines().last().unwrap().to_owned() + "\n");
}

/// Here, neither standard output nor standard error is one; [`train`] checks that nothing is on the latter.
#[test]
fn without_a_terminal_lines_are_plain() {
    let text = train("");
    assert!(!text.contains(['\r', '\x1b']), "{text:?}");
}

#[test]
fn a_reader_may_leave_and_the_weights_are_still_saved() {
    let [file, history] = ["unread.safetensors", "unread.json"].map(tmp);
    let _ = fs::remove_file(&file);
    let saved = format!("--save {} --history {}", file.display(), history.display());
    let flags = format!("--data {} --epochs 1000 {saved}", PLAIN.display());
    let mut child = program("lenet5", &flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(file.exists());
    let history: Value = serde_json::from_slice(&fs::read(history).unwrap()).unwrap();
    assert_eq!(history["epochs"].as_array().unwrap().len(), 1);
}

#[test]
fn more_epochs_than_can_be_counted_in_images_train() {
    let flags = format!("--data {} --epochs {}", PLAIN.display(), u64::MAX);
    let mut child = program("lenet5", &flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn images_of_other_sizes_and_classes_train() {
    for (name, dims, classes) in [("16x16", &[16, 16][..], 3), ("20x24x3", &[20, 24, 3], 4), ("40x32", &[40, 32], 12)] {
        let dir = Images { dims, classes }.plain_dir(name);
        let text = train(&format!("--data {} --epochs 12 --learning-rate 0.3 --confusion", dir.display()));
        assert!(text.contains(&format!("(None, {classes}) ")), "{text}");
        let [right] = numbers(text.lines().find(|line| line.starts_with("test ")).unwrap(), ["accuracy"]);
        assert!(right > 0.9, "{name}: {text}");
    }
}

#[test]
fn classes_can_be_more_than_the_labels_need_and_not_fewer() {
    let dir = Images { dims: &[16, 16], classes: 3 }.plain_dir("three");
    let data = format!("--data {}", dir.display());
    assert!(train(&format!("{data} --classes 7")).contains("(None, 7) "));
    let (code, message) = refusal(&format!("{data} --classes 2"));
    assert!(code == 1 && message.contains("train-labels-idx1-ubyte: label "), "{message}");
    assert!(message.ends_with(" is 2, but there are 2 classes"), "{message}");
}

#[test]
fn the_layer_that_images_are_too_small_for_is_named() {
    for (size, words) in [
        (4, "layer 0 (conv2d 5x5): a window of 5 does not fit an input of 4"),
        (13, "layer 2 (conv2d 5x5): a window of 5 does not fit an input of 4"),
        (14, "layer 3 (average_pooling2d 2x2): a window of 2 does not fit an input of 1"),
    ] {
        let dir = Images { dims: &[size, 20], classes: 3 }.plain_dir(&format!("small{size}"));
        assert_eq!(refusal(&format!("--data {}", dir.display())), (1, format!("error: {words}")));
    }
}

#[test]
fn two_epochs_resumed_to_four_are_four() {
    let [whole, half, resumed] =
        ["whole", "half", "resumed"].map(|name| tmp(&format!("{name}.safetensors")).display().to_string());
    for flags in ["", "--shuffle false", "--seed 7 --learning-rate 0.1 --engine nhwc --level scalar"] {
        let want = results(&format!("--epochs 4 {flags} --checkpoint {whole}"));
        let first = results(&format!("--epochs 2 {flags} --checkpoint {half}"));
        let output = run(&format!("--data {} --epochs 4 --resume {half} --checkpoint {resumed}", PLAIN.display()));
        assert!(output.status.success() && output.stderr.is_empty(), "{flags}: {output:?}");
        assert_eq!(fs::read(&resumed).unwrap(), fs::read(&whole).unwrap(), "{flags}");
        assert_eq!(first.len(), 3);
        // Given again, the flags change nothing; the last three lines are those of the whole run.
        assert_eq!(results(&format!("--epochs 4 {flags} --resume {half}")), want[2..], "{flags}");
    }
}

#[test]
fn a_resumed_run_draws_and_writes_all_epochs() {
    let [file, plot, history] =
        ["drawn.safetensors", "drawn.svg", "drawn.json"].map(|name| tmp(name).display().to_string());
    train(&format!("--epochs 3 --checkpoint {file}"));
    let files = format!("--plot {plot} --history {history}");
    for epochs in [3, 5] {
        train(&format!("--epochs {epochs} --resume {file} {files}"));
        assert!(fs::read_to_string(&plot).unwrap().contains("validation"));
        let history: Value = serde_json::from_slice(&fs::read(&history).unwrap()).unwrap();
        let rows = history["epochs"].as_array().unwrap();
        assert_eq!(
            rows.iter().map(|row| row["epoch"].as_u64().unwrap()).collect::<Vec<_>>(),
            (1..=epochs).collect::<Vec<_>>()
        );
        assert!(rows[..3].iter().all(|row| row["seconds"].is_null() && row["val_loss"].is_f64()), "{rows:?}");
    }
}

#[test]
fn a_plot_of_no_epoch_is_a_warning() {
    let output = run(&small(&format!("--epochs 0 --plot {}", tmp("never.svg").display())));
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "warning: --plot: there was no epoch to draw\n");
}

#[test]
fn a_checkpoint_in_order_keeps_the_seed() {
    let [file, history] = ["seed.safetensors", "seed.json"].map(|name| tmp(name).display().to_string());
    train(&format!("--shuffle false --seed 7 --checkpoint {file}"));
    train(&format!("--epochs 3 --resume {file} --history {history}"));
    let history: Value = serde_json::from_slice(&fs::read(history).unwrap()).unwrap();
    assert_eq!((&history["options"]["seed"], &history["options"]["shuffle"]), (&Value::from(7), &Value::from(false)));
}

#[test]
fn a_resumed_run_warns_of_what_is_not_as_it_was() {
    let file = tmp("warned.safetensors").display().to_string();
    train(&format!("--level scalar --checkpoint {file}"));
    let warnings = |flags: &str| {
        let output = run(&small(&format!("--epochs 3 --resume {file} {flags}")));
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let effect = "the bits may differ from those of a training that never stopped\n";
    assert_eq!(warnings(""), "");
    assert_eq!(warnings("--engine nhwc"), format!("warning: engine is nhwc, in the checkpoint lanes: {effect}"));
    assert_eq!(warnings("--seed 43"), format!("warning: shuffle is 43, in the checkpoint 42: {effect}"));
    let other = Images { classes: 5, ..DIGITS }.plain_dir("other-images");
    let warning = warnings(&format!("--classes 10 --data {}", other.display()));
    assert!(warning.starts_with("warning: samples crc32 is ") && warning.lines().count() == 1, "{warning}");
    if let Some(level) = Level::available().find(|level| level.name() != "scalar") {
        let warning = format!("warning: level is {level}, in the checkpoint scalar: {effect}");
        assert_eq!(warnings(&format!("--level {level}")), warning);
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_after_a_step_with_the_checkpoint_written() {
    use std::io::{BufRead, BufReader};

    let [whole, cut] = ["uncut", "cut"].map(|name| tmp(&format!("{name}.safetensors")).display().to_string());
    for _ in 0..3 {
        let history = tmp("cut.json");
        let files = format!("--checkpoint {cut} --history {}", history.display());
        let flags = small(&format!("--epochs 1000000 --batch-size 8 {files}"));
        let mut child = program("lenet5", &flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        assert!(lines.any(|line| line.starts_with("epoch 2/")), "no epochs");
        let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        let epochs = 2 + lines.filter(|line| line.starts_with("epoch ")).count();
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(130), "{message}");
        let start = "interrupted after step ";
        let place = message.lines().find_map(|line| line.strip_prefix(start)).unwrap_or_else(|| panic!("{message}"));
        assert!(place.ends_with(&format!(" of epoch {}", epochs + 1)), "{place}, after {epochs} epochs");

        let history: Value = serde_json::from_slice(&fs::read(history).unwrap()).unwrap();
        assert_eq!(history["epochs"].as_array().unwrap().len(), epochs);

        let total = epochs + 2;
        train(&format!("--epochs {total} --resume {cut} --checkpoint {cut} --batch-size 8"));
        train(&format!("--epochs {total} --checkpoint {whole} --batch-size 8"));
        assert_eq!(fs::read(&cut).unwrap(), fs::read(&whole).unwrap(), "cut after {place}");
    }
}
