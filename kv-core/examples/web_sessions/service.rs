//! The service: HTTP on one side, [`Sessions`] on the other.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use kv_core::{Error, Result};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::sessions::Sessions;

/// How long a request waits for a permit to call the store. After that it is better to reject it than to keep all waiting.
const PATIENCE: Duration = Duration::from_millis(500);

/// What all requests share.
#[derive(Clone)]
struct Shared {
    sessions: Sessions,
    /// As many as requests that may call the store at the same time.
    permits: Arc<Semaphore>,
}

/// The service. `permits` is how many requests may call the store at the same time: as many as it has connections.
pub(crate) fn router(sessions: Sessions, permits: usize) -> Router {
    Router::new()
        .route("/login", post(log_in))
        .route("/whoami", get(who_am_i))
        .route("/logout", post(log_out))
        // Strangers' input is stored: limit it to the length of a name.
        .layer(DefaultBodyLimit::max(1000))
        .with_state(Shared { sessions, permits: Arc::new(Semaphore::new(permits)) })
}

async fn log_in(State(shared): State<Shared>, user: String) -> Answer<(StatusCode, String)> {
    if user.is_empty() {
        return Ok((StatusCode::BAD_REQUEST, "who are you?\n".into()));
    }
    // A real service would check a password here.
    let token = shared.ask(move |sessions| sessions.begin(&user)).await?;
    Ok((StatusCode::OK, token))
}

async fn who_am_i(State(shared): State<Shared>, headers: HeaderMap) -> Answer<(StatusCode, String)> {
    let Some(token) = token(&headers) else { return Ok(unauthorized()) };
    let user = shared.ask(move |sessions| sessions.user(&token)).await?;
    Ok(user.map_or_else(unauthorized, |user| (StatusCode::OK, user)))
}

async fn log_out(State(shared): State<Shared>, headers: HeaderMap) -> Answer<(StatusCode, String)> {
    let Some(token) = token(&headers) else { return Ok(unauthorized()) };
    let ended = shared.ask(move |sessions| sessions.end(&token)).await?;
    Ok(if ended { (StatusCode::OK, "goodbye\n".into()) } else { unauthorized() })
}

fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

fn unauthorized() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, "log in first\n".into())
}

impl Shared {
    /// Calls the store on a thread that may block. On a thread of the runtime, all other requests of that thread would wait, too.
    async fn ask<T: Send + 'static>(self, act: impl FnOnce(&Sessions) -> Result<T> + Send + 'static) -> Answer<T> {
        let Ok(Ok(permit)) = timeout(PATIENCE, self.permits.acquire_owned()).await else {
            eprintln!("WARN no permit to call the store became free within {PATIENCE:?}; a request was rejected");
            return Err(Failed(StatusCode::SERVICE_UNAVAILABLE));
        };
        let task = spawn_blocking(move || {
            let _permit = permit; // kept until the store has answered, even if the client has disconnected
            act(&self.sessions)
        });
        match task.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failed::of(&error)),
            // Only if `act` panics (the panic was printed), or the runtime shuts down.
            Err(_) => Err(Failed(StatusCode::INTERNAL_SERVER_ERROR)),
        }
    }
}

type Answer<T> = Result<T, Failed>;

/// What a client learns about an error: only whether to try again.
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
