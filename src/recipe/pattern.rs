//! Data files by a pattern: the shards of a split have numbers in their names.

use glob::Pattern;
use std::path::{Path, PathBuf};

/// The files that `path` stands for, by name: those whose name matches where it ends in one with a `*`
/// (`data/train-*.parquet`), else the file itself. None where there is no such file.
pub fn matching(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let name = path.file_name().map(|name| name.to_string_lossy());
    let Some(name) = name.filter(|name| name.contains('*')) else {
        return Vec::new();
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let (Ok(pattern), Ok(entries)) = (Pattern::new(&name), std::fs::read_dir(folder)) else {
        return Vec::new();
    };
    let fits = |file: &PathBuf| {
        let name = file.file_name().map(|name| name.to_string_lossy());
        file.is_file() && name.is_some_and(|name| pattern.matches(&name))
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(fits)
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_come_in_the_order_of_their_names_and_other_splits_stay_away() {
        let folder = tempfile::tempdir().expect("a folder");
        // The folder's own name is no pattern.
        let star = if cfg!(windows) { "" } else { "*" };
        let folder = folder.path().join(format!("a[1]{star}"));
        std::fs::create_dir(&folder).expect("a folder");
        let names = [
            "train-00001.parquet",
            "test-00000.parquet",
            "train-00000.parquet",
        ];
        for name in names {
            std::fs::write(folder.join(name), "").expect("a file");
        }
        let found = |name: &str| -> Vec<String> {
            let files = matching(&folder.join(name));
            let name = |file: &PathBuf| Some(file.file_name()?.to_string_lossy().into_owned());
            files.iter().filter_map(name).collect()
        };
        assert_eq!(found("train-*.parquet"), [names[2], names[0]]);
        assert_eq!(found("test-00000.parquet"), [names[1]]);
        assert!(found("validation-*.parquet").is_empty());
        assert!(found("train.parquet").is_empty());
    }
}
