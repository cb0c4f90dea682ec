//! A web service that keeps sessions in a store, shared by all requests:
//!
//! ```sh
//! KV_URL=redis://127.0.0.1:6379 cargo run -p kv-core --example web_sessions
//! token=$(curl -s -d ada http://127.0.0.1:8080/login)
//! curl -H "Authorization: Bearer $token" http://127.0.0.1:8080/whoami
//! curl -X POST -H "Authorization: Bearer $token" http://127.0.0.1:8080/logout
//! ```
//!
//! Without `KV_URL` the sessions are in memory. `ADDRESS` is where it listens.

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use sessions::Sessions;

mod open;
mod service;
mod sessions;
#[path = "../choose_backend/text.rs"]
mod text;

/// A session expires if nobody uses it for so long.
const TTL: Duration = Duration::from_secs(30 * 60);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", text::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let url = text::variable("KV_URL", env::var("KV_URL"), "memory:")?;
    let address = text::variable("ADDRESS", env::var("ADDRESS"), "127.0.0.1:8080")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = open::open(&url).await.map_err(|error| format!("KV_URL: {}", text::with_causes(&*error)))?;
        println!("sessions are in {}", store.name());
        let sessions = Sessions::new(store, TTL);
        let listener = tokio::net::TcpListener::bind(&address).await;
        let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        println!("listening on http://{}", listener.local_addr()?);
        axum::serve(listener, service::router(sessions)).await?;
        Ok(())
    })
}
