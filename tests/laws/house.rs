//! The laws of the source itself: file sizes, who may know whom, who may print, what may not be left behind.
//!
//! Every check is a function from sources to breaches, so that each is also shown a bad sample and must
//! find it: a check that cannot fail holds nothing.

mod source;

use source::{Source, code, has_word, numbered, repository, rust, starts_a_word, without_comments};

/// The longest file.
const MOST_LINES: usize = 600;

/// The modules of `src/` in the order of dependency. Modules of one rank do not know each other.
const RANKS: [&[&str]; 12] = [
    &["error"],
    &["recipe"],
    &["run", "text"],
    &["data"],
    &["trie"],
    &["model"],
    &["objective"],
    &["trainer", "generate"],
    &["judge"],
    &["eval"],
    &["pipeline"],
    &["cli"],
];

/// Modules that hold no tensors: they compile without Burn in mind.
const TENSOR_FREE: [&str; 5] = ["error", "recipe", "run", "text", "data"];

/// Features that choose a backend; only `backends/` may ask for them.
const BACKEND_FEATURES: [&str; 9] = [
    "cpu", "flex", "wgpu", "webgpu", "vulkan", "metal", "cuda", "rocm", "fusion",
];

/// Where a law is broken and how, as one line.
type Breaches = Vec<String>;

// ---------------------------------------------------------------------------------------------------
// The laws
// ---------------------------------------------------------------------------------------------------

#[test]
fn files_stay_under_600_lines() {
    hold(too_long(&rust()));
}

#[test]
fn modules_know_only_those_before_them() {
    hold(wrong_arrows(&rust()));
}

#[test]
fn tensor_free_modules_do_not_name_burn() {
    hold(tensors_where_none_belong(&rust()));
}

#[test]
fn only_backends_ask_which_backend_is_built() {
    hold(backend_features(&rust()));
}

#[test]
fn only_backends_name_a_backend() {
    hold(named_backends(&rust()));
}

#[test]
fn nothing_is_left_unfinished() {
    hold(unfinished(&rust()));
}

#[test]
fn only_the_command_line_prints() {
    hold(prints(&rust()));
}

#[test]
fn no_path_of_one_machine() {
    hold(home_paths(&repository()));
}

fn hold(breaches: Breaches) {
    assert!(
        breaches.is_empty(),
        "{} breaches of the house's laws:\n{}",
        breaches.len(),
        breaches.join("\n")
    );
}

// ---------------------------------------------------------------------------------------------------
// The checks
// ---------------------------------------------------------------------------------------------------

fn too_long(sources: &[Source]) -> Breaches {
    let long = sources
        .iter()
        .filter(|s| s.text.lines().count() > MOST_LINES);
    long.map(|s| {
        format!(
            "{}: {} lines; divide it by ideas",
            s.path,
            s.text.lines().count()
        )
    })
    .collect()
}

fn wrong_arrows(sources: &[Source]) -> Breaches {
    let mut breaches = Breaches::new();
    for source in sources {
        let Some(from) = module(&source.path) else {
            continue;
        };
        let Some(own) = rank(from) else {
            breaches.push(format!(
                "{}: module `{from}` has no rank in tests/laws/house.rs",
                source.path
            ));
            continue;
        };
        for (line, to) in named_modules(&code(&source.text)) {
            let known = rank(&to).is_none_or(|other| other < own || to == from);
            if !known {
                breaches.push(format!(
                    "{}:{line}: `{from}` knows `{to}`, which comes later or beside it",
                    source.path
                ));
            }
        }
    }
    breaches
}

fn tensors_where_none_belong(sources: &[Source]) -> Breaches {
    let free = |s: &&Source| module(&s.path).is_some_and(|m| TENSOR_FREE.contains(&m));
    find_in_code(
        sources.iter().filter(free),
        &["burn::", "duel_backends::"],
        "names tensors",
    )
}

fn backend_features(sources: &[Source]) -> Breaches {
    let mut breaches = Breaches::new();
    for source in sources.iter().filter(|s| !s.path.starts_with("backends/")) {
        for (number, line) in numbered(&without_comments(&source.text)) {
            let packed: String = line.split_whitespace().collect();
            let asks = BACKEND_FEATURES
                .iter()
                .find(|f| packed.contains(&format!("feature=\"{f}\"")));
            if let Some(feature) =
                asks.filter(|_| packed.contains("cfg") || packed.contains("feature="))
            {
                breaches.push(format!(
                    "{}:{number}: asks for the feature `{feature}`",
                    source.path
                ));
            }
        }
    }
    breaches
}

