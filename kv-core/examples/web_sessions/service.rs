//! The service: HTTP on one side, [`Sessions`] on the other.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use kv_core::Error;

use crate::sessions::Sessions;

/// The service.
pub(crate) fn router(sessions: Sessions) -> Router {
    Router::new()
        .route("/login", post(log_in))
        .route("/whoami", get(who_am_i))
        .route("/logout", post(log_out))
        // Strangers' input is stored: limit it to the length of a name.
        .layer(DefaultBodyLimit::max(1000))
        .with_state(sessions)
}

async fn log_in(State(sessions): State<Sessions>, user: String) -> Answer {
    if user.is_empty() {
        return Ok((StatusCode::BAD_REQUEST, "who are you?\n".into()));
    }
    // A real service would check a password here.
    Ok((StatusCode::OK, sessions.begin(&user).await?))
}

async fn who_am_i(State(sessions): State<Sessions>, headers: HeaderMap) -> Answer {
    let Some(token) = token(&headers) else { return Ok(unauthorized()) };
    let user = sessions.user(token).await?;
    Ok(user.map_or_else(unauthorized, |user| (StatusCode::OK, user)))
}

async fn log_out(State(sessions): State<Sessions>, headers: HeaderMap) -> Answer {
    let Some(token) = token(&headers) else { return Ok(unauthorized()) };
    Ok(if sessions.end(token).await? { (StatusCode::OK, "goodbye\n".into()) } else { unauthorized() })
}

fn token(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

fn unauthorized() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, "log in first\n".into())
}

type Answer = Result<(StatusCode, String), Failed>;

/// What a client learns about an error: only whether to try again.
#[derive(Debug)]
pub(crate) struct Failed(StatusCode);

/// Logs the error, once, with its causes. It holds neither values nor passwords.
impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let again = error.is_transient();
        eprintln!("{} {}", if again { "WARN" } else { "ERROR" }, error.report());
        Self(if again { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::INTERNAL_SERVER_ERROR })
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let Self(status) = self;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, [(header::RETRY_AFTER, "1")], "try again\n").into_response();
        }
        (status, "something went wrong\n").into_response()
    }
}
