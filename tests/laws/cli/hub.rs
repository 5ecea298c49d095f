//! A hub on this machine that holds configs and nothing else: what a dry run may ask for. The configs under
//! tests/golden/hub are those that their publishers have there.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

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
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || answer(stream.unwrap(), &log));
            }
        });
        Self { endpoint, asked }
    }

    /// What it was asked for, without the host.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(mut stream: TcpStream, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    log.lock().unwrap().push(target.to_owned());
    let parts: Vec<&str> = target.trim_start_matches('/').split('/').collect();
    let body = match parts[..] {
        [owner, name, "resolve", _, "config.json"] => std::fs::read_to_string(config(owner, name)),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let (status, body) = match body {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", "{}".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nETag: \"{}\"\r\n\
         X-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n",
        body.len(),
        target.replace('/', "-")
    );
    stream.write_all(head.as_bytes()).unwrap();
    if method == "GET" {
        stream.write_all(body.as_bytes()).unwrap();
    }
}
