//! The service: HTTP on one side, [`Sessions`] on the other.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use kv_core::{Error, Result};
use tokio::task::spawn_blocking;

use crate::sessions::Sessions;

pub(crate) fn router(sessions: Sessions) -> Router {
    Router::new()
        .route("/login", post(log_in))
        .route("/whoami", get(who_am_i))
        .route("/logout", post(log_out))
        // What strangers send is stored: not more of it than a name can be.
        .layer(DefaultBodyLimit::max(1000))
        .with_state(sessions)
}

async fn log_in(State(sessions): State<Sessions>, user: String) -> Answer<(StatusCode, String)> {
    if user.is_empty() {
        return Ok((StatusCode::BAD_REQUEST, "who are you?\n".into()));
    }
    // A real service would check a password here.
    let token = blocking(move || sessions.begin(&user)).await?;
    Ok((StatusCode::OK, token))
}

async fn who_am_i(State(sessions): State<Sessions>, headers: HeaderMap) -> Answer<(StatusCode, String)> {
    let Some(token) = token(&headers) else { return Ok(nobody()) };
    let user = blocking(move || sessions.user(&token)).await?;
    Ok(user.map_or_else(nobody, |user| (StatusCode::OK, user)))
}

async fn log_out(State(sessions): State<Sessions>, headers: HeaderMap) -> Answer<(StatusCode, String)> {
    let Some(token) = token(&headers) else { return Ok(nobody()) };
    let ended = blocking(move || sessions.end(&token)).await?;
    Ok(if ended { (StatusCode::OK, "goodbye\n".into()) } else { nobody() })
}

fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

fn nobody() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, "log in first\n".into())
}

/// Waits for the store on a thread that may wait. On a thread of the runtime, all other requests of that thread would wait too.
async fn blocking<T: Send + 'static>(act: impl FnOnce() -> Result<T> + Send + 'static) -> Answer<T> {
    match spawn_blocking(act).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failed::of(&error)),
        // Only if `act` panics, which has been printed then, or the runtime shuts down.
        Err(_) => Err(Failed(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

type Answer<T> = Result<T, Failed>;

/// What a client is told of an error: nothing but whether to come again.
#[derive(Debug)]
pub(crate) struct Failed(StatusCode);

impl Failed {
    /// Logs the error, once, with its causes. It holds neither values nor passwords.
    fn of(error: &Error) -> Self {
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
