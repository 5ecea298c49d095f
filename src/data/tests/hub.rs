//! Data sets of a hub on this machine.

use super::super::hub::{DataHub, Split, located};
use super::*;
use crate::recipe::HubSet;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// Two commits of one set; a push makes `main` the second.
const COMMITS: [&str; 2] = [
    "0123456789abcdef0123456789abcdef01234567",
    "89abcdef0123456789abcdef0123456789abcdef",
];

type Files = &'static [(&'static str, &'static str)];

/// The part of the hub that a data set asks for: its commits, their trees, and files by HEAD and GET.
struct Server {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
    /// Which commit `main` is.
    main: Arc<AtomicUsize>,
}

impl Server {
    fn start(versions: [Files; 2]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let main = Arc::new(AtomicUsize::new(0));
        let (log, now) = (Arc::clone(&asked), Arc::clone(&main));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, now) = (Arc::clone(&log), now.load(Ordering::SeqCst));
                std::thread::spawn(move || answer(stream.expect("a stream"), versions, now, &log));
            }
        });
        Self {
            endpoint,
            asked,
            main,
        }
    }

    fn hub(&self, cache: &Path) -> DataHub {
        DataHub {
            endpoint: Some(self.endpoint.clone()),
            cache: Some(cache.to_owned()),
            offline: false,
            retries: Some(0),
        }
    }
}

