//! A hub on this machine that holds configs, which is what a dry run may ask for, and files of data sets. The configs under
//! tests/golden/hub are those that their publishers have there.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A path in a data set, and what is there.
type File = (String, Vec<u8>);

/// A branch or a tag, and the files that it has.
type Version = (String, Vec<File>);

pub struct Hub {
    pub endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
    versions: Arc<Mutex<Vec<Version>>>,
}

/// Where the config of a model lies.
pub fn config(owner: &str, name: &str) -> PathBuf {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/hub");
    golden.join(format!("{owner}--{name}.json"))
}

impl Hub {
    pub fn start() -> Self {
        Self::with_rows::<&str>(&[])
    }

    /// A hub in which each data set has these files, by their paths.
    pub fn with_rows<T: AsRef<[u8]>>(files: &[(&str, T)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (asked, versions) = (Arc::default(), Arc::default());
        let hub = Self {
            endpoint,
            asked: Arc::clone(&asked),
            versions: Arc::clone(&versions),
        };
        hub.push("main", files);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, versions) = (Arc::clone(&asked), Arc::clone(&versions));
                std::thread::spawn(move || {
                    answer(stream.unwrap(), &versions.lock().unwrap(), &log)
                });
            }
        });
        hub
    }

    /// Makes a commit of these files, which is what the branch or tag is from now on.
    pub fn push<T: AsRef<[u8]>>(&self, revision: &str, files: &[(&str, T)]) {
        let owned = |(path, rows): &(&str, T)| ((*path).to_owned(), rows.as_ref().to_vec());
        let files = files.iter().map(owned).collect();
        self.versions
            .lock()
            .unwrap()
            .push((revision.to_owned(), files));
    }

    /// What it was asked for, without the host.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The files of a data set as the hub lists them.
fn tree(files: &[File]) -> String {
    let entry = |(path, rows): &File| serde_json::json!({"type": "file", "oid": path, "size": rows.len(), "path": path});
    serde_json::Value::from_iter(files.iter().map(entry)).to_string()
}

/// The commit that came as number `at`.
fn commit(at: usize) -> String {
    format!("{at:040x}")
}

fn answer(mut stream: TcpStream, versions: &[Version], log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    log.lock().unwrap().push(target.to_owned());
    let path = target.split('?').next().unwrap();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let known = |revision: &str| {
        let named = versions.iter().rposition(|(name, _)| name == revision);
        named.or_else(|| (0..versions.len()).find(|&at| commit(at) == revision))
    };
    let sha = |at: usize| serde_json::json!({"id": "a/set", "sha": commit(at)}).to_string();
    let found = match &parts[..] {
        ["api", "datasets", _, _] => known("main").map(|at| (at, sha(at).into_bytes())),
        ["api", "datasets", _, _, "revision", revision] => {
            known(revision).map(|at| (at, sha(at).into_bytes()))
        }
        ["api", "datasets", _, _, "tree", revision] => {
            known(revision).map(|at| (at, tree(&versions[at].1).into_bytes()))
        }
        ["datasets", _, _, "resolve", revision, file @ ..] => known(revision).and_then(|at| {
            let mut files = versions[at].1.iter();
            let found = files.find(|(path, _)| *path == file.join("/"))?;
            Some((at, found.1.clone()))
        }),
        [owner, name, "resolve", _, "config.json"] => std::fs::read(config(owner, name))
            .ok()
            .map(|body| (0, body)),
        _ => None,
    };
    let (status, at, body) = match found {
        Some((at, body)) => ("200 OK", at, body),
        None => ("404 Not Found", 0, b"{}".to_vec()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nETag: \"{at}-{}\"\r\n\
         X-Repo-Commit: {}\r\nConnection: close\r\n\r\n",
        body.len(),
        target.replace('/', "-"),
        commit(at)
    );
    stream.write_all(head.as_bytes()).unwrap();
    if method == "GET" {
        stream.write_all(&body).unwrap();
    }
}
