//! Which path does what.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};

use super::error::Refused;
use super::history::HistoryQuery;
use super::publish::{publish, read_channel, refuse};
use super::shared::{Caller, Shared};
use super::stats::Stats;
use super::{admin, batch, sse, token, websocket};

/// Everything that the emulator answers.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let admin = Router::new()
        .route(
            "/faults",
            get(admin::list_faults).post(admin::install_faults).delete(admin::clear_faults),
        )
        .route("/disconnect", post(admin::disconnect))
        .route("/stats", get(admin::stats))
        .route("/messages", get(admin::messages))
        .fallback(nothing_here)
        .layer(from_fn(admin::only_this_machine));
    let ably = Router::new()
        .route("/", get(websocket::connect))
        .route("/time", get(time))
        .route("/messages", post(batch::publish_batch))
        .route("/channels/{channel}/messages", get(messages).post(publish))
        .route("/channels/{channel}/history", get(history))
        .route("/keys/{key}/requestToken", post(token::request_token))
        .route("/sse", get(sse::sse))
        .route("/event-stream", get(sse::event_stream))
        .fallback(nothing_here)
        .method_not_allowed_fallback(nothing_here)
        .layer(from_fn(for_any_page));
    Router::new()
        .nest("/_emulator", admin)
        .merge(ably)
        .layer(DefaultBodyLimit::max(shared.body_bytes_max))
        .with_state(shared)
}

async fn nothing_here(request: Request) -> Refused {
    let (method, path) = (request.method(), request.uri().path());
    Refused::new(404, 40_400, format!("The emulator does not know {method} {path}"))
}

/// The key decides, not where a page came from: Ably allows every origin, so a page under development
/// can talk to the emulator.
async fn for_any_page(request: Request, next: Next) -> Response {
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "Authorization, Content-Type, Accept, X-Ably-Version, Ably-Agent, X-Ably-ClientId, Last-Event-ID",
        ),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Link, X-Ably-ErrorCode, X-Ably-ErrorMessage, Content-Type",
        ),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// `[ms]`; needs no key.
async fn time(State(shared): State<Arc<Shared>>) -> Json<[u64; 1]> {
    Json([shared.clock.now_ms()])
}

async fn messages(
    caller: Caller,
    shared: State<Arc<Shared>>,
    channel: Result<Path<String>, PathRejection>,
) -> Response {
    page(&caller, &shared, channel, "messages")
}

async fn history(
    caller: Caller,
    shared: State<Arc<Shared>>,
    channel: Result<Path<String>, PathRejection>,
) -> Response {
    page(&caller, &shared, channel, "history")
}

fn page(
    caller: &Caller,
    shared: &Shared,
    channel: Result<Path<String>, PathRejection>,
    segment: &str,
) -> Response {
    Stats::count(&shared.stats.history);
    let read = read_channel(channel).and_then(|channel| {
        super::group::check_channel(&channel)?;
        Ok((channel, HistoryQuery::parse(&caller.params)?))
    });
    let (channel, query) = match read {
        Ok(read) => read,
        Err(refused) => return refuse(shared, refused),
    };
    let page = shared.hub.lock().history(&channel, &query, shared.clock.now_ms());
    let messages: Vec<_> =
        page.items.iter().filter_map(|(frame, index)| frame.message(*index, false)).collect();
    ([(header::LINK, query.links(&page, segment))], Json(messages)).into_response()
}
