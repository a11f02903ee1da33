//! A collector as far as exporters see it: takes what is posted and keeps it.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::local_ably::LIMIT;

/// One export.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) authorization: String,
    pub(crate) body: Bytes,
}

impl Post {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("OTLP as JSON")
    }
}

#[derive(Default)]
struct Kept {
    posts: Mutex<Vec<Post>>,
    came: Notify,
}

/// A running receiver.
pub(crate) struct Receiver {
    port: u16,
    kept: Arc<Kept>,
    _server: JoinSet<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Kept::default());
        let router = Router::new().fallback(keep).with_state(Arc::clone(&kept));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, kept, _server: server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn got(&self) -> Vec<Post> {
        self.kept.posts.lock().unwrap().clone()
    }

    /// The spans of all exports that came as JSON, in the order of their beginning.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let posts = self.got();
        let mut spans: Vec<Value> = posts
            .iter()
            .flat_map(|post| list(&post.json()["resourceSpans"]))
            .flat_map(|resource| list(&resource["scopeSpans"]))
            .flat_map(|scope| list(&scope["spans"]))
            .collect();
        spans.sort_by_key(|span| span["startTimeUnixNano"].as_str().map(str::to_owned));
        spans
    }

    /// The first export.
    pub(crate) async fn wait(&self) -> Post {
        let first = async {
            loop {
                let came = self.kept.came.notified();
                if let Some(post) = self.got().first() {
                    return post.clone();
                }
                came.await;
            }
        };
        tokio::time::timeout(LIMIT, first).await.expect("an export")
    }
}

async fn keep(
    State(kept): State<Arc<Kept>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> &'static str {
    let text =
        |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let post = Post {
        path: uri.path().to_owned(),
        content_type: text("content-type"),
        authorization: text("authorization"),
        body,
    };
    kept.posts.lock().unwrap().push(post);
    kept.came.notify_waiters();
    "{}"
}
