//! Judges elsewhere, against a server on this machine that does as it is told.

use super::*;
use crate::recipe::{Ask, Rounds};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does with a question.
type Act = dyn Fn(usize, &str) -> Reply + Send + Sync;

enum Reply {
    /// The model says this.
    Says(String),
    /// A status with headers and a body.
    Status(&'static str, &'static str, &'static str),
    /// A refusal that quotes the request's headers.
    Echo,
    /// Nothing, for ever.
    Silence,
}

fn any(_: &str) -> bool {
    true
}

fn says(text: &str) -> Reply {
    Reply::Says(text.to_owned())
}

struct Server {
    url: String,
    /// Headers and body of each request.
    requests: Arc<Mutex<Vec<(String, String)>>>,
    cache: tempfile::TempDir,
}

impl Server {
    fn start(act: impl Fn(usize, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, act): (_, Arc<Act>) = (requests.clone(), Arc::new(act));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, act) = (log.clone(), act.clone());
                std::thread::spawn(move || answer(stream.unwrap(), &log, &*act));
            }
        });
        let cache = tempfile::tempdir().unwrap();
        Self {
            url,
            requests,
            cache,
        }
    }

    fn table(&self) -> Table {
        Table {
            base_url: self.url.clone(),
            model: "judge-1".into(),
            api_key_env: None,
            ask: Ask::Pairs,
            rounds: Rounds::RoundRobin,
            template: None,
            temperature: 0.0,
            max_tokens: 64,
            timeout_seconds: 5.0,
            retries: 2,
            concurrency: 3,
            requests_per_minute: None,
        }
    }

    fn endpoint(&self, table: &Table) -> Endpoint {
        Endpoint::new(table).unwrap().keeping_in(self.cache.path())
    }

    fn asked(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn answer(mut stream: TcpStream, log: &Mutex<Vec<(String, String)>>, act: &Act) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
            head += &line;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8(body).unwrap();
        let question: serde_json::Value = serde_json::from_str(&body).unwrap();
        let question = question["messages"][0]["content"]
            .as_str()
            .unwrap()
            .to_owned();
        let number = {
            let mut log = log.lock().unwrap();
            log.push((head, body));
            log.len()
        };
        let (status, headers, body) = match act(number, &question) {
            Reply::Says(text) => {
                let reply = serde_json::json!({"choices": [{"message": {"content": text}}]});
                ("200 OK", "", reply.to_string())
            }
            Reply::Status(status, headers, body) => (status, headers, body.to_owned()),
            Reply::Echo => {
                let log = log.lock().unwrap();
                ("403 Forbidden", "", log[log.len() - 1].0.clone())
            }
            Reply::Silence => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
        };
        let length = body.len();
        let sent = write!(
            stream,
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
        );
        if sent.is_err() {
            return;
        }
    }
}

fn group(responses: &[&str]) -> Group {
    Group {
        id: "p".into(),
        prompt: Prompt::Text("What is up?".into()),
        responses: responses.iter().map(|r| (*r).to_owned()).collect(),
        answer: None,
    }
}

/// Prefers whatever stands first, and more so what is marked as good.
fn leaning(question: &str) -> Reply {
    let good = |side: &str| question.contains(&format!("<answer_{side}>\ngood"));
    match (good("A"), good("B")) {
        (false, true) => says("The second one. B"),
        _ => says("A"),
    }
}

#[test]
fn two_responses_are_asked_about_in_both_orders_so_that_a_lean_to_one_side_cancels() {
    let server = Server::start(|_, question| leaning(question));
    let mut pairs = RemotePairs {
        endpoint: server.endpoint(&server.table()),
        template: PAIR.to_owned(),
        silent: Silent::default(),
    };
    let group = group(&["good one", "bad one", "bad two"]);
    let meet = |first, second| Match {
        group: &group,
        first,
        second,
    };
    let found = pairs.prefer(&[meet(0, 1), meet(1, 0), meet(1, 2)]).unwrap();
    assert_eq!(found, [1.0, 0.0, 0.5]);
    // P(a > b) and P(b > a) come of the same two questions, which are asked once.
    assert!(
        server.asked() <= 6 && server.asked() >= 4,
        "{}",
        server.asked()
    );
    pairs.prefer(&[meet(0, 1)]).unwrap();
    assert!(server.asked() <= 6, "what is known is not asked again");
}

