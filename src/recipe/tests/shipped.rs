//! Every recipe in `recipes/` loads, is indexed and is in the binary.

use super::*;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn recipe_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&root().join("recipes"), &mut found);
    found.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    assert!(!found.is_empty());
    found
}

#[test]
fn every_recipe_loads_and_a_base_lacks_only_something_to_do() {
    for path in recipe_files() {
        match Recipe::load(&path, &[]) {
            Ok(loaded) => assert!(!loaded.recipe.description.is_empty(), "{}", path.display()),
            Err(error) if path.ends_with("base.toml") => {
                let text = error.to_string();
                assert!(
                    text.contains("has nothing to do") && text.matches('^').count() > 0,
                    "{text}"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn every_recipe_is_in_the_binary_and_in_the_index() {
    let index = std::fs::read_to_string(root().join("recipes/README.md")).expect("the index");
    let files = recipe_files();
    assert_eq!(files.len(), SHIPPED.len());
    for path in files {
        let path = path.strip_prefix(root()).expect("a path in the repository");
        assert!(
            SHIPPED
                .iter()
                .any(|shipped| Path::new(shipped.path) == path),
            "{}",
            path.display()
        );
        let link = path
            .strip_prefix("recipes")
            .expect("a recipe")
            .display()
            .to_string()
            .replace('\\', "/");
        assert!(
            index.contains(&format!("({link})")),
            "recipes/README.md lacks {link}"
        );
        let readme = path.with_file_name("README.md");
        assert!(
            root().join(&readme).is_file(),
            "{} is missing",
            readme.display()
        );
    }
}

#[test]
fn the_binarys_copy_is_the_same_recipe() {
    for shipped in catalogue() {
        let embedded = Recipe::open(shipped.name(), &[]).expect("a shipped recipe");
        let disk = Recipe::load(&root().join(shipped.path), &[]).expect("the same on disk");
        assert_eq!(embedded.recipe, disk.recipe, "{}", shipped.name());
    }
}

/// D13: the released loop differs from its paper in silence. The recipe of the paper is the paper's, and every value of a recipe is
/// printed with where it came from (`duel recipe show`).
#[test]
fn d13_the_recipe_of_the_paper_differs_from_the_released_code_where_the_paper_does() {
    let loaded = Recipe::open("llama3-8b/online", &[]).expect("a shipped recipe");
    let online = loaded.recipe.online.as_ref().expect("a loop");
    assert_eq!(online.reference, Reference::Sft);
    assert_eq!(online.history, History::Cumulative);
    assert_eq!(online.loss.label_smoothing, 0.0);
    assert_eq!(online.train.warmup_ratio, 0.03);
    assert_eq!(online.generate.temperature, [1.0, 0.7]);
    for key in [
        "reference",
        "history",
        "train.warmup_ratio",
        "generate.temperature",
    ] {
        assert!(
            loaded.origins.contains_key(&format!("online.{key}")),
            "{key}"
        );
    }
}
