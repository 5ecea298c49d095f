use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The part of the hub that a download asks for: revision, tree, and files by HEAD and GET.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(files: &'static [(&'static str, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let log = Arc::clone(&log);
                std::thread::spawn(move || answer(stream.unwrap(), files, &log));
            }
        });
        Self { endpoint, requests }
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub {
            endpoint: Some(self.endpoint.clone()),
            cache: Some(cache.to_owned()),
            offline: false,
            retries: Some(0),
            watch: None,
        }
    }
}

fn answer(mut stream: TcpStream, files: &[(&str, &str)], log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let request = lines.next().unwrap().unwrap();
    while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
    log.lock().unwrap().push(request.clone());
    let mut words = request.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let path = target.split('?').next().unwrap();
    let (status, body, etag) = match path {
        "/api/models/me/tiny/revision/main" => ("200 OK", format!(r#"{{"sha":"{COMMIT}"}}"#), ""),
        "/api/models/me/gated/revision/main" => ("401 Unauthorized", "{}".into(), ""),
        _ if path == format!("/api/models/me/tiny/tree/{COMMIT}") => {
            let entry = |(name, body): &(&str, &str)| {
                format!(
                    r#"{{"type":"file","oid":"{name}","size":{},"path":"{name}"}}"#,
                    body.len()
                )
            };
            (
                "200 OK",
                format!(
                    "[{}]",
                    files.iter().map(entry).collect::<Vec<_>>().join(",")
                ),
                "",
            )
        }
        _ => match files
            .iter()
            .find(|(name, _)| path.ends_with(&format!("/{name}")))
        {
            Some((name, body)) if path.starts_with("/me/tiny/resolve/") => {
                ("200 OK", (*body).to_string(), *name)
            }
            _ => ("404 Not Found", "{}".into(), ""),
        },
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nETag: \"etag-{etag}\"\r\n\
         X-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    if method == "GET" {
        stream.write_all(body.as_bytes()).unwrap();
    }
}

const MODEL: &[(&str, &str)] = &[
    ("config.json", "{}"),
    ("tokenizer.json", "{\"version\":\"1.0\"}"),
    ("model-00001-of-00002.safetensors", "one"),
    ("model-00002-of-00002.safetensors", "two"),
    ("model.safetensors.index.json", "{\"weight_map\":{}}"),
    ("pytorch_model.bin", "pickle"),
    ("onnx/model.safetensors", "other"),
    ("consolidated.safetensors", "again"),
    ("tiny.Q8_0.gguf", "GGUF"),
];

#[test]
fn a_cached_model_knows_its_id_and_its_commit_needs_no_network() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(MODEL);
    let hub = server.hub(cache.path());
    let found = hub.resolve("me/tiny", None).unwrap();
    let id = |name: &str| Some((name.to_owned(), COMMIT.to_owned()));
    assert_eq!(hub.origin(&found), id("me/tiny"));
    let file = hub.resolve("me/tiny/tiny.Q8_0.gguf", None).unwrap();
    assert_eq!(hub.origin(&file), id("me/tiny/tiny.Q8_0.gguf"));
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere
        .path()
        .join("models--me--tiny/snapshots")
        .join(COMMIT);
    assert_eq!(hub.origin(&copy), None);

    let asked = || server.requests.lock().unwrap().len();
    let before = asked();
    assert_eq!(hub.resolve("me/tiny", Some(COMMIT)).unwrap(), found);
    assert_eq!(asked(), before);
    // An interrupted download is completed.
    std::fs::remove_file(found.join("tokenizer.json")).unwrap();
    assert_eq!(hub.resolve("me/tiny", Some(COMMIT)).unwrap(), found);
    assert!(asked() > before && found.join("tokenizer.json").exists());
}

#[test]
fn a_download_takes_what_a_decoder_needs_and_works_offline_afterwards() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(MODEL);
    let hub = server.hub(cache.path());
    let found = hub.resolve("me/tiny", None).unwrap();
    assert_eq!(
        found,
        cache.path().join("models--me--tiny/snapshots").join(COMMIT)
    );
    assert_eq!(
        std::fs::read_to_string(found.join("model-00002-of-00002.safetensors")).unwrap(),
        "two"
    );
    for unwanted in [
        "pytorch_model.bin",
        "onnx",
        "consolidated.safetensors",
        "tiny.Q8_0.gguf",
    ] {
        assert!(!found.join(unwanted).exists(), "{unwanted}");
    }
    let asked = server.requests.lock().unwrap().len();
    let offline = Hub {
        offline: true,
        ..server.hub(cache.path())
    };
    assert_eq!(offline.resolve("me/tiny", None).unwrap(), found);
    assert_eq!(
        offline.resolve(&format!("me/tiny@{COMMIT}"), None).unwrap(),
        found
    );
    assert_eq!(
        server.requests.lock().unwrap().len(),
        asked,
        "offline asks nobody"
    );
}

