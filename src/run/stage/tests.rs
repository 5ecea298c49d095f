//! What happens when the same run comes by again.

use super::*;

struct Run {
    _dir: tempfile::TempDir,
    layout: Layout,
}

fn run() -> Run {
    let dir = tempfile::tempdir().unwrap();
    let layout = Layout::new(dir.path().join("hh"));
    Run { _dir: dir, layout }
}

fn wanted(name: &str, key: u8) -> Wanted<'_> {
    Wanted {
        name,
        key: Hash::from([key; 32]),
        measures: false,
        redo: false,
    }
}

impl Run {
    fn stage(&self, name: &str, key: u8) -> Stage {
        open(&self.layout, wanted(name, key)).unwrap()
    }

    /// Throws the finished stage away, as `--redo` does.
    fn redo(&self, name: &str, key: u8) -> StageDir {
        let redo = true;
        let asked = Wanted {
            redo,
            ..wanted(name, key)
        };
        match open(&self.layout, asked).unwrap() {
            Stage::Open(open) => open,
            Stage::Done(_) => panic!("{name} was skipped"),
        }
    }

    fn refused(&self, name: &str, key: u8) -> Error {
        open(&self.layout, wanted(name, key)).unwrap_err()
    }

    fn is_stale(&self, name: &str) -> bool {
        let all = stages(&self.layout).unwrap();
        all.iter().find(|r| r.name == name).unwrap().stale
    }

    fn open(&self, name: &str, key: u8) -> StageDir {
        match self.stage(name, key) {
            Stage::Open(open) => open,
            Stage::Done(_) => panic!("{name} was skipped"),
        }
    }

    fn is_done(&self, name: &str, key: u8) -> bool {
        matches!(self.stage(name, key), Stage::Done(_))
    }

    fn finish(&self, name: &str, key: u8, text: &str) -> StageDir {
        let open = self.open(name, key);
        write_atomic(&open.file("jsonl"), text.as_bytes()).unwrap();
        write_atomic(&open.folder().unwrap().join("model"), text.as_bytes()).unwrap();
        open.finish().unwrap()
    }
}

#[test]
fn a_finished_stage_with_the_same_key_is_skipped() {
    let run = run();
    let done = run.finish("round-1/responses", 1, "rows");
    let Stage::Done(again) = run.stage("round-1/responses", 1) else {
        panic!("not skipped");
    };
    assert_eq!(again.record().files, done.record().files);
    assert_eq!(again.digest(), done.digest());
    let files: Vec<_> = again.record().files.keys().collect();
    assert_eq!(
        files,
        ["round-1/responses.jsonl", "round-1/responses/model"]
    );
}

#[test]
fn a_half_done_stage_continues_with_the_same_key_only() {
    let run = run();
    let half = run.open("sft", 1);
    write_atomic(&half.file("jsonl"), b"half").unwrap();
    half.pause().unwrap();
    let again = run.open("sft", 1);
    assert_eq!(fs::read(again.file("jsonl")).unwrap(), b"half");
    let error = run.refused("sft", 2);
    assert!(error.message.contains("`sft` is half done"), "{error}");
    assert!(again.file("jsonl").exists());
    let other = run.redo("sft", 2);
    assert!(!other.file("jsonl").exists());
    // What was only begun holds nothing.
    run.open("sft", 3);
}

#[test]
fn another_key_never_meets_old_outputs_and_touches_nobody_elses() {
    let run = run();
    run.finish("sft", 1, "old");
    run.finish("sft-two", 1, "other");
    let open = run.redo("sft", 2);
    assert!(!open.file("jsonl").exists());
    assert!(!open.file("done.json").exists());
    assert_eq!(files_under(&open.folder().unwrap()).unwrap().len(), 0);
    assert!(run.is_done("sft-two", 1));
}

#[test]
fn a_finished_stage_is_not_thrown_away_unasked() {
    let run = run();
    let done = run.finish("dpo", 1, "the work of days");
    let error = run.refused("dpo", 2);
    assert_eq!(error.kind, Kind::User);
    assert!(error.message.contains("`dpo` is finished"), "{error}");
    let hint = error.hint.unwrap();
    assert!(
        hint.contains("--redo") && hint.contains("name=hh-2"),
        "{hint}"
    );
    assert!(intact(&run.layout, done.record()));
    assert!(run.is_done("dpo", 1), "the old inputs still fit");
    assert!(!run.redo("dpo", 2).file("jsonl").exists());
}

