//! Shows what a store can do, with the files of a folder. It takes any store; it reports and skips what the store lacks.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as StdError;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};
use std::{env, fs, thread};

use kv_core::{Capability, Error, Key, KeyBuf, KeyValueStore, KeyValueStoreExt, Ttl};

/// A result whose error can be anything.
type Result<T> = std::result::Result<T, Box<dyn StdError>>;

/// All keys of the tour begin with this, so that it can remove them and changes nothing else in the store.
const PREFIX: &str = "tour/";

/// Keys that the tour itself uses. No file has such a key, because in a file's key `%` is never followed by `:`.
const COPY: Key<'_> = Key::from_static("tour/%:copy");
const MOVED: Key<'_> = Key::from_static("tour/%:moved");
const ONCE: Key<'_> = Key::from_static("tour/%:once");
const BRIEF: Key<'_> = Key::from_static("tour/%:brief");

/// Files of up to this many bytes are stored in a batch.
const SMALL: u64 = 16 * 1024;

struct File {
    path: PathBuf,
    length: u64,
    modified: Option<SystemTime>,
}

/// What the command line says.
struct Arguments {
    /// The URL of the store, if it needs one.
    url: String,
    /// The folder; by default the workspace.
    folder: PathBuf,
    /// The TTL of the entries.
    ttl: Option<Duration>,
}

/// Reads the command line, opens the store and takes the tour. `usage` is what comes before the folder: the name of the
/// example and, for a store that needs one, a URL.
pub(crate) fn main<S: KeyValueStore>(usage: &str, open: impl FnOnce(&str) -> kv_core::Result<S>) -> ExitCode {
    let tour = |arguments: Arguments| run(&open(&arguments.url)?, &arguments.folder, arguments.ttl);
    match parse(usage).and_then(|arguments| arguments.map_or(Ok(()), tour)) {
        Ok(()) => ExitCode::SUCCESS,
        // As with `| head`: the reader of the output has stopped reading.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn StdError + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Parses the command line; `None` if it only asks for help.
fn parse(usage: &str) -> Result<Option<Arguments>> {
    let usage = format!("usage: {usage} [FOLDER] [--ttl SECONDS]");
    let (mut ttl, mut others) = (None, Vec::new());
    let mut arguments = env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--help" || argument == "-h" {
            say(format_args!("{usage}"))?;
            return Ok(None);
        }
        if argument == "--ttl" {
            let seconds = arguments.next().and_then(|seconds| seconds.to_str()?.parse().ok());
            let seconds = seconds.filter(|&seconds| seconds > 0);
            ttl = Some(Duration::from_secs(seconds.ok_or("--ttl takes a whole number of seconds above zero")?));
        } else if argument.as_encoded_bytes().starts_with(b"-") {
            return Err(format!("{} is not an option; {usage}", argument.display()).into());
        } else {
            others.push(argument);
        }
    }
    let mut others = others.into_iter();
    let url = if usage.contains("://") { others.next() } else { Some(String::new().into()) };
    let url = url.and_then(|url| url.into_string().ok()).ok_or_else(|| usage.clone())?;
    let workspace = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("");
    let folder = others.next().map_or_else(workspace, PathBuf::from);
    if others.next().is_some() {
        return Err(usage.into());
    }
    Ok(Some(Arguments { url, folder, ttl }))
}

/// The tour. A wrong answer of the store is an error.
fn run(store: &dyn KeyValueStore, folder: &Path, ttl: Option<Duration>) -> Result<()> {
    let mut files = BTreeMap::new();
    let skipped = walk(folder, PREFIX, &mut files)?;
    let limit = store.capabilities().largest_value().unwrap_or(u64::MAX);
    let all = files.len();
    files.retain(|_, file| file.length <= limit);
    let too_large = all - files.len();
    say(format_args!("store     {}", store.name()))?;
    say(format_args!("folder    {}", folder.display()))?;
    say(format_args!(
        "found     {all} files; left out: {skipped} links and unreadable folders, {too_large} too large"
    ))?;
    say(format_args!("TTL       {}", ttl.map_or("the store's default".into(), |ttl| format!("{ttl:?}"))))?;
    if cfg!(debug_assertions) {
        say(format_args!("build     for debugging; `cargo run --release` shows the real times"))?;
    }
    say(format_args!("\n{:<40} {:>8} {:>12} {:>14}", "done", "entries", "size", "time for each"))?;

    let start = Instant::now();
    let result = visit(store, &files, ttl);
    let cleaned = clean_up(store, &files);
    if result.is_err() && ttl.is_some_and(|ttl| start.elapsed() >= ttl) {
        return Err("the files expired before the tour ended: give them a longer --ttl".into());
    }
    result.and(cleaned)?;
    say(format_args!("\nall as it should be"))
}

/// Prints a line. It is an error if nobody reads the output any more.
fn say(line: fmt::Arguments<'_>) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn visit(store: &dyn KeyValueStore, files: &BTreeMap<KeyBuf, File>, ttl: Option<Duration>) -> Result<()> {
    let ttl = ttl.map_or(Ttl::Default, Ttl::After);
    put(store, files, ttl)?;
    list(store, files)?;
    read_back(store, files)?;
    copy_and_rename(store, files)?;
    create_twice(store)?;
    expire(store)
}