#[test]
fn a_config_comes_alone_and_once() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(MODEL);
    let found = server.hub(cache.path()).config("me/tiny", None).unwrap();
    assert_eq!(
        std::fs::read_to_string(found.join("config.json")).unwrap(),
        "{}"
    );
    let files = std::fs::read_dir(&found).unwrap().count();
    assert_eq!(files, 1, "no weights and no tokenizer");
    let asked = server.requests.lock().unwrap().len();
    let offline = Hub {
        offline: true,
        ..server.hub(cache.path())
    };
    for hub in [server.hub(cache.path()), offline] {
        assert_eq!(hub.config("me/tiny", None).unwrap(), found);
    }
    assert_eq!(
        server.requests.lock().unwrap().len(),
        asked,
        "the cache has it"
    );
    // What is half here is no model yet.
    assert!(server.hub(cache.path()).resolve("me/tiny", None).is_ok());
}

#[test]
fn an_adapter_has_another_config_and_a_gguf_file_none() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("adapter_config.json", "{\"r\": 1}")]);
    let hub = server.hub(cache.path());
    let found = hub.config("me/tiny", None).unwrap();
    assert!(found.join("adapter_config.json").exists());
    let failure = |model: &str| hub.config(model, None).unwrap_err();
    assert!(
        failure("me/tiny/tiny.Q8_0.gguf")
            .message
            .contains("inside the file")
    );
    assert!(failure("me/nothing").message.contains("me/nothing"));
    assert!(
        failure("./nothing")
            .message
            .contains("no model at ./nothing")
    );
}

#[test]
fn a_download_tells_how_far_it_is() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(MODEL);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&heard);
    let watch: Watch = Arc::new(move |arrived, total| note.lock().unwrap().push((arrived, total)));
    let hub = Hub {
        watch: Some(watch),
        ..server.hub(cache.path())
    };
    hub.resolve("me/tiny", None).unwrap();
    let heard = heard.lock().unwrap();
    let wanted: usize = MODEL[..5].iter().map(|(_, body)| body.len()).sum();
    assert_eq!(heard.last(), Some(&(wanted as u64, wanted as u64)));
    assert!(heard.is_sorted(), "{heard:?}");
}

#[test]
fn one_gguf_file_of_a_repository_can_be_named() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(MODEL);
    let found = server
        .hub(cache.path())
        .resolve("me/tiny/tiny.Q8_0.gguf", None)
        .unwrap();
    assert_eq!(std::fs::read_to_string(found).unwrap(), "GGUF");
    let message = server
        .hub(cache.path())
        .resolve("me/tiny/none.gguf", None)
        .unwrap_err()
        .message;
    assert!(message.contains("no file `none.gguf`"), "{message}");
}

#[test]
fn no_network_is_named_with_the_ways_round_it() {
    let cache = tempfile::tempdir().unwrap();
    // Bound and dropped: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let dead = || Hub {
        endpoint: Some(format!("http://{port}")),
        cache: Some(cache.path().to_owned()),
        offline: false,
        retries: Some(0),
        watch: None,
    };
    let error = dead().resolve("me/tiny", None).unwrap_err();
    assert!(
        error
            .message
            .starts_with(&format!("cannot reach http://{port} for me/tiny")),
        "{error}"
    );
    for way in ["local directory", "HF_HUB_OFFLINE", "HF_ENDPOINT"] {
        assert!(error.hint.as_ref().unwrap().contains(way));
    }
    let found = Server::start(MODEL)
        .hub(cache.path())
        .resolve("me/tiny", None)
        .unwrap();
    assert_eq!(
        dead().resolve("me/tiny", None).unwrap(),
        found,
        "the cache serves when the hub does not"
    );
}

