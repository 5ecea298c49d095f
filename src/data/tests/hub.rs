//! Data sets of a hub on this machine.

use super::super::hub::DataHub;
use super::*;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The part of the hub that a data set asks for: its tree, and files by HEAD and GET.
struct Server {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: &'static [(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || answer(stream.expect("a stream"), files, &log));
            }
        });
        Self { endpoint, asked }
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

fn answer(mut stream: TcpStream, files: &[(&str, &str)], log: &Mutex<Vec<String>>) {
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
    let entry = |(name, body): &(&str, &str)| json!({"type": "file", "oid": name, "size": body.len(), "path": name});
    let file = path.strip_prefix("/datasets/me/rows/resolve/main/");
    let file = file.and_then(|wanted| files.iter().find(|(name, _)| *name == wanted));
    let (status, body, etag) = match (path, file) {
        ("/api/datasets/me/rows/tree/main", _) => {
            let tree: Vec<Value> = files.iter().map(entry).collect();
            ("200 OK", json!(tree).to_string(), "tree")
        }
        (_, Some((name, body))) => ("200 OK", (*body).to_owned(), *name),
        ("/api/datasets/me/closed/tree/main", _) => ("401 Unauthorized", "{}".to_owned(), ""),
        _ => ("404 Not Found", "{}".to_owned(), ""),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nETag: \"etag-{}\"\r\n\
         X-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n",
        body.len(),
        etag.replace('/', "-")
    );
    stream.write_all(head.as_bytes()).expect("sent");
    if method == "GET" {
        stream.write_all(body.as_bytes()).expect("sent");
    }
}

const SET: &[(&str, &str)] = &[
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

#[test]
fn a_split_of_a_data_set_is_downloaded_once_and_works_offline_afterwards() {
    let cache = tempfile::tempdir().expect("a folder");
    let server = Server::start(SET);
    let hub = server.hub(cache.path());
    let name = Path::new("me/rows");
    let files = hub.located(name, &["test"]).expect("two shards");
    let wanted = ["one", "two"].map(|text| Prompt::Text(text.into()));
    assert_eq!(prompts(&files), wanted);
    let gets = |part: &str| {
        let asked = server.asked.lock().expect("a log");
        asked
            .iter()
            .filter(|line| line.starts_with("GET") && line.contains(part))
            .count()
    };
    assert_eq!(
        (gets("test-0000"), gets("train"), gets("README")),
        (2, 0, 0)
    );
    assert_eq!(hub.located(name, &["test"]).expect("again"), files);
    assert_eq!(gets("test-0000"), 2);

    let offline = DataHub {
        offline: true,
        ..server.hub(cache.path())
    };
    let before = server.asked.lock().expect("a log").len();
    assert_eq!(
        prompts(&offline.located(name, &["test"]).expect("cached")),
        wanted
    );
    assert_eq!(server.asked.lock().expect("a log").len(), before);
    // A hub that is not there is as good as none.
    let gone = DataHub {
        endpoint: Some("http://127.0.0.1:1".to_owned()),
        ..server.hub(cache.path())
    };
    assert_eq!(
        prompts(&gone.located(name, &["test"]).expect("cached")),
        wanted
    );

    let one = Path::new("hf://datasets/me/rows/data/train-00000-of-00001.jsonl");
    assert_eq!(
        prompts(&hub.located(one, &["test"]).expect("a file")).len(),
        1
    );
}

#[test]
fn what_cannot_be_had_says_why() {
    let cache = tempfile::tempdir().expect("a folder");
    let server = Server::start(SET);
    let hub = server.hub(cache.path());
    let said = |hub: &DataHub, name: &str| {
        hub.located(Path::new(name), &["filtered"])
            .expect_err("refused")
            .to_string()
    };
    let several = said(&hub, "me/rows");
    assert!(
        several.contains("has several parts: data/test, data/train"),
        "{several}"
    );
    let unknown = said(&hub, "me/other");
    assert!(
        unknown.contains("knows no data set of that name"),
        "{unknown}"
    );
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
    assert_eq!(hub.located(path, &[]).expect("a path"), [path]);
}
