//! The repository's text, and Rust told from its comments and strings.

use std::fs;
use std::path::Path;

/// A text file of the repository.
pub struct Source {
    /// From the root of the repository, with forward slashes.
    pub path: String,
    /// The whole file.
    pub text: String,
}

/// All Rust of the repository.
pub fn rust() -> Vec<Source> {
    repository()
        .into_iter()
        .filter(|s| s.path.ends_with(".rs"))
        .collect()
}

/// All text that people write: sources, papers, recipes, workflows and scripts.
pub fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sources = Vec::new();
    for folder in [
        "src", "backends", "examples", "tests", "benches", "recipes", "datasets", "docs",
        ".github", ".ci",
    ] {
        read_folder(root, &root.join(folder), &mut sources);
    }
    for path in fs::read_dir(root)
        .expect("the root can be read")
        .flatten()
        .map(|entry| entry.path())
    {
        // In a linked work tree `.git` is a file that names a folder of this machine.
        if path.is_file() && !path.ends_with(".git") {
            read_file(root, &path, &mut sources);
        }
    }
    assert!(
        sources.len() > 20,
        "only {} sources found: the walk is broken",
        sources.len()
    );
    sources
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            read_folder(root, &path, sources);
        } else if path.is_file() {
            read_file(root, &path, sources);
        }
    }
}

fn read_file(root: &Path, path: &Path, sources: &mut Vec<Source>) {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if !["rs", "toml", "md", "yml", "py", "sh", ""].contains(&extension) {
        return;
    }
    let relative = path
        .strip_prefix(root)
        .expect("the walk starts at the root");
    let path_text = relative.to_string_lossy().replace('\\', "/");
    if let Ok(text) = fs::read_to_string(path) {
        sources.push(Source {
            path: path_text,
            text,
        });
    }
}

pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Whether `word` occurs where no letter, digit or `_` stands before it.
pub fn starts_a_word(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(joins))
}

pub fn has_word(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(joins) && !line[at + word.len()..].starts_with(joins))
}

/// `text` without comments and without the insides of strings and characters; lines stay where they are.
pub fn code(text: &str) -> String {
    strip(text, true)
}

/// `text` without comments; strings stay.
pub fn without_comments(text: &str) -> String {
    strip(text, false)
}

fn strip(text: &str, strings_too: bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, is_comment) = token(rest, kept.chars().last());
        let (piece, after) = rest.split_at(length.max(first.len_utf8()));
        let is_string = length > 0 && !is_comment;
        if is_comment || is_string && strings_too {
            kept.extend(piece.chars().filter(|c| *c == '\n'));
            kept.push(' ');
        } else {
            kept.push_str(piece);
        }
        rest = after;
    }
    kept
}

/// The length of the comment, string or character that starts here (0: none does), and whether it is a comment.
fn token(rest: &str, before: Option<char>) -> (usize, bool) {
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), true);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), true);
    }
    let in_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with('r') && !in_name {
        return (raw_string(rest), false);
    }
    if rest.starts_with('"') {
        return (quoted(rest, '"'), false);
    }
    (
        if rest.starts_with('\'') {
            character(rest)
        } else {
            0
        },
        false,
    )
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// `r"..."` or `r#"..."#`; 0 where the `r` begins something else.
fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    let start = 1 + hashes;
    if !rest[start..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    rest[start + 1..]
        .find(&end)
        .map_or(rest.len(), |at| start + 1 + at + end.len())
}

fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'` or `'\n'`; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut inside = rest.chars().skip(1);
    match (inside.next(), inside.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(rest, '\''),
        _ => 0,
    }
}

#[test]
fn comments_and_strings_are_told_from_code() {
    let text = "let a = 'x'; // one\nlet b: &'a str = r#\"two \" \"#; /* three /* four */ */ let c = \"\\\"five\"; let d = '\\'';";
    let bare = code(text);
    for word in ["one", "two", "three", "four", "five"] {
        assert!(!bare.contains(word), "{word} in {bare}");
    }
    for word in ["let a", "let b: &'a str", "let c", "let d"] {
        assert!(bare.contains(word), "{word} not in {bare}");
    }
    assert_eq!(bare.lines().count(), text.lines().count());
    assert!(without_comments(text).contains("five") && !without_comments(text).contains("three"));
}
