//! A store of files in a folder, used as any other: `cargo run -p kv-conformance --example folder_store`.

#[cfg(unix)]
mod store;

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    use kv_core::KeyValueStoreExt;
    use std::time::Duration;

    let folder = tempfile::tempdir()?;
    let store = store::FolderStore::open(folder.path(), None)?;
    store.put("greeting", "hello")?;
    store.put_with_ttl("session/42", "token", Duration::from_secs(1800))?;
    println!("the first to create lock/report: {}", store.create("lock/report", "me")?);
    println!("the second: {}", store.create("lock/report", "you")?);
    drop(store);

    // A store that opens the folder later, here or in another process, finds what was written.
    let store = store::FolderStore::open(folder.path(), None)?;
    for key in store.keys("")? {
        let key = key?;
        println!("{key}: {:?}, {:?}", store.get(&key)?, store.ttl(&key)?);
    }
    Ok(())
}

#[cfg(not(unix))]
fn main() {
    println!("This store locks its folder with flock, as unix has it.");
}
