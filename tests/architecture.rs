//! How the source hangs together: which module may know which, and which file may do what only few should.

mod tokens;

use std::fs;
use std::path::Path;

use tokens::tokens;

/// The floors of the crate from the top; a module knows those of lower floors only.
const FLOORS: [&[&str]; 8] = [
    &["train", "predict"],
    &["callbacks", "io", "plot"],
    &["data", "checkpoint"],
    &["model", "plan"],
    &["kernels"],
    &["layer", "metrics", "optim", "history", "simd"],
    &["shape", "atomic"],
    &["error", "rng"],
];

/// The specification: what it may know. No module may know it.
const REFERENCE: (&str, [&str; 2]) = ("reference", ["layer", "shape"]);

/// The files with unsafe code.
const UNSAFE: [&str; 7] = [
    "src/kernels/by_lane.rs",
    "src/kernels/correlate.rs",
    "src/kernels/maps.rs",
    "src/kernels/nhwc/gemm.rs",
    "src/kernels/tile.rs",
    "src/simd/avx2.rs",
    "src/simd/avx512.rs",
];

/// The files that know of threads.
const RAYON: [&str; 14] = [
    "src/error.rs",
    "src/kernels/activation.rs",
    "src/kernels/cross_entropy.rs",
    "src/kernels/nhwc/conv2d.rs",
    "src/kernels/nhwc/dense.rs",
    "src/kernels/nhwc/depthwise.rs",
    "src/kernels/nhwc/direct.rs",
    "src/kernels/nhwc/max_pool2d.rs",
    "src/kernels/nhwc/winograd/mod.rs",
    "src/kernels/par.rs",
    "src/plan/mod.rs",
    "src/plan/packed.rs",
    "src/plan/run.rs",
    "src/train.rs",
];

/// The file that wraps matrixmultiply.
const MATRIXMULTIPLY: [&str; 1] = ["src/kernels/nhwc/gemm.rs"];

/// A file by its path from the root of the package.
struct File {
    path: String,
    text: String,
}

impl File {
    /// All Rust files under a directory.
    fn all(dir: &str) -> Vec<File> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for entry in fs::read_dir(root.join(dir)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{dir}/{}", entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                files.extend(File::all(&path));
            } else if path.ends_with(".rs") {
                files.push(File { text: fs::read_to_string(root.join(&path)).unwrap(), path });
            }
        }
        files
    }

    /// The path of the file's module from the root of the crate.
    fn module(&self) -> Vec<&str> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        path.split('/').filter(|&name| name != "mod" && name != "lib").collect()
    }
}

/// The modules at the root of the crate that a file names, by `crate` or by enough of `super`.
fn known(file: &File) -> Vec<String> {
    let tokens = tokens(&file.text);
    // `scopes`: for every open brace, whether it is that of a module.
    let (mut known, mut scopes) = (Vec::new(), Vec::new());
    for (at, &token) in tokens.iter().enumerate() {
        let before = |distance: usize| at.checked_sub(distance).map_or("", |at| tokens[at]);
        match token {
            "{" => scopes.push(before(2) == "mod"),
            "}" => _ = scopes.pop(),
            "crate" | "super" if before(1) != "::" => {
                let path = &tokens[at..];
                let ups = path.chunks(2).take_while(|pair| matches!(pair, ["crate" | "super", "::"])).count();
                let depth = file.module().len() + scopes.iter().filter(|&&module| module).count();
                if ups > 0 && (token == "crate" || ups >= depth) {
                    known.extend(firsts(&path[2 * ups..]));
                }
            }
            _ => {}
        }
    }
    known.retain(|name: &String| Some(&&name[..]) != file.module().first());
    known
}

/// The first names of a path, or of the paths in braces.
fn firsts(tokens: &[&str]) -> Vec<String> {
    if tokens[0] != "{" {
        return vec![tokens[0].to_owned()];
    }
    let (mut firsts, mut depth) = (Vec::new(), 0);
    for pair in tokens.windows(2) {
        match pair[0] {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(pair[0], "{" | ",") && pair[1] != "}" {
            firsts.push(pair[1].to_owned());
        }
    }
    firsts
}

/// What a file knows and should not.
fn arrows_up(file: &File) -> Vec<String> {
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let module = file.module();
    let Some(&own) = module.first() else { return Vec::new() };
    let allowed = |name: &str| match own == REFERENCE.0 {
        true => REFERENCE.1.contains(&name),
        false => floor(own).is_some_and(|own| floor(name).is_some_and(|other| other > own)),
    };
    let mut wrong = known(file);
    wrong.retain(|name| !allowed(name));
    if own != REFERENCE.0 && floor(own).is_none() {
        wrong.push("no floor".to_owned());
    }
    wrong.iter().map(|name| format!("{}: {name}", file.path)).collect()
}

/// Every place where the tokens of `phrase` follow each other.
fn places(file: &File, phrase: &[&str]) -> Vec<String> {
    let places = tokens(&file.text).windows(phrase.len()).filter(|window| *window == phrase).count();
    vec![format!("{}: {}", file.path, phrase.concat()); places]
}

/// What no code should have been left with.
fn leftovers(file: &File) -> Vec<String> {
    let phrases = [&["todo", "!"][..], &["unimplemented", "!"], &["dbg", "!"], &["#", "[", "ignore"]];
    phrases.map(|phrase| places(file, phrase)).concat()
}

fn found(dir: &str, check: impl Fn(&File) -> Vec<String>) -> Vec<String> {
    let files = File::all(dir);
    assert!(!files.is_empty());
    files.iter().flat_map(check).collect()
}

/// The files of the crate whose code has a word.
fn files_with(word: &str) -> Vec<String> {
    let mut files =
        found("src", |file| if places(file, &[word]).is_empty() { vec![] } else { vec![file.path.clone()] });
    files.sort();
    files
}

const NONE: [&str; 0] = [];

#[test]
fn imports_go_down() {
    assert_eq!(found("src", arrows_up), NONE);
}

#[test]
fn the_crate_page_shows_the_floors() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs")).unwrap();
    let (_, diagram) = page.split_once("```text\n").unwrap();
    for (line, floor) in diagram.lines().zip(FLOORS) {
        let shown: Vec<&str> = line.split_whitespace().skip(1).take(floor.len()).collect();
        assert_eq!(shown, floor, "{line}");
    }
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    assert_eq!(files_with("unsafe"), UNSAFE);
}