#[test]
fn a_stage_whose_outputs_are_gone_has_nothing_to_lose_and_what_came_after_it_may_be_redone() {
    let run = run();
    let sft = run.finish("sft", 1, "old");
    run.finish("dpo", 1, "old");
    fs::remove_dir_all(sft.folder().unwrap()).unwrap();
    run.finish("sft", 2, "new");
    assert!(run.is_stale("dpo"));
    run.finish("dpo", 2, "new");
    assert!(!run.is_stale("dpo"));
}

#[test]
fn a_measurement_is_repeated_unasked_and_excuses_no_other_stage() {
    let run = run();
    let measure = |name: &'static str, key: u8| {
        let measures = true;
        let asked = Wanted {
            measures,
            ..wanted(name, key)
        };
        open(&run.layout, asked)
            .unwrap()
            .complete(|_| Ok(()))
            .unwrap()
    };
    measure("eval-start", 1);
    run.finish("dpo", 1, "old");
    measure("eval", 1);
    assert!(measure("eval-start", 2).record().done);
    assert!(run.is_stale("eval") && !run.is_stale("dpo"));
    run.refused("dpo", 2);
}

#[test]
fn later_stages_are_stale_until_their_key_fits_in_their_turn() {
    let run = run();
    for name in ["sft", "reward", "round-1/responses"] {
        run.finish(name, 1, name);
    }
    run.redo("sft", 2).finish().unwrap();
    let stale = |name: &str| run.is_stale(name);
    assert!(!stale("sft") && stale("reward") && stale("round-1/responses"));

    assert!(
        run.is_done("reward", 1),
        "it did not depend on what changed"
    );
    run.finish("round-1/responses", 2, "new");
    assert!(!stale("reward") && !stale("round-1/responses"));
    let order: Vec<_> = stages(&run.layout)
        .unwrap()
        .into_iter()
        .map(|r| r.name)
        .collect();
    assert_eq!(order, ["sft", "reward", "round-1/responses"]);
}

#[test]
fn changed_or_missing_outputs_are_not_trusted() {
    let run = run();
    let change = |path: &Path| fs::write(path, b"Rows").unwrap();
    let lose = |path: &Path| fs::remove_file(path).unwrap();
    for harm in [&change as &dyn Fn(&Path), &lose] {
        let done = run.finish("pairs", 1, "rows");
        harm(&done.file("jsonl"));
        assert!(!run.is_done("pairs", 1));
    }
}

#[test]
fn a_kill_at_any_moment_of_finish_or_of_afresh_is_mended() {
    let run = run();
    // Killed after the outputs, before the manifest: half done.
    let open = run.open("pairs", 1);
    write_atomic(&open.file("jsonl"), b"rows").unwrap();
    let open_record = fs::read(open.file("open.json")).unwrap();
    let done = open.finish().unwrap();
    // Killed after the manifest, before the open record went.
    fs::write(done.file("open.json"), open_record).unwrap();
    assert!(run.is_done("pairs", 1));
    assert!(!done.file("open.json").exists());
    // Killed while it starts afresh: outputs without any record.
    fs::remove_file(done.file("done.json")).unwrap();
    assert!(!run.open("pairs", 1).file("jsonl").exists());
}

#[test]
fn work_is_done_once_and_a_failure_leaves_it_open() {
    let run = run();
    let failed = run.stage("sft", 1).complete(|open| {
        write_atomic(&open.file("jsonl"), b"half")?;
        Err(Error::device("out of memory"))
    });
    assert_eq!(failed.unwrap_err().message, "out of memory");
    let done = run.stage("sft", 1).complete(|open| {
        assert!(open.file("jsonl").exists());
        Ok(())
    });
    assert!(done.unwrap().record().seconds > 0.0);
    let skipped = run.stage("sft", 1).complete(|_| panic!("done twice"));
    assert!(skipped.is_ok());
}

#[test]
fn names_cannot_reach_the_runs_own_files() {
    let run = run();
    for name in [
        "recipe",
        "../sft",
        "round-1",
        "a/b",
        "round-1/",
        "Sft",
        "",
        "round-1/a/b",
    ] {
        let error = run.refused(name, 1);
        assert_eq!(error.kind, Kind::Internal, "{name}");
    }
}

#[test]
fn the_key_follows_recipe_part_and_inputs() {
    let (a, b) = (Hash::from([1; 32]), Hash::from([2; 32]));
    let key = |part: &str, inputs: &[Hash]| stage_key(&part, inputs).unwrap();
    assert_eq!(key("x", &[a, b]), key("x", &[a, b]));
    assert_ne!(key("x", &[a, b]), key("x", &[b, a]));
    assert_ne!(key("x", &[a]), key("y", &[a]));
}
