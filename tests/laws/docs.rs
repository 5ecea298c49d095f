//! The references in docs/ say what the code says.

use std::path::Path;

#[test]
fn the_command_reference_is_generated_from_the_commands() {
    agrees("docs/cli.md", &duel::cli::reference::markdown());
}

#[test]
fn the_recipe_reference_is_generated_from_the_schema() {
    agrees("docs/recipes.md", &duel::recipe::reference_markdown());
}

#[test]
fn the_table_of_what_fits_is_generated_from_the_estimate() {
    agrees("docs/memory.md", &duel::cli::plan::markdown());
}

/// Compares a file of the repository with what is generated, or with `UPDATE_DOCS=1` writes it.
fn agrees(path: &str, generated: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, generated).expect("docs/ can be written");
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    // Git may check text out with the line ends of Windows.
    let written = written.replace("\r\n", "\n");
    let line = written
        .lines()
        .zip(generated.lines())
        .position(|(written, generated)| written != generated)
        .unwrap_or(written.lines().count().min(generated.lines().count()));
    assert!(
        written == generated,
        "{path}:{} is not what the code says; write it anew with `UPDATE_DOCS=1 cargo test --test laws docs`\n\
         written:   {}\ngenerated: {}",
        line + 1,
        written.lines().nth(line).unwrap_or("(the end)"),
        generated.lines().nth(line).unwrap_or("(the end)"),
    );
}

/// The names of diagnoses stand in the source on lines of their own, or behind `name:`.
#[test]
fn the_guide_explains_every_diagnosis() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("a source file");
    let guide = read("docs/guide.md");
    let mut names = 0;
    for source in [
        "src/trainer/diagnose.rs",
        "src/trainer/diagnose/rounds.rs",
        "src/pipeline/training.rs",
    ] {
        for line in read(source).lines() {
            let line = line.trim().trim_start_matches("name: ");
            let name = line
                .strip_prefix('"')
                .and_then(|line| line.strip_suffix("\","));
            let Some(name) = name.filter(|name| name.contains('-') && !name.contains(' ')) else {
                continue;
            };
            names += 1;
            assert!(
                guide.contains(&format!("`{name}`")),
                "docs/guide.md does not name {name} ({source})"
            );
        }
    }
    assert!(names > 12, "only {names} names found: the search is broken");
}