#[test]
fn threads_are_where_they_may_be() {
    assert_eq!(files_with("rayon"), RAYON);
}

#[test]
fn matrixmultiply_is_wrapped_once() {
    assert_eq!(files_with("matrixmultiply"), MATRIXMULTIPLY);
}

#[test]
fn nothing_is_left_undone() {
    for dir in ["src", "tests", "examples"] {
        assert_eq!(found(dir, leftovers), NONE);
    }
}

/// What `check` finds in a file of this path and text.
fn check_in(check: impl Fn(&File) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    check(&File { path: path.to_owned(), text: text.to_owned() })
}

#[test]
fn arrows_up_are_found() {
    let arrows = |path, text| check_in(arrows_up, path, text);
    assert_eq!(arrows("src/shape.rs", "use crate::error::Error; use std::fmt;"), NONE);
    assert_eq!(arrows("src/shape.rs", "use crate::layer::Layer;"), ["src/shape.rs: layer"]);
    assert_eq!(arrows("src/plan/run.rs", "fn f(x: &crate::train::Fit) {}"), ["src/plan/run.rs: train"]);
    assert_eq!(arrows("src/plan/run.rs", "use crate::model::Model;"), ["src/plan/run.rs: model"]);
    assert_eq!(arrows("src/layer.rs", "use crate::{shape::{Shape, plan}, plan::Plan};"), ["src/layer.rs: plan"]);
    assert_eq!(arrows("src/rng.rs", "$crate::simd::dispatch!()"), ["src/rng.rs: simd"]);
    assert_eq!(arrows("src/plan/mod.rs", "use crate::reference;"), ["src/plan/mod.rs: reference"]);
    assert_eq!(arrows("src/reference.rs", "use crate::{layer, shape, kernels};"), ["src/reference.rs: kernels"]);
    assert_eq!(arrows("src/shape.rs", "use crate::Level;"), ["src/shape.rs: Level"]);
    assert_eq!(arrows("src/cellar.rs", ""), ["src/cellar.rs: no floor"]);
}

#[test]
fn arrows_through_super_are_found() {
    let arrows = |path, text| check_in(arrows_up, path, text);
    assert_eq!(arrows("src/shape.rs", "use super::plan;"), ["src/shape.rs: plan"]);
    assert_eq!(arrows("src/plan/run.rs", "use super::train; pub(super) fn f() {}"), NONE);
    assert_eq!(arrows("src/plan/run.rs", "use super::super::{train, error};"), ["src/plan/run.rs: train"]);
    assert_eq!(arrows("src/shape.rs", "mod tests { use super::plan; }"), NONE);
    assert_eq!(arrows("src/shape.rs", "mod tests { fn f() {} use super::super::plan; }"), ["src/shape.rs: plan"]);
    assert_eq!(arrows("src/shape.rs", "mod tests {} use super::plan;"), ["src/shape.rs: plan"]);
}

#[test]
fn forbidden_words_are_found() {
    let hidden = r##"
        // unsafe in a comment, /* unsafe in another
        /* unsafe */ #![allow(unsafe_code)]
        fn f<'unsafe_>() -> (&'static str, char, char) { ("\"unsafe\\", '"', '\'') }
        const RAW: &str = r#"unsafe " unsafe"#;
    "##;
    let places = |text: &str| check_in(|file| places(file, &["unsafe"]), "src/a.rs", text);
    assert_eq!(places(hidden), NONE);
    let both = format!("{hidden} unsafe {{}} {hidden} unsafe fn f() {{}}");
    assert_eq!(places(&both), ["src/a.rs: unsafe"; 2]);
}

#[test]
fn leftovers_are_found() {
    let leftovers = |text: &str| check_in(leftovers, "src/a.rs", text);
    assert_eq!(leftovers("fn todo() { ignore(dbg) }"), NONE);
    for name in ["todo", "unimplemented"] {
        assert_eq!(leftovers(&format!("fn f() {{ {name}!(\"\") }}")), [format!("src/a.rs: {name}!")]);
    }
    assert_eq!(leftovers("#[test] #[ignore = \"slow\"] fn f() { dbg!(1) }"), ["src/a.rs: dbg!", "src/a.rs: #[ignore"]);
}
