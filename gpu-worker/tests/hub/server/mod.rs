//! A hub on this machine: it speaks the Hub's protocol, and misbehaves when a test asks for it.

mod answers;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::State, http::HeaderMap, http::Uri, response::Response};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::{net::TcpListener, sync::Notify};

/// What goes wrong with one answer.
#[derive(Clone)]
pub enum Fault {
    /// The connection ends after this many bytes of the body.
    DropAfter(usize),
    /// A status, with `X-Error-Code` and `Retry-After` where they are given.
    Status(u16, Option<&'static str>, Option<&'static str>),
    /// One byte of the body is another one.
    FlipByte,
    /// One byte every so often, for ever.
    Trickle(Duration),
    /// The body stops and the connection stays open.
    Hang,
    /// The whole file, whatever range was asked for.
    IgnoreRange,
    /// Half of the body waits until the test lets it go.
    HoldUntil(Arc<Notify>),
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Path and query, still escaped.
    pub target: String,
    pub range: Option<String>,
    pub authorization: Option<String>,
    /// At the storage host, to which LFS files are redirected.
    pub at_storage: bool,
}

#[derive(Clone)]
pub struct HubFile {
    pub content: Vec<u8>,
    pub lfs: bool,
}

impl HubFile {
    /// The name of the content: git blob id, or sha256 for LFS.
    pub fn etag(&self) -> String {
        if self.lfs {
            return format!("{:x}", Sha256::digest(&self.content));
        }
        let header = format!("blob {}\0", self.content.len());
        format!("{:x}", Sha1::new().chain_update(header).chain_update(&self.content).finalize())
    }
}

#[derive(Default)]
struct World {
    /// Model id → (commit, files).
    models: BTreeMap<String, (String, BTreeMap<String, HubFile>)>,
    /// Where an answer goes wrong: a file's path, `info` or `tree`.
    faults: HashMap<String, VecDeque<Fault>>,
    seen: Vec<Seen>,
    storage: String,
}

#[derive(Clone, Default)]
pub struct HubServer {
    pub endpoint: String,
    world: Arc<Mutex<World>>,
}

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const MODEL: &str = "org/name";

impl HubServer {
    /// Serves [`MODEL`] with these files; those that end in `.safetensors` are LFS.
    pub async fn start(files: &[(&str, &[u8])]) -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let endpoint = serve(Router::new().fallback(answers::hub).with_state(world.clone())).await;
        let storage =
            serve(Router::new().fallback(answers::storage).with_state(world.clone())).await;
        let server = Self { endpoint, world };
        server.world().storage = storage;
        server.put(MODEL, COMMIT, files);
        server
    }

    pub fn put(&self, model_id: &str, commit: &str, files: &[(&str, &[u8])]) {
        let file = |content: &[u8], path: &str| HubFile {
            content: content.to_vec(),
            lfs: path.ends_with(".safetensors"),
        };
        let files =
            files.iter().map(|(path, content)| ((*path).to_owned(), file(content, path))).collect();
        self.world().models.insert(model_id.to_owned(), (commit.to_owned(), files));
    }

    /// The next answers about `place` (a file's path, `info` or `tree`) go wrong like this.
    pub fn misbehave(&self, place: &str, faults: impl IntoIterator<Item = Fault>) {
        self.world().faults.entry(place.to_owned()).or_default().extend(faults);
    }

    pub fn etag(&self, path: &str) -> String {
        self.world().models[MODEL].1[path].etag()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    /// The requests for a file's content, in order: `Range` or nothing.
    pub fn content_requests(&self, path: &str) -> Vec<Option<String>> {
        let resolves = format!("/resolve/{COMMIT}/{path}");
        let seen = self.seen();
        seen.iter()
            .filter(|seen| seen.target.ends_with(&resolves))
            .map(|seen| seen.range.clone())
            .collect()
    }

    pub fn requests_to(&self, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.target.contains(part)).count()
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }
}

impl World {
    fn fault(&mut self, place: &str) -> Option<Fault> {
        self.faults.get_mut(place).and_then(VecDeque::pop_front)
    }
}

type Shared = State<Arc<Mutex<World>>>;

fn note(world: &mut World, uri: &Uri, headers: &HeaderMap, at_storage: bool) {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let target = uri.path_and_query().unwrap().to_string();
    let (range, authorization) = (text("range"), text("authorization"));
    world.seen.push(Seen { target, range, authorization, at_storage });
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    endpoint
}

fn empty(status: u16, headers: &[(&'static str, String)]) -> Response {
    let mut builder = Response::builder().status(status);
    for (name, value) in headers {
        builder = builder.header(*name, value);
    }
    builder.body(axum::body::Body::empty()).unwrap()
}
