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
use std::sync::Arc;
use std::time::Duration;

use kv_core::Unblocked;
use sessions::Sessions;

#[path = "../choose_backend/open.rs"]
mod open;
mod service;
mod sessions;

/// A session expires if nobody uses it for so long.
const TTL: Duration = Duration::from_secs(30 * 60);

/// How many requests may call the store at the same time: as many as it has connections, 10 by default.
const THREADS: u32 = 10;

/// How long a request waits until it may call the store. After that it is better to reject it than to keep all waiting.
const PATIENCE: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", open::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let url = open::variable("KV_URL", env::var("KV_URL"), "memory:")?;
    let address = open::variable("ADDRESS", env::var("ADDRESS"), "127.0.0.1:8080")?;
    // Before the runtime starts, because it waits for the server.
    let store = open::open(&url).map_err(|error| format!("KV_URL: {}", open::with_causes(&*error)))?;
    println!("sessions are in {}", store.name());
    // This store blocks. Its calls get threads of their own, so that they do not block those of the runtime.
    let store = Unblocked::builder().threads(THREADS).patience(PATIENCE).build(store);
    let sessions = Sessions::new(Arc::new(store), TTL);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(&address).await;
        let listener = listener.map_err(|error| format!("cannot listen on {address}: {error}"))?;
        println!("listening on http://{}", listener.local_addr()?);
        axum::serve(listener, service::router(sessions)).await?;
        Ok(())
    })
}
