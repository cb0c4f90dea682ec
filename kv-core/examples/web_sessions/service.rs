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

/// How long a request waits until it is its turn to ask the store. Then it is better to say so than to keep everybody waiting.
const PATIENCE: Duration = Duration::from_millis(500);

/// What all requests share.
#[derive(Clone)]
struct Shared {
    sessions: Sessions,
    /// As many as may ask the store at the same time.
    turns: Arc<Semaphore>,
}

/// The service. `turns` is how many requests may ask the store at the same time: as many as it has connections.
pub(crate) fn router(sessions: Sessions, turns: usize) -> Router {
    Router::new()
        .route("/login", post(log_in))
        .route("/whoami", get(who_am_i))
        .route("/logout", post(log_out))
        // What strangers send is stored: not more of it than a name can be.
        .layer(DefaultBodyLimit::max(1000))
        .with_state(Shared { sessions, turns: Arc::new(Semaphore::new(turns)) })
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
    let Some(token) = token(&headers) else { return Ok(nobody()) };
    let user = shared.ask(move |sessions| sessions.user(&token)).await?;
    Ok(user.map_or_else(nobody, |user| (StatusCode::OK, user)))
}

async fn log_out(State(shared): State<Shared>, headers: HeaderMap) -> Answer<(StatusCode, String)> {
    let Some(token) = token(&headers) else { return Ok(nobody()) };
    let ended = shared.ask(move |sessions| sessions.end(&token)).await?;
    Ok(if ended { (StatusCode::OK, "goodbye\n".into()) } else { nobody() })
}

fn token(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

fn nobody() -> (StatusCode, String) {
    (StatusCode::UNAUTHORIZED, "log in first\n".into())
}

impl Shared {
    /// Waits for the store on a thread that may wait. On a thread of the runtime, all other requests of that thread would wait too.
    async fn ask<T: Send + 'static>(self, act: impl FnOnce(&Sessions) -> Result<T> + Send + 'static) -> Answer<T> {
        let Ok(Ok(turn)) = timeout(PATIENCE, self.turns.acquire_owned()).await else {
            eprintln!("WARN no turn to ask the store came within {PATIENCE:?}, and a request was turned away");
            return Err(Failed(StatusCode::SERVICE_UNAVAILABLE));
        };
        let task = spawn_blocking(move || {
            let _turn = turn; // until the store has answered, even if the client has gone meanwhile
            act(&self.sessions)
        });
        match task.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(Failed::of(&error)),
            // Only if `act` panics, which has been printed then, or the runtime shuts down.
            Err(_) => Err(Failed(StatusCode::INTERNAL_SERVER_ERROR)),
        }
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