fn answer(mut stream: TcpStream, versions: [Files; 2], main: usize, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
    let request = lines.next().expect("a request").expect("text");
    while lines
        .next()
        .is_some_and(|line| !line.expect("text").is_empty())
    {}
    log.lock().expect("a log").push(request.clone());
    let mut words = request.split(' ');
    let (method, target) = (
        words.next().expect("a method"),
        words.next().expect("a target"),
    );
    let path = target.split('?').next().expect("a path");
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let at = |revision: &str| match revision {
        "main" => Some(main),
        commit => COMMITS.iter().position(|known| *known == commit),
    };
    let entry = |(name, body): &(&str, &str)| json!({"type": "file", "oid": name, "size": body.len(), "path": name});
    let sha = |at: usize| json!({"id": "me/rows", "sha": COMMITS[at]}).to_string();
    let found = match &parts[..] {
        ["api", "datasets", "me", "closed", ..] => Err("401 Unauthorized"),
        ["api", "datasets", "me", "rows"] => Ok((main, sha(main), "sha".to_owned())),
        ["api", "datasets", "me", "rows", "revision", revision] => {
            let at = at(revision).ok_or("404 Not Found");
            at.map(|at| (at, sha(at), "sha".to_owned()))
        }
        ["api", "datasets", "me", "rows", "tree", revision] => {
            let at = at(revision).ok_or("404 Not Found");
            let tree = |at: usize| json!(versions[at].iter().map(entry).collect::<Vec<_>>());
            at.map(|at| (at, tree(at).to_string(), "tree".to_owned()))
        }
        ["datasets", "me", "rows", "resolve", revision, file @ ..] => {
            let file = file.join("/");
            let of = |at: usize| versions[at].iter().find(|(name, _)| *name == file);
            let found = at(revision).and_then(|at| Some((at, of(at)?)));
            let found = found.ok_or("404 Not Found");
            found.map(|(at, (name, body))| (at, (*body).to_owned(), name.replace('/', "-")))
        }
        _ => Err("404 Not Found"),
    };
    let (status, at, body, etag) = match found {
        Ok((at, body, etag)) => ("200 OK", at, body, etag),
        Err(status) => (status, main, "{}".to_owned(), String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nETag: \"{etag}-{at}\"\r\n\
         X-Repo-Commit: {}\r\nConnection: close\r\n\r\n",
        body.len(),
        COMMITS[at]
    );
    stream.write_all(head.as_bytes()).expect("sent");
    if method == "GET" {
        stream.write_all(body.as_bytes()).expect("sent");
    }
}

const SET: Files = &[
    ("README.md", "# Rows"),
    (
        "data/train-00000-of-00001.jsonl",
        "{\"prompt\": \"train\"}\n",
    ),
    ("data/test-00000-of-00002.jsonl", "{\"prompt\": \"one\"}\n"),
    ("data/test-00001-of-00002.jsonl", "{\"prompt\": \"two\"}\n"),
];

/// The prompts in files.
fn prompts(files: &[PathBuf]) -> Vec<Prompt> {
    let (rows, _) = load_prompts(files, &LoadOptions::default()).expect("rows");
    rows.into_iter().map(|row| row.prompt).collect()
}

/// The set after a push: other rows, and a part more.
const PUSHED: Files = &[
    ("data/train-00000-of-00001.jsonl", "{\"prompt\": \"new\"}\n"),
    (
        "data/test-00000-of-00001.jsonl",
        "{\"prompt\": \"other\"}\n",
    ),
    (
        "data/extra-00000-of-00001.jsonl",
        "{\"prompt\": \"extra\"}\n",
    ),
];

fn set(text: &str) -> HubSet {
    HubSet::parse(text).expect("a name").expect("of a data set")
}

fn texts<const N: usize>(wanted: [&str; N]) -> Vec<Prompt> {
    wanted.map(|text| Prompt::Text(text.into())).to_vec()
}

#[test]
fn a_split_of_a_data_set_is_downloaded_once_and_works_offline_afterwards() {
    let cache = tempfile::tempdir().expect("a folder");
    let server = Server::start([SET, PUSHED]);
    let hub = server.hub(cache.path());
    let name = set("me/rows");
    let files = hub.located(&name, &Split::TEST).expect("two shards");
    let wanted = texts(["one", "two"]);
    assert_eq!(prompts(&files), wanted);
    let gets = |part: &str| {
        let asked = server.asked.lock().expect("a log");
        asked
            .iter()
            .filter(|line| line.starts_with("GET") && line.contains(part))
            .count()
    };
    assert_eq!(
        (gets("test-0000"), gets("train-"), gets("README")),
        (2, 0, 0)
    );
    assert_eq!(hub.located(&name, &Split::TEST).expect("again"), files);
    assert_eq!(gets("test-0000"), 2);

    let offline = DataHub {
        offline: true,
        ..server.hub(cache.path())
    };
    let before = server.asked.lock().expect("a log").len();
    let cached = |split: &Split| offline.located(&name, split);
    assert_eq!(prompts(&cached(&Split::TEST).expect("cached")), wanted);
    // What is there of the set is not taken for what was asked for.
    let error = cached(&Split::TRAIN).expect_err("another part").to_string();
    assert!(error.contains("is not in the cache"), "{error}");
    let plan = offline.in_cache(&name, &Split::TRAIN);
    let error = plan.expect_err("another part").to_string();
    assert!(error.contains("is not downloaded yet"), "{error}");
    assert_eq!(server.asked.lock().expect("a log").len(), before);
    // A hub that is not there is as good as none.
    let gone = DataHub {
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        ..server.hub(cache.path())
    };
    let found = gone.located(&name, &Split::TEST).expect("cached");
    assert_eq!(prompts(&found), wanted);

    let one = set("hf://datasets/me/rows/data/train-00000-of-00001.jsonl");
    let found = hub.located(&one, &Split::TEST).expect("a file");
    assert_eq!(prompts(&found), texts(["train"]));
}

#[test]
fn a_set_that_is_pushed_to_is_read_at_one_commit() {
    let cache = tempfile::tempdir().expect("a folder");
    let server = Server::start([SET, PUSHED]);
    let hub = server.hub(cache.path());
    let at = |hub: &DataHub, name: &str, split: &Split| {
        prompts(&hub.located(&set(name), split).expect("rows"))
    };
    assert_eq!(at(&hub, "me/rows", &Split::TRAIN), texts(["train"]));
    server.main.store(1, Ordering::SeqCst);
    assert_eq!(at(&hub, "me/rows", &Split::TRAIN), texts(["new"]));
    let first = format!("me/rows@{}", COMMITS[0]);
    let before = server.asked.lock().expect("a log").len();
    assert_eq!(at(&hub, &first, &Split::TRAIN), texts(["train"]));
    assert_eq!(
        server.asked.lock().expect("a log").len(),
        before,
        "a commit that is here needs no network"
    );
    assert_eq!(at(&hub, &first, &Split::TEST), texts(["one", "two"]));
    let offline = DataHub {
        offline: true,
        ..server.hub(cache.path())
    };
    assert_eq!(at(&offline, "me/rows", &Split::TRAIN), texts(["new"]));
}

#[test]
fn what_cannot_be_had_says_why() {
    let cache = tempfile::tempdir().expect("a folder");
    let server = Server::start([SET, PUSHED]);
    let hub = server.hub(cache.path());
    let said = |hub: &DataHub, name: &str| {
        let filtered = Split::Named("filtered".to_owned());
        hub.located(&set(name), &filtered)
            .expect_err("refused")
            .to_string()
    };
    let lacking = said(&hub, "me/rows");
    assert!(
        lacking.contains("has no part `filtered`; it has data/test, data/train"),
        "{lacking}"
    );
    let unknown = said(&hub, "me/other");
    assert!(
        unknown.contains("knows no data set of that name"),
        "{unknown}"
    );
    let revision = said(&hub, "me/rows@v7");
    assert!(revision.contains("no revision `v7`"), "{revision}");
    let closed = said(&hub, "me/closed");
    assert!(closed.contains("HF_TOKEN"), "{closed}");
    let offline = DataHub {
        offline: true,
        ..server.hub(cache.path())
    };
    let offline = said(&offline, "me/rows");
    assert!(offline.contains("is not in the cache"), "{offline}");
    // What can only be a path is left to whoever opens it.
    let path = Path::new("nowhere/pairs.jsonl");
    assert_eq!(located(path, &Split::TRAIN).expect("a path"), [path]);
}
