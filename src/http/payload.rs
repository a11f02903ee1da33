//! `GET /events/{id}/payload?expires=…&signature=…`: what was too large for a message.
//!
//! The link is all that is asked for, so it may be followed from any page and by any name: no token, no cookie, and every
//! origin may read the answer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::publish::refuse;
use super::routes::Served;
use super::server::Place;
use crate::domain::payload_link::LinkRefused;
use crate::relay::payloads::NotOpened;

pub(super) async fn payload(
    State(served): State<Arc<Served>>,
    Extension(place): Extension<Place>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let mut response = answer(&served, &place, &id, query.as_deref().unwrap_or_default()).await;
    let origin = (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response.headers_mut().extend([origin]);
    response
}

async fn answer(served: &Served, place: &Place, id: &str, query: &str) -> Response {
    let Some(payloads) = &served.payloads else {
        return refuse(StatusCode::NOT_FOUND, "this relay publishes no links to payloads");
    };
    let field =
        |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    let expires = field("expires").and_then(|text| text.parse().ok());
    let (Some(expires), Some(signature)) = (expires, field("signature")) else {
        return refuse(StatusCode::FORBIDDEN, "a link ends in ?expires=…&signature=…");
    };
    let opened = match payloads.open(id, expires, signature).await {
        Ok(opened) => opened,
        Err(error) => return refused(error),
    };
    place.keep();
    let pieces = stream::try_unfold(opened, |mut opened| async move {
        let piece = opened.next().await?;
        Ok::<_, crate::relay::payloads::ReadError>(piece.map(|piece| (piece, opened)))
    });
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(pieces)).into_response()
}

fn refused(error: NotOpened) -> Response {
    let status = match error {
        NotOpened::Link(LinkRefused::Forged | LinkRefused::Expired) => StatusCode::FORBIDDEN,
        NotOpened::Missing => StatusCode::NOT_FOUND,
        NotOpened::Scrubbed => StatusCode::GONE,
        NotOpened::Busy | NotOpened::Database => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut response = refuse(status, &error.to_string());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