fn put(store: &dyn KeyValueStore, files: &BTreeMap<KeyBuf, File>, ttl: Ttl) -> Result<()> {
    let (small, large): (Vec<_>, Vec<_>) = files.iter().partition(|(_, file)| file.length <= SMALL);
    let bytes = |files: &[(&KeyBuf, &File)]| files.iter().map(|(_, file)| file.length).sum();
    timed("put_file, one by one", large.len(), bytes(&large), || {
        large.iter().try_for_each(|(key, file)| Ok(store.put_file_with_ttl(key, &file.path, ttl)?))
    })?;
    let read = |(key, file): &(&KeyBuf, &File)| Ok((KeyBuf::clone(key), fs::read(&file.path)?, ttl));
    let entries = small.iter().map(read).collect::<Result<Vec<_>>>()?;
    timed("put_many", small.len(), bytes(&small), || Ok(store.put_many_with_ttl(entries)?))
}

fn list(store: &dyn KeyValueStore, files: &BTreeMap<KeyBuf, File>) -> Result<()> {
    if lacks(store, Capability::Listing)? {
        let refused = store.keys(PREFIX).err();
        return check(matches!(refused, Some(Error::Unsupported { .. })), || {
            format!("it returned {refused:?} and not `Unsupported`")
        });
    }
    let keys = timed("keys, by prefix", files.len(), 0, || {
        Ok(store.keys(PREFIX)?.collect::<std::result::Result<BTreeSet<_>, _>>()?)
    })?;
    check(keys.iter().eq(files.keys()), || format!("{} keys are listed, {} were stored", keys.len(), files.len()))?;
    let expected = files.keys().filter_map(|key| key.strip_prefix(PREFIX)?.split_inclusive('/').next());
    let expected = expected.map(|part| format!("{PREFIX}{part}")).collect::<BTreeSet<_>>();
    let parts = timed("prefixes, up to the next /", expected.len(), 0, || {
        Ok(store.prefixes("/", PREFIX)?.collect::<std::result::Result<BTreeSet<_>, _>>()?)
    })?;
    check(parts.iter().eq(&expected), || format!("the parts are {parts:?}, not {expected:?}"))
}

fn read_back(store: &dyn KeyValueStore, files: &BTreeMap<KeyBuf, File>) -> Result<()> {
    let bytes = files.values().map(|file| file.length).sum();
    let values = timed("get_many", files.len(), bytes, || Ok(store.get_many(files.keys())?))?;
    let mut changed = 0;
    for ((key, file), value) in files.iter().zip(values) {
        let value = value
            .ok_or_else(|| format!("{key} is absent; a store that evicts has too little memory for this folder"))?;
        if value == fs::read(&file.path)? {
            continue;
        }
        // If somebody edits a file during the tour, that is not an error of the store.
        let metadata = fs::metadata(&file.path)?;
        let same = metadata.modified().ok() == file.modified && metadata.len() == file.length;
        check(!same, || format!("{key} is not what is in {}", file.path.display()))?;
        changed += 1;
    }
    say(format_args!("  compared with the disk byte by byte; {changed} files were changed there meanwhile"))?;
    Ok(())
}

fn copy_and_rename(store: &dyn KeyValueStore, files: &BTreeMap<KeyBuf, File>) -> Result<()> {
    let Some(original) = files.keys().next() else { return Ok(()) };
    if lacks(store, Capability::Copy)? {
        return Ok(());
    }
    timed("copy", 1, 0, || Ok(store.copy(original, COPY)?))?;
    timed("rename", 1, 0, || Ok(store.rename(COPY, MOVED)?))?;
    let same = store.get(original)? == store.get(MOVED)? && store.get(COPY)?.is_none();
    check(same, || "the renamed copy has the wrong key or the wrong value".into())?;
    let deleted = timed("delete, twice", 2, 0, || Ok((store.delete(MOVED)?, store.delete(MOVED)?)))?;
    check(deleted == (true, false), || "deleting an entry twice did not return true and then false".into())
}

fn create_twice(store: &dyn KeyValueStore) -> Result<()> {
    if lacks(store, Capability::Create)? {
        return Ok(());
    }
    let created = timed("create, twice", 2, 0, || Ok((store.create(ONCE, "first")?, store.create(ONCE, "second")?)))?;
    let value = store.get(ONCE)?;
    let right = created == (true, false) && value.as_deref() == Some(b"first");
    check(right, || "the second create was not refused".into())?;
    say(format_args!("  the second was refused"))?;
    Ok(())
}