/// Code that works on one backend alone. Tests may choose where they run.
fn named_backends(sources: &[Source]) -> Breaches {
    const NAMES: [&str; 4] = [
        "Device::flex",
        "burn::backend::",
        "cubecl",
        "DispatchDevice",
    ];
    let is_test = |path: &str| path.contains("tests/") || path.ends_with("tests.rs");
    let own = |s: &&Source| s.path.starts_with("src/") && !is_test(&s.path);
    let mut breaches = Breaches::new();
    for source in sources.iter().filter(own) {
        let code = without_comments(&source.text);
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        for (number, line) in numbered(code) {
            if let Some(name) = NAMES.iter().find(|name| line.contains(*name)) {
                breaches.push(format!("{}:{number}: names `{name}`", source.path));
            }
        }
    }
    breaches
}

fn unfinished(sources: &[Source]) -> Breaches {
    // Put together here, or this file would be its own first breach.
    let macros = [concat!("to", "do!"), concat!("unimpl", "emented!")];
    let notes = [
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X"),
    ];
    let mut breaches = find_in_code(sources.iter(), &macros, "is a stub");
    for source in sources {
        for (number, line) in numbered(&source.text) {
            if let Some(note) = notes.iter().find(|note| has_word(line, note)) {
                breaches.push(format!(
                    "{}:{number}: leaves a {note}; do it, or open an issue",
                    source.path
                ));
            }
        }
    }
    breaches
}

fn prints(sources: &[Source]) -> Breaches {
    let quiet = |s: &&Source| {
        s.path.starts_with("src/") && !s.path.starts_with("src/cli/")
            || s.path.starts_with("backends/src/")
    };
    let voices = [
        "println!",
        "print!",
        "eprintln!",
        "eprint!",
        "dbg!",
        "io::stdout",
        "io::stderr",
    ];
    find_in_code(
        sources.iter().filter(quiet),
        &voices,
        "prints; return the text, or use `tracing`",
    )
}

fn home_paths(sources: &[Source]) -> Breaches {
    let homes = [
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("C:\\Us", "ers\\"),
    ];
    let mut breaches = Breaches::new();
    for source in sources {
        for (number, line) in numbered(&source.text) {
            if homes.iter().any(|home| line.contains(home)) {
                breaches.push(format!(
                    "{}:{number}: names a folder of one machine",
                    source.path
                ));
            }
        }
    }
    breaches
}

// ---------------------------------------------------------------------------------------------------
// Who names whom
// ---------------------------------------------------------------------------------------------------

/// The module of a file under `src/`; none for `lib.rs`, `main.rs` and everything else.
fn module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    match inside.split_once('/') {
        Some((folder, _)) => Some(folder),
        None => inside
            .strip_suffix(".rs")
            .filter(|name| !["lib", "main"].contains(name)),
    }
}

fn rank(module: &str) -> Option<usize> {
    RANKS.iter().position(|rank| rank.contains(&module))
}

/// Every `crate::x` in `code`, and every `x` in `crate::{x::.., x}`, with its line.
fn named_modules(code: &str) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => named.extend(heads(group).into_iter().map(|name| (line, name))),
            None => named.push((line, identifier(rest))),
        }
    }
    named
}

/// The first name of each item in a `use` group, given what follows its opening brace.
fn heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut item = String::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(c),
            _ => {}
        }
    }
    heads.push(item);
    heads
        .iter()
        .map(|item| identifier(item.trim()))
        .filter(|name| !name.is_empty())
        .collect()
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

fn find_in_code<'a>(
    sources: impl Iterator<Item = &'a Source>,
    words: &[&str],
    fault: &str,
) -> Breaches {
    let mut breaches = Breaches::new();
    for source in sources {
        for (number, line) in numbered(&code(&source.text)) {
            if let Some(word) = words.iter().find(|word| starts_a_word(line, word)) {
                breaches.push(format!("{}:{number}: `{word}` {fault}", source.path));
            }
        }
    }
    breaches
}

// ---------------------------------------------------------------------------------------------------
// Each check finds its bad sample, and nothing in the good one
// ---------------------------------------------------------------------------------------------------

fn sample(path: &str, text: &str) -> [Source; 1] {
    [Source {
        path: path.to_string(),
        text: text.to_string(),
    }]
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(
        too_long(&sample("src/a.rs", &"\n".repeat(MOST_LINES))).len(),
        0
    );
    assert_eq!(
        too_long(&sample("src/a.rs", &"\n".repeat(MOST_LINES + 1))).len(),
        1
    );
}

