//! A hub on this machine that holds configs, which is what a dry run may ask for, and files of data sets. The configs under
//! tests/golden/hub are those that their publishers have there.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A path in a data set, and what is there.
type File = (String, Vec<u8>);

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub struct Hub {
    pub endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
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
        let owned = |(path, rows): &(&str, T)| ((*path).to_owned(), rows.as_ref().to_vec());
        let files: Arc<Vec<File>> = Arc::new(files.iter().map(owned).collect());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, files) = (Arc::clone(&log), Arc::clone(&files));
                std::thread::spawn(move || answer(stream.unwrap(), &files, &log));
            }
        });
        Self { endpoint, asked }
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

fn answer(mut stream: TcpStream, files: &[File], log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    log.lock().unwrap().push(target.to_owned());
    let path = target.split('?').next().unwrap();
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let body = match &parts[..] {
        ["api", "datasets", _, _, "tree", _] => Ok(tree(files).into_bytes()),
        ["datasets", _, _, "resolve", _, file @ ..] => {
            let found = files.iter().find(|(path, _)| *path == file.join("/"));
            found
                .map(|(_, rows)| rows.clone())
                .ok_or(std::io::ErrorKind::NotFound.into())
        }
        [owner, name, "resolve", _, "config.json"] => std::fs::read(config(owner, name)),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let (status, body) = match body {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", b"{}".to_vec()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nETag: \"{}\"\r\n\
         X-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n",
        body.len(),
        target.replace('/', "-")
    );
    stream.write_all(head.as_bytes()).unwrap();
    if method == "GET" {
        stream.write_all(&body).unwrap();
    }
}