fn expire(store: &dyn KeyValueStore) -> Result<()> {
    if lacks(store, Capability::Ttls)? {
        return Ok(());
    }
    let resolution = store.capabilities().ttl_resolution();
    let ttl = Duration::from_millis(100).max(resolution);
    let start = Instant::now();
    timed("put_with_ttl", 1, 0, || Ok(store.put_with_ttl(BRIEF, "expires soon", ttl)?))?;
    let written = Instant::now();
    while store.get(BRIEF)?.is_some() {
        let late = written.elapsed() > ttl + resolution + Duration::from_secs(1);
        check(!late, || format!("an entry with a TTL of {ttl:?} has not expired"))?;
        thread::sleep(Duration::from_millis(1));
    }
    let lived = start.elapsed();
    check(lived >= ttl, || format!("an entry with a TTL of {ttl:?} expired after {lived:?}"))?;
    say(format_args!("  it had a TTL of {} ms and expired after {} ms", ttl.as_millis(), lived.as_millis()))?;
    Ok(())
}

fn clean_up(store: &dyn KeyValueStore, files: &BTreeMap<KeyBuf, File>) -> Result<()> {
    timed("delete_many", files.len(), 0, || Ok(store.delete_many(files.keys())?))?;
    let own = [COPY, MOVED, ONCE, BRIEF];
    store.delete_many(own)?;
    let left = store.get_many(files.keys().map(KeyBuf::as_key).chain(own))?.into_iter().flatten().count();
    check(left == 0, || format!("{left} entries are left after all were deleted"))
}

/// Collects the files below a folder by their keys. Returns how many items were left out: those that are neither file nor
/// folder, and folders that cannot be read.
fn walk(folder: &Path, prefix: &str, files: &mut BTreeMap<KeyBuf, File>) -> Result<usize> {
    let mut skipped = 0;
    let entries = fs::read_dir(folder).map_err(|error| format!("reading the folder {}: {error}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let (name, kind, path) = (entry.file_name(), entry.file_type()?, entry.path());
        let escaped = format!("{prefix}{}", escape(name.as_encoded_bytes()));
        if kind.is_dir() && name != "target" && name != ".git" {
            skipped += match fs::read_dir(&path) {
                Ok(_) => walk(&path, &format!("{escaped}/"), files)?,
                Err(_) => 1,
            };
        } else if kind.is_file() {
            let metadata = entry.metadata()?;
            let file = File { path, length: metadata.len(), modified: metadata.modified().ok() };
            if let Some(other) = files.insert(shorten(&escaped)?, file) {
                return Err(format!("two files have the key {escaped}, one is {}", other.path.display()).into());
            }
        } else if !kind.is_dir() {
            skipped += 1;
        }
    }
    Ok(skipped)
}

/// A name in the alphabet of keys. Any other byte, and `%` itself, becomes `%` and two digits, so that different names stay
/// different.
fn escape(name: &[u8]) -> String {
    name.iter().fold(String::new(), |mut text, &byte| {
        if byte.is_ascii_graphic() && byte != b'%' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

/// A key for a path of any length. The end of a long path is replaced by `%~`, which no escaped path contains, and a hash.
/// If two files still get the same key, `walk` reports it.
fn shorten(path: &str) -> Result<KeyBuf> {
    if path.len() <= Key::MAX_LEN {
        return Ok(KeyBuf::new(path)?);
    }
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    let begin = path.get(..Key::MAX_LEN - 18).unwrap_or(path);
    Ok(KeyBuf::new(format!("{begin}%~{:016x}", hasher.finish()))?)
}

fn lacks(store: &dyn KeyValueStore, capability: Capability) -> Result<bool> {
    let lacks = !store.capabilities().supports(capability);
    if lacks {
        say(format_args!("{:<40} {:>21}", capability.to_string(), "unsupported here"))?;
    }
    Ok(lacks)
}

/// Runs one step of the tour and prints a line about it.
#[allow(clippy::cast_precision_loss, reason = "a few digits are shown")]
fn timed<T>(what: &str, entries: usize, bytes: u64, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let result = act().map_err(|error| format!("{what}: {}", with_causes(&*error)))?;
    let each = start.elapsed().as_secs_f64() / entries.max(1) as f64;
    let each = if entries == 0 {
        String::new()
    } else {
        scaled(each, [("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)])
    };
    let size = scaled(bytes as f64, [("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0)]);
    let size = if bytes == 0 { String::new() } else { size };
    say(format_args!("{what:<40} {entries:>8} {size:>12} {each:>14}"))?;
    Ok(result)
}

/// A number in the largest of these units in which it is at least one.
fn scaled<const N: usize>(number: f64, units: [(&str, f64); N]) -> String {
    let fits = units.iter().find(|(_, unit)| number >= *unit).or(units.last());
    fits.map_or_else(String::new, |(name, unit)| format!("{:.1} {name}", number / unit))
}

fn check(right: bool, message: impl FnOnce() -> String) -> Result<()> {
    if right { Ok(()) } else { Err(message().into()) }
}

/// An error and what caused it, which [`Error`] does not repeat.
fn with_causes(error: &(dyn StdError + 'static)) -> String {
    let unknown = error.downcast_ref::<Error>().is_some_and(Error::outcome_unknown);
    let causes = std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string);
    let text = causes.collect::<Vec<_>>().join(": ");
    if unknown { format!("{text} (it may have happened)") } else { text }
}