#[test]
fn an_arrow_against_the_order_is_found() {
    for (path, text) in [
        ("src/data/rows.rs", "use crate::judge::Rule;"),
        ("src/judge/mod.rs", "fn f() -> crate::eval::WinRate { g() }"),
        ("src/text/a.rs", "use crate::run::RunDir;"),
        ("src/trainer/a.rs", "use crate::generate::Engine;"),
        (
            "src/model/a.rs",
            "pub use crate::{\n    error::{Error, Result},\n    objective::Loss,\n};",
        ),
        ("src/error.rs", "use crate::recipe;"),
        ("src/surprise/mod.rs", "//! a module without a rank"),
    ] {
        assert_eq!(wrong_arrows(&sample(path, text)).len(), 1, "{path}: {text}");
    }
    for (path, text) in [
        (
            "src/judge/a.rs",
            "use crate::{Error, judge::Rule, data::{Key, key}};",
        ),
        (
            "src/data/a.rs",
            "//! See [`crate::judge`].\nconst S: &str = \"crate::cli\";",
        ),
        ("src/lib.rs", "pub use crate::cli::run;"),
        ("src/data/b.rs", "use other_crate::judge::Rule;"),
    ] {
        assert_eq!(wrong_arrows(&sample(path, text)), Breaches::new());
    }
}

#[test]
fn a_wrong_arrow_names_its_line() {
    let breaches = wrong_arrows(&sample(
        "src/data/rows.rs",
        "/* two\nlines */\nuse crate::cli;",
    ));
    assert_eq!(
        breaches,
        ["src/data/rows.rs:3: `data` knows `cli`, which comes later or beside it"]
    );
}

#[test]
fn a_tensor_in_a_tensor_free_module_is_found() {
    assert_eq!(
        tensors_where_none_belong(&sample("src/text/a.rs", "use burn::tensor::Tensor;")).len(),
        1
    );
    assert_eq!(
        tensors_where_none_belong(&sample("src/data/a.rs", "duel_backends::open()")).len(),
        1
    );
    assert_eq!(
        tensors_where_none_belong(&sample("src/model/a.rs", "use burn::tensor::Tensor;")).len(),
        0
    );
}

#[test]
fn a_backend_named_outside_backends_is_found() {
    let text = "let device = Device::flex();";
    assert_eq!(named_backends(&sample("src/model/a.rs", text)).len(), 1);
    assert_eq!(named_backends(&sample("backends/src/a.rs", text)).len(), 0);
    let test = format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{ {text} }}");
    assert_eq!(named_backends(&sample("src/model/a.rs", &test)).len(), 0);
    assert_eq!(named_backends(&sample("src/data/tests.rs", text)).len(), 0);
}

#[test]
fn a_backend_feature_outside_backends_is_found() {
    for text in [
        "#[cfg(feature = \"cuda\")]",
        "if cfg!(feature=\"wgpu\") {}",
        "#[cfg(any(test, feature = \"metal\"))]",
    ] {
        assert_eq!(
            backend_features(&sample("src/model/a.rs", text)).len(),
            1,
            "{text}"
        );
        assert_eq!(
            backend_features(&sample("backends/src/lib.rs", text)).len(),
            0
        );
    }
    assert_eq!(
        backend_features(&sample("src/a.rs", "// not #[cfg(feature = \"cuda\")]")).len(),
        0
    );
    assert_eq!(
        backend_features(&sample("src/a.rs", "#[cfg(feature = \"serve\")]")).len(),
        0
    );
}

#[test]
fn unfinished_work_is_found() {
    let stub = concat!("fn f() { to", "do!() }");
    let other = concat!("fn f() { unimpl", "emented!() }");
    let note = concat!("// FIX", "ME: later");
    let remark = concat!("/// TO", "DO");
    for text in [stub, other, note, remark] {
        assert_eq!(unfinished(&sample("src/a.rs", text)).len(), 1, "{text}");
    }
    assert_eq!(
        unfinished(&sample(
            "src/a.rs",
            "// every row is done; METHODS; a_todo_list"
        ))
        .len(),
        0
    );
}

#[test]
fn a_print_outside_the_command_line_is_found() {
    for text in [
        "println!(\"x\")",
        "eprint!(\"x\")",
        "std::io::stdout().lock()",
        "dbg!(x)",
    ] {
        assert_eq!(prints(&sample("src/data/a.rs", text)).len(), 1, "{text}");
        assert_eq!(
            prints(&sample("backends/src/lib.rs", text)).len(),
            1,
            "{text}"
        );
        assert_eq!(prints(&sample("src/cli/a.rs", text)).len(), 0, "{text}");
    }
    assert_eq!(
        prints(&sample(
            "src/a.rs",
            "pretty_print!(x); // println!\nlet s = \"println!\";"
        ))
        .len(),
        0
    );
}

#[test]
fn a_path_of_one_machine_is_found() {
    for text in [
        concat!("cd /ho", "me/anna/duel"),
        concat!("/ro", "ot/x"),
        concat!("C:\\Us", "ers\\anna"),
    ] {
        assert_eq!(
            home_paths(&sample("docs/guide.md", text)).len(),
            1,
            "{text}"
        );
    }
    assert_eq!(
        home_paths(&sample(
            "docs/guide.md",
            "~/models, $HOME/models, runs/mine"
        ))
        .len(),
        0
    );
}
