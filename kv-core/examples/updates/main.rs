//! Locks, limits, codes, sessions and documents: the programs of the page *Updates* of the guide, on a store in memory.
//!
//! cargo run -p kv-core --example updates

mod codes;
mod counters;
mod documents;
mod lock;
mod sessions;

use std::error::Error;
use std::time::Duration;

use kv_memory::MemoryStore;

fn main() -> Result<(), Box<dyn Error>> {
    let store = MemoryStore::new();

    let pages = ["one", "two"].map(str::to_owned);
    let complete = lock::make_report(&store, pages, |number, page| {
        println!("holder {number} of the lock saves page {page}");
        true
    })?;
    println!("the report is complete: {complete}");

    let minute = Duration::from_secs(60);
    let admitted = [1, 2, 3, 4].map(|_| counters::admit(&store, "192.0.2.1", 3, minute));
    println!("three requests per minute: {admitted:?}");
    counters::count(&store, "visits", 41)?;
    counters::count(&store, "visits", 1)?;
    println!("visits: {}", counters::counted(&store, "visits")?);

    codes::issue(&store, "ada", "111111")?;
    codes::issue(&store, "ada", "222222")?;
    let guesses = ["111111", "222222", "222222"];
    println!("{guesses:?}: {:?}", guesses.map(|guess| matches!(codes::redeem(&store, "ada", guess), Ok(true))));
    codes::invite(&store, "5f16", "the party")?;
    println!("an invitation to {:?}, then {:?}", codes::accept(&store, "5f16")?, codes::accept(&store, "5f16")?);

    sessions::begin(&store, "42", "ada")?;
    sessions::add_item(&store, "42", "a book")?;
    println!("the session: {:?}", sessions::read(&store, "42")?);
    sessions::end(&store, "42")?;
    println!("after its end: {}", sessions::add_item(&store, "42", "a pen")?);

    documents::create(&store, "plan", "draft", "a1")?;
    println!("{:?}", documents::save(&store, "plan", "ada's", "a1", "b2")?);
    println!("{:?}", documents::save(&store, "plan", "grace's", "a1", "c3")?);
    documents::edit(&store, "plan", "d4", |text| text.to_uppercase())?;
    println!("the document: {:?}", documents::load(&store, "plan")?);
    Ok(())
}