#[test]
fn offline_without_a_cached_copy_is_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub {
        offline: true,
        cache: Some(cache.path().to_owned()),
        ..Hub::default()
    };
    let error = hub.resolve("me/tiny", None).unwrap_err();
    assert!(error.message.contains("not in the cache"), "{error}");
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn unknown_gated_and_unusable_repositories_are_told_apart() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(&[("config.json", "{}"), ("pytorch_model.bin", "pickle")]);
    let failure = |model: &str| server.hub(cache.path()).resolve(model, None).unwrap_err();
    assert!(failure("me/gated").hint.unwrap().contains("HF_TOKEN"));
    assert!(
        failure("me/tiny")
            .message
            .contains("no safetensors weights")
    );
    assert!(failure("me/nothing").message.contains("me/nothing"));
}

#[test]
fn paths_and_ids_are_told_apart() {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().to_str().unwrap();
    assert_eq!(resolve(path, None, true).unwrap(), here.path());
    for missing in [
        "./models/x",
        "/no/such/model",
        "..\\models",
        "~/model",
        "a/b/c",
        "models/a b",
    ] {
        let message = resolve(missing, None, true).unwrap_err().message;
        assert!(
            message.contains(&format!("no model at {missing}")),
            "{message}"
        );
    }
    assert!(
        resolve("smollm", None, true)
            .unwrap_err()
            .message
            .contains("nor a hub id")
    );
    let id = Id {
        owner: "o",
        name: "n-1.5B",
        file: None,
        revision: Some("refs/pr/1"),
    };
    assert_eq!(parse("o/n-1.5B@refs/pr/1").unwrap(), id);
    let file = Id {
        owner: "o",
        name: "n",
        file: Some("sub/x.gguf"),
        revision: None,
    };
    assert_eq!(parse("o/n/sub/x.gguf").unwrap(), file);
}

#[test]
fn an_id_is_shown_as_it_is_given() {
    for id in ["o/n", "o/n@v1", "o/n/sub/x.gguf", "o/n/x.gguf@refs/pr/1"] {
        assert_eq!(parse(id).unwrap().display(), id);
    }
}

#[test]
fn the_offline_switch_reads_as_in_python() {
    assert!(
        ["1", "ON", "yes", "True"]
            .into_iter()
            .all(crate::data::hub::client::is_on)
    );
    assert!(
        !["", "0", "false", "off"]
            .into_iter()
            .any(crate::data::hub::client::is_on)
    );
}

/// Notes the names of the spans that were entered: what a terminal would show a bar for.
struct Entered(Arc<Mutex<Vec<&'static str>>>);

impl<S> tracing_subscriber::Layer<S> for Entered
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fn on_enter(&self, id: &tracing::Id, context: tracing_subscriber::layer::Context<'_, S>) {
        let name = context.span(id).map(|span| span.name());
        self.0
            .lock()
            .unwrap()
            .extend(name.filter(|name| *name == "download"));
    }
}

#[test]
fn a_download_shows_one_bar_and_what_is_cached_shows_none() {
    use tracing_subscriber::layer::SubscriberExt;
    let entered = Arc::new(Mutex::new(Vec::new()));
    let subscriber = tracing_subscriber::registry().with(Entered(entered.clone()));
    tracing::subscriber::with_default(subscriber, || {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start(MODEL);
        let seen = || Hub {
            watch: Some(bar("me/tiny")),
            ..server.hub(cache.path())
        };
        seen().resolve("me/tiny", None).unwrap();
        assert_eq!(*entered.lock().unwrap(), ["download"]);
        seen().resolve("me/tiny", None).unwrap();
        assert_eq!(
            *entered.lock().unwrap(),
            ["download"],
            "nothing is fetched twice"
        );
    });
}
