//! The store of the example, a folder of files, keeps the contract but for section 12, in real time.
//!
//! Its folders are in memory where the system has such a place, since what each sync takes on a disk depends on who else writes
//! there. `TMPDIR=/tmp cargo test -p kv-conformance --test folder_store` has them on the disk.

use std::process::ExitCode;

#[cfg(unix)]
#[path = "../examples/folder_store/store.rs"]
mod store;

#[cfg(unix)]
fn main() -> ExitCode {
    use kv_conformance::{BoxError, Fixture, Suite};
    use kv_core::Capability::{Counters, Take, TouchingReads, Versions};
    use std::path::Path;
    use std::time::Duration;
    use store::FolderStore;

    fn fixture(default_ttl: Option<Duration>) -> Result<Fixture, BoxError> {
        let memory = Path::new("/dev/shm");
        let in_memory = std::env::var_os("TMPDIR").is_none() && memory.is_dir();
        let folder = if in_memory { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let path = folder.path().to_owned();
        let open = || FolderStore::open(&path, default_ttl);
        let reopened = path.clone();
        let (store, second) = (open()?, open()?);
        let plant = move || {
            // Names that are not keys, what is no file, and files of programs that have their own in the same folder.
            for name in ["=", "=grün", "README", "new-1234", ".DS_Store"] {
                std::fs::write(path.join(name), "not a value")?;
            }
            std::fs::create_dir_all(path.join("=folder/=k"))?;
            Ok(())
        };
        let reopen = move || Ok(FolderStore::open(&reopened, default_ttl)?);
        Ok(Fixture::new(store).second_handle(second).foreign_data(plant).reopen(reopen).guard(folder))
    }

    let suite = Suite::new("folder", || fixture(None)).with_default_ttl(|ttl| fixture(Some(ttl)));
    let lacks = [Versions, Take, TouchingReads, Counters];
    lacks.into_iter().fold(suite, |suite, of| suite.opt_out(of, "the example shows entries, TTLs and listings")).main()
}

#[cfg(not(unix))]
fn main() -> ExitCode {
    ExitCode::SUCCESS
}