#[test]
fn grades_are_read_and_an_unreadable_one_is_the_mean_of_the_others() {
    let server = Server::start(|_, question| match question {
        q if q.contains("silent") => says("I would rather not say."),
        q if q.contains("good") => says("Very helpful: 9/10"),
        _ => says("3"),
    });
    let mut grades = RemoteGrades {
        endpoint: server.endpoint(&server.table()),
        template: SINGLE.to_owned(),
        silent: Silent::default(),
    };
    let found = grades.grades(&[group(&["good", "bad"]), group(&["silent", "good", "bad"])]);
    assert_eq!(found.unwrap(), [vec![9.0, 3.0], vec![6.0, 9.0, 3.0]]);
    let asked = server.asked();
    grades.grades(&[group(&["silent", "good", "bad"])]).unwrap();
    assert_eq!(
        server.asked(),
        asked + 1,
        "what said nothing is asked again, the rest is known"
    );
    let error = grades
        .grades(&[group(&["silent", "silent too"])])
        .unwrap_err();
    assert!(
        error.message.contains("no reply about it has a number"),
        "{}",
        error.message
    );
}

#[test]
fn an_endpoint_most_of_whose_replies_say_nothing_ends_the_judging() {
    let server = Server::start(|number, _| says(if number == 1 { "A" } else { "Hm." }));
    let mut pairs = RemotePairs {
        endpoint: server.endpoint(&server.table()),
        template: PAIR.to_owned(),
        silent: Silent::default(),
    };
    let group = group(&["a", "b", "c", "d", "e", "f"]);
    let meet = |second| Match {
        group: &group,
        first: 0,
        second,
    };
    // A few are no reason to stop.
    assert!(pairs.prefer(&[meet(1), meet(2)]).is_ok());
    let all: Vec<Match> = (1..6).map(meet).collect();
    let error = (0..4).find_map(|_| pairs.prefer(&all).err()).unwrap();
    assert!(
        error.message.contains("have no verdict"),
        "{}",
        error.message
    );
}

#[test]
fn an_examiner_asks_what_it_is_given_and_each_question_once() {
    let server = Server::start(|_, question| match question {
        q if q.contains("silent") => says("Hm."),
        _ => says("[[7]]"),
    });
    let examiner = || {
        let examiner = Examiner::new(&server.table()).unwrap();
        examiner.keeping_in(server.cache.path())
    };
    let marked = |reply: &str| reply.contains("[[");
    let questions = ["one", "silent", "two"].map(String::from);
    let ask = || examiner().replies(&questions, marked, "mark").unwrap();
    assert_eq!(ask(), ["[[7]]", "Hm.", "[[7]]"]);
    assert_eq!(ask(), ["[[7]]", "Hm.", "[[7]]"]);
    assert_eq!(
        server.asked(),
        4,
        "what said nothing is asked again, the rest is known"
    );
    let silent = ["silent", "silent 2", "silent 3", "silent 4"].map(String::from);
    let error = examiner().replies(&silent, marked, "mark").unwrap_err();
    assert!(
        error.message.contains("4 of 4 replies have no mark"),
        "{error}"
    );
    assert!(error.to_string().contains("--reply-tokens"), "{error}");
}

#[test]
fn what_fails_in_passing_is_asked_again_and_what_is_refused_is_not() {
    let server = Server::start(|number, _| match number {
        1 => Reply::Status("429 Too Many Requests", "retry-after: 0\r\n", "slow down"),
        2 => Reply::Status("500 Internal Server Error", "", "oh"),
        _ => says("A"),
    });
    let endpoint = server.endpoint(&server.table());
    assert_eq!(endpoint.ask(&["q".into()], any).unwrap(), ["A"]);
    assert_eq!(server.asked(), 3);

    let server = Server::start(|_, _| Reply::Status("401 Unauthorized", "", "who are you?"));
    let error = server
        .endpoint(&server.table())
        .ask(&["q".into()], any)
        .unwrap_err();
    assert!(
        error
            .message
            .contains("refuses: 401 Unauthorized: who are you?"),
        "{}",
        error.message
    );
    assert_eq!(server.asked(), 1);
}

#[test]
fn an_endpoint_that_never_answers_or_answers_nonsense_is_told_after_all_attempts() {
    let table = |server: &Server| Table {
        timeout_seconds: 0.2,
        retries: 1,
        ..server.table()
    };
    let silent = Server::start(|_, _| Reply::Silence);
    let error = silent
        .endpoint(&table(&silent))
        .ask(&["q".into()], any)
        .unwrap_err();
    assert!(
        error.message.contains("in 2 of 2 attempts"),
        "{}",
        error.message
    );
    assert!(error.message.contains("timed out"), "{}", error.message);

    let nonsense = Server::start(|_, _| Reply::Status("200 OK", "", "<html>hello</html>"));
    let error = nonsense
        .endpoint(&table(&nonsense))
        .ask(&["q".into()], any)
        .unwrap_err();
    assert!(
        error.message.contains("<html>hello</html>"),
        "{}",
        error.message
    );
}

#[test]
fn questions_keep_their_order_and_no_more_are_under_way_than_allowed() {
    let (now, most) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let (inside, seen) = (now.clone(), most.clone());
    let server = Server::start(move |_, question| {
        {
            let mut now = inside.lock().unwrap();
            *now += 1;
            let mut most = seen.lock().unwrap();
            *most = (*most).max(*now);
        }
        std::thread::sleep(Duration::from_millis(20));
        *inside.lock().unwrap() -= 1;
        says(question)
    });
    let questions: Vec<String> = (0..20).map(|i| format!("question {i}")).collect();
    assert_eq!(
        server
            .endpoint(&server.table())
            .ask(&questions, any)
            .unwrap(),
        questions
    );
    assert!((2..=3).contains(&*most.lock().unwrap()), "{most:?}");
}

/// The variable is one that every test process has: setting one would be unsafe beside other threads.
#[test]
fn the_key_is_sent_and_is_in_no_message_and_no_file() {
    let server = Server::start(|_, question| match question {
        "refused" => Reply::Echo,
        "said" => says(&format!("I heard {}", env!("CARGO_MANIFEST_DIR"))),
        _ => says("fine"),
    });
    let table = Table {
        api_key_env: Some("CARGO_MANIFEST_DIR".into()),
        ..server.table()
    };
    let key = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let endpoint = server.endpoint(&table);
    endpoint.ask(&["q".into()], any).unwrap();
    let (head, body) = server.requests.lock().unwrap()[0].clone();
    assert!(
        head.contains(&format!("Bearer {key}")) && !body.contains(&key),
        "{head}"
    );
    let said = endpoint.ask(&["said".into()], any).unwrap();
    assert_eq!(said, ["I heard ***"]);
    let quoted = endpoint.ask(&["refused".into()], any).unwrap_err().message;
    assert!(
        quoted.contains("Bearer ***") && !quoted.contains(&key),
        "{quoted}"
    );
    assert_eq!(endpoint.shown(&format!("no {key} here")), "no *** here");
    let mut files = 0;
    for folder in std::fs::read_dir(server.cache.path()).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let file = file.unwrap().path();
            assert!(!std::fs::read_to_string(&file).unwrap().contains(&key));
            files += 1;
        }
    }
    assert_eq!(files, 2);
    let missing = Table {
        api_key_env: Some("DUEL_NO_SUCH_KEY".into()),
        ..table
    };
    let error = Endpoint::new(&missing).err().unwrap();
    assert!(
        error.message.contains("has no DUEL_NO_SUCH_KEY"),
        "{}",
        error.message
    );
}

#[test]
fn a_template_has_to_show_what_is_judged() {
    let server = Server::start(|_, _| says("A"));
    let with = |template: &str| Table {
        template: Some(template.to_owned()),
        ..server.table()
    };
    assert!(RemotePairs::new(&with("{{ prompt }} {{ a }} {{ b }}")).is_ok());
    let error = RemotePairs::new(&with("{{ prompt }} {{ a }}"))
        .err()
        .unwrap();
    assert!(
        error.message.contains("does not show [\"b\"]"),
        "{}",
        error.message
    );
    assert!(RemoteGrades::new(&with("{{ prompt }} {{ response")).is_err());
}
