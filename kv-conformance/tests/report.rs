//! A run writes what it has found: this program runs itself as a test target whose store is wrong, and reads the reports; and
//! `kv-matrix` makes a table of them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test says so where it cannot go on")]

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Output};
use std::sync::LazyLock;

use kv_conformance::{CheckResult, FailureDetails, Fixture, Report, Suite, Verdict};
use kv_core::{Bytes, Capabilities, Capability, Key, KeyValueStore, Ttl, Value};
use kv_memory::MemoryStore;
use libtest_mimic::{Arguments, Trial};

/// Set where this program is to be the test target.
const AS_TARGET: &str = "KV_CONFORMANCE_TEST_OF_REPORTS";

const WRONG: &str = "g1_an_absent_key_reads_as_none";

/// A run of all checks of the wrong store.
static WHOLE: LazyLock<Report> = LazyLock::new(|| wrong().run());

/// A store that makes up values, and cannot do much else. It has a password, of which it tells.
#[derive(Debug, Default)]
struct MakesUp(MemoryStore);

impl KeyValueStore for MakesUp {
    fn name(&self) -> &'static str {
        "store://user:hunter2@host:1"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::builder().with_all(&[Capability::Contains, Capability::Copy]).build()
    }

    fn read(&self, key: Key<'_>) -> kv_core::Result<Option<Bytes>> {
        Ok(Some(self.0.read(key)?.unwrap_or_else(|| "made up by store://user:hunter2@host:1".into())))
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, _ttl: Ttl) -> kv_core::Result<()> {
        self.0.write(key, value, Ttl::Forever)
    }

    fn remove(&self, key: Key<'_>) -> kv_core::Result<bool> {
        self.0.remove(key)
    }
}

/// What none of the stores of these tests can do.
const UPDATES: [Capability; 4] =
    [Capability::Versions, Capability::Take, Capability::TouchingReads, Capability::Counters];

fn wrong() -> Suite {
    [Capability::Listing, Capability::Create, Capability::Ttls]
        .into_iter()
        .chain(UPDATES)
        .fold(Suite::new("wrong", || Ok(Fixture::new(MakesUp::default()))), |suite, of| suite.opt_out(of, "too hard"))
        .server("host 1.2")
}

fn memory() -> Suite {
    Suite::new("memory", || Ok(Fixture::new(MemoryStore::new())))
}

fn broken() -> Suite {
    Suite::new("broken", || Err("no server at port 7".into()))
}

fn target() -> ExitCode {
    kv_conformance::main([memory(), wrong(), suite_of(Wrong::Panics), broken()])
}

/// Runs the target with reports to a folder.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.env(AS_TARGET, "1").env("KV_CONFORMANCE_REPORT", folder).args(arguments).output().unwrap()
}

fn read(folder: &Path, suite: &str) -> Report {
    let json = fs::read_to_string(folder.join(format!("kv-conformance.{suite}.json"))).unwrap();
    Report::from_json(&json).unwrap()
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names = names.collect::<Vec<_>>();
    names.sort();
    names
}

fn kv_matrix(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kv-matrix")).args(arguments).output().unwrap()
}

fn a_failing_store_has_its_failures_in_the_report() {
    let folder = tempfile::tempdir().unwrap();
    // All of this suite, but not of the other.
    let output = run(folder.path(), &["wrong::"]);
    assert_eq!(output.status.code(), Some(101));
    assert_eq!(files(folder.path()), ["kv-conformance.wrong.json", "kv-conformance.wrong.md"]);
    let report = read(folder.path(), "wrong");
    assert!(!report.passed() && !report.is_partial());
    assert_eq!(report.results.iter().map(|result| result.name.clone()).collect::<Vec<_>>(), wrong().check_names());
    let failed = report.results.iter().find(|result| result.name == WRONG).unwrap();
    let Verdict::Failed(message) = &failed.verdict else { panic!("{failed:?}") };
    assert!(message.contains("\nexpected: None\ngot:      Some(b\"made up by store://"), "{message}");
    assert_eq!(failed.clauses, ["G1"]);
    let markdown = fs::read_to_string(folder.path().join("kv-conformance.wrong.md")).unwrap();
    assert!(markdown.contains(&format!("\n### `{WRONG}`\n\n    an absent key reads as none\n")), "{markdown}");
    // What is printed is what the report has, but for the password.
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains(&message.replace('…', "user:hunter2")), "{printed}");
    let ignored = report.results.iter().filter(|result| matches!(result.verdict, Verdict::Ignored(_))).count();
    assert!(printed.contains(&format!(" {} failed; {ignored} ignored;", report.failures().count())), "{printed}");
}

fn a_report_says_what_was_checked() {
    let report = wrong().run_matching(WRONG);
    let store = report.store.as_ref().unwrap();
    assert_eq!(store.name, "store://…@host:1");
    assert_eq!((store.capabilities["listing"], store.capabilities["copy and rename"]), (false, true));
    assert_eq!((store.longest_ttl, store.largest_value), (None, None));
    assert_eq!(report.server.as_deref(), Some("host 1.2"));
    assert_eq!(report.package.as_ref().unwrap().name, "kv-conformance");
    assert_eq!(report.contract, kv_core::contract::VERSION);
    assert_eq!(report.opt_outs["create"], "too hard");
    assert_eq!(report.opt_outs["touch"], "too hard");
}

/// What the store of a test does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// It panics when it removes something.
    Panics,
    /// It says that it can touch, and cannot.
    ClaimsTouch,
    /// It says that it cannot touch, and the suite does not know.
    LacksTouch,
}

#[derive(Debug)]
struct WrongStore(MemoryStore, Wrong);

impl KeyValueStore for WrongStore {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        let few = Capabilities::builder().with_all(&[Capability::Contains, Capability::Ttls]);
        let few = if self.1 == Wrong::LacksTouch { few } else { few.with(Capability::Touch) };
        few.longest_ttl(self.0.capabilities().longest_ttl()).build()
    }

    fn read(&self, key: Key<'_>) -> kv_core::Result<Option<Bytes>> {
        self.0.read(key)
    }

    fn write(&self, key: Key<'_>, value: Value<'_>, ttl: Ttl) -> kv_core::Result<()> {
        self.0.write(key, value, ttl)
    }

    fn remove(&self, key: Key<'_>) -> kv_core::Result<bool> {
        assert!(self.1 != Wrong::Panics, "on removal");
        self.0.remove(key)
    }

    fn set_expiry(&self, key: Key<'_>, ttl: Ttl) -> kv_core::Result<bool> {
        if self.1 == Wrong::Panics {
            return self.0.set_expiry(key, ttl);
        }
        Err(kv_core::Error::unsupported("memory", Capability::Touch))
    }
}

fn suite_of(wrong: Wrong) -> Suite {
    [Capability::Listing, Capability::Create, Capability::Copy, Capability::TtlReading]
        .into_iter()
        .chain(UPDATES)
        .fold(Suite::new("of", move || Ok(Fixture::new(WrongStore(MemoryStore::new(), wrong)))), |suite, of| {
            suite.opt_out(of, "too hard")
        })
}

/// What comes of the checks of one clause or module.
fn failure_of(wrong: Wrong, check: &str) -> (String, FailureDetails) {
    let result = suite_of(wrong).run_matching(check).results.into_iter().find(|result| result.name == check).unwrap();
    let Verdict::Failed(message) = result.verdict else { panic!("{result:?}") };
    (message, result.failure.unwrap())
}

fn a_panic_of_the_store_breaks_e4_and_can_be_traced() {
    let (message, details) = failure_of(Wrong::Panics, "d1_deleting_touches_nothing_else");
    assert_eq!(details.broken, ["E4"]);
    assert_eq!(details.got.as_deref(), Some("on removal"));
    let place = details.panicked_at.unwrap();
    assert!(place.starts_with(file!()) && message.contains(&format!("\n(panicked at {place})\n")), "{message}");
    assert!(message.starts_with("deleting touches nothing else\nclause E4: "), "{message}");
    assert!(
        message.contains("\nthe store panicked in delete(") && message.contains(") -> panicked\nagain: "),
        "{message}"
    );
    // In the threads of a race, too.
    let (message, details) = failure_of(Wrong::Panics, "d1_of_many_deleters_one_removes_the_entry");
    assert_eq!((details.broken, details.panicked_at.is_some()), (vec!["E4".to_owned()], true), "{message}");
    // Where it is random input, too.
    let (message, details) = failure_of(Wrong::Panics, "p1_random_operations_do_what_a_plain_map_does");
    assert_eq!((details.broken, details.panicked_at.is_some()), (vec!["E4".to_owned()], true), "{message}");
    assert!(
        message.contains("\nstep 1: the store panicked in ") && message.contains("\nsimplest: \n   1  "),
        "{message}"
    );
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["of::d1_"]);
    let (printed, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(printed.contains("\n(panicked at ") && !error.contains("panicked"), "{printed}{error}");
}

fn what_is_not_supported_breaks_o1_and_nothing_else() {
    let (message, details) = failure_of(Wrong::ClaimsTouch, "t6_touch_of_an_absent_key_does_nothing");
    assert_eq!(details.broken, ["O1"]);
    assert!(message.starts_with("touch of an absent key does nothing\nclause O1: "), "{message}");
}

fn what_is_lacking_and_not_opted_out_of_is_told_once() {
    let report = suite_of(Wrong::LacksTouch).run();
    let failures = report.failures().collect::<Vec<_>>();
    let [failure] = &*failures else { panic!("{report}") };
    assert_eq!(failure.name, "o1_capabilities_are_those_that_were_not_opted_out_of");
    let Verdict::Failed(message) = &failure.verdict else { panic!("{failure:?}") };
    assert!(message.contains("\n  touch: .opt_out(Capability::Touch, \"why\") in the suite\n"), "{message}");
    let reason = format!("capabilities() lacks touch, which is not opted out of: see {}", failure.name);
    assert!(report.results.iter().any(|result| result.verdict == Verdict::Ignored(reason.clone())), "{report}");
}

fn an_opt_out_of_what_works_says_what_to_do() {
    let suite = Suite::new("of", || Ok(Fixture::new(MemoryStore::new()))).opt_out(Capability::Listing, "too hard");
    let report = suite.run_matching("o3_opt_out_of_listing");
    let [CheckResult { verdict: Verdict::Failed(message), .. }] = &*report.results else { panic!("{report}") };
    let advice = "drop `.opt_out(Listing, …)`, or have `capabilities()` not name it by `.with(Listing)`";
    assert!(message.contains(advice), "{message}");
}

fn no_password_is_in_a_report() {
    let folder = tempfile::tempdir().unwrap();
    WHOLE.write_to(folder.path()).unwrap();
    for file in files(folder.path()) {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.contains("store://…@host:1") && !text.contains("hunter2"), "{text}");
    }
}

fn a_filter_makes_a_report_partial() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["memory::g1_"]).status.code(), Some(0));
    let report = read(folder.path(), "memory");
    assert!(report.is_partial());
    let run = report.results.iter().map(|result| &result.name).collect::<Vec<_>>();
    let all = memory().check_names();
    assert!(run.iter().all(|name| name.starts_with("g1_")) && !run.is_empty(), "{run:?}");
    let others = all.iter().filter(|name| !name.starts_with("g1_"));
    assert!(report.left_out.iter().eq(others), "{:?}", report.left_out);
    let column = format!("memory={}", folder.path().join("kv-conformance.memory.json").display());
    let output = kv_matrix(&["README.md", &column]);
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("kv-matrix: the report of memory is partial"), "{error}");
}

fn several_filters_run_what_each_of_them_selects() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["memory::g1_", "memory::d1_deleting_touches_nothing_else"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let names = read(folder.path(), "memory").results.into_iter().map(|result| result.name).collect::<Vec<_>>();
    let is_one = |name: &String| name.starts_with("g1_") || name == "d1_deleting_touches_nothing_else";
    let wanted = memory().check_names().into_iter().filter(is_one).collect::<Vec<_>>();
    assert!(wanted.len() > 1 && names == wanted, "{names:?}");
    assert!(printed.contains("\ntest result: ok. ") && files(folder.path()).len() == 2, "{printed}");
    // With other arguments between them.
    let listed = run(folder.path(), &["--list", "memory::g1_", "--skip", "absent", "memory::d1_"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    let is_listed = |name: &str| listed.lines().any(|line| line.starts_with(&format!("memory::{name}")));
    assert!(is_listed("d1_deleting_touches_nothing_else") && !is_listed("g1_an_absent"), "{listed}");
    assert!(!listed.contains("memory::p1_") && !listed.contains("wrong::"), "{listed}");
}

/// A fixture that does not hold fails the run, whichever checks were to run, and says so.
fn a_broken_fixture_fails_whatever_is_selected() {
    const FIXTURE: &str = "fixture_is_fresh_and_its_parts_belong_together";
    for filters in [&["broken::g1_"][..], &["broken::g1_", "broken::d1_"], &["broken::fixture_"], &["broken::"]] {
        let folder = tempfile::tempdir().unwrap();
        let output = run(folder.path(), filters);
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(101), "{filters:?}: {printed}");
        let is_told = printed.contains("the fixture failed: no server at port 7") && printed.contains(FIXTURE);
        let is_result = printed.contains("\ntest result: FAILED. ") && !printed.contains("test result: ok");
        assert!(is_told && is_result && printed.contains(" 1 failed;"), "{filters:?}: {printed}");
        let failures = read(folder.path(), "broken").failures().map(|result| result.name.clone()).collect::<Vec<_>>();
        assert_eq!(failures, [FIXTURE], "{filters:?}");
    }
}

fn nothing_is_written_where_nothing_was_run() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["--list"]).status.code(), Some(0));
    assert_eq!(run(folder.path(), &["no such check"]).status.code(), Some(0));
    assert_eq!(files(folder.path()), [""; 0]);
}

fn a_report_that_cannot_be_written_fails_the_run() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let output = run(file.path(), &["memory::g1_"]);
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.starts_with("error: the report cannot be written to "), "{error}");
}

fn the_matrix_is_written_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    WHOLE.write_to(folder.path()).unwrap();
    let readme = folder.path().join("README.md");
    let readme = readme.to_str().unwrap();
    let text = "# Title\n<!-- kv-conformance matrix -->\nold\n<!-- end of kv-conformance matrix -->\nend\n";
    fs::write(readme, text).unwrap();
    let column = format!("a store={}", folder.path().join("kv-conformance.wrong.json").display());

    let different = kv_matrix(&["--check", readme, &column]);
    assert_eq!(different.status.code(), Some(1));
    let shown = String::from_utf8(different.stdout).unwrap();
    assert!(shown.contains("\n- old\n+ \n+ | | | a store |\n") && !shown.contains("Title"), "{shown}");
    assert_eq!(fs::read_to_string(readme).unwrap(), text);

    assert_eq!(kv_matrix(&[readme, &column]).status.code(), Some(0));
    let written = fs::read_to_string(readme).unwrap();
    assert!(written.contains("| Capabilities | listing | –¹ |\n"), "{written}");
    assert!(written.contains(&format!(". failed: `{WRONG}`")), "{written}");
    assert_eq!(kv_matrix(&["--check", readme, &column]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(readme).unwrap(), written);

    fs::write(readme, "# Title\n").unwrap();
    assert_eq!(kv_matrix(&[readme, &column]).status.code(), Some(2));
    assert_eq!(kv_matrix(&[readme]).status.code(), Some(2));
}

fn the_table_of_servers_is_written_and_compared() {
    let folder = tempfile::tempdir().unwrap();
    WHOLE.write_to(folder.path()).unwrap();
    let readme = folder.path().join("README.md");
    let readme = readme.to_str().unwrap();
    let report = folder.path().join("kv-conformance.wrong.json");
    let report = report.to_str().unwrap();
    let other = "| host 1.1 | wrong | the whole contract |\n";
    let head = "| server | suites | result |\n|---|---|---|\n";
    let text = format!("<!-- kv-conformance servers -->\n\n{head}{other}\n<!-- end of kv-conformance servers -->\n");
    fs::write(readme, &text).unwrap();

    let broken = kv_matrix(&["--servers", "--check", readme, report]);
    assert_eq!(broken.status.code(), Some(1));
    let shown = String::from_utf8(broken.stdout).unwrap();
    assert!(shown.contains("host 1.2, wrong: breaks ") && shown.contains("G1"), "{shown}");
    assert_eq!(fs::read_to_string(readme).unwrap(), text);

    assert_eq!(kv_matrix(&["--servers", readme, report]).status.code(), Some(0));
    let written = fs::read_to_string(readme).unwrap();
    assert!(written.contains(&format!("{other}| host 1.2 | wrong | breaks ")), "{written}");
    assert_eq!(kv_matrix(&["--servers", "--check", readme, report]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(readme).unwrap(), written);
    assert_eq!(kv_matrix(&["--servers", readme]).status.code(), Some(2));
}

fn main() -> ExitCode {
    if env::var_os(AS_TARGET).is_some() {
        return target();
    }
    let tests: [(_, fn()); 14] = [
        ("a_failing_store_has_its_failures_in_the_report", a_failing_store_has_its_failures_in_the_report),
        ("a_report_says_what_was_checked", a_report_says_what_was_checked),
        ("a_panic_of_the_store_breaks_e4_and_can_be_traced", a_panic_of_the_store_breaks_e4_and_can_be_traced),
        ("what_is_not_supported_breaks_o1_and_nothing_else", what_is_not_supported_breaks_o1_and_nothing_else),
        ("what_is_lacking_and_not_opted_out_of_is_told_once", what_is_lacking_and_not_opted_out_of_is_told_once),
        ("an_opt_out_of_what_works_says_what_to_do", an_opt_out_of_what_works_says_what_to_do),
        ("no_password_is_in_a_report", no_password_is_in_a_report),
        ("a_filter_makes_a_report_partial", a_filter_makes_a_report_partial),
        ("several_filters_run_what_each_of_them_selects", several_filters_run_what_each_of_them_selects),
        ("a_broken_fixture_fails_whatever_is_selected", a_broken_fixture_fails_whatever_is_selected),
        ("nothing_is_written_where_nothing_was_run", nothing_is_written_where_nothing_was_run),
        ("a_report_that_cannot_be_written_fails_the_run", a_report_that_cannot_be_written_fails_the_run),
        ("the_matrix_is_written_and_compared", the_matrix_is_written_and_compared),
        ("the_table_of_servers_is_written_and_compared", the_table_of_servers_is_written_and_compared),
    ];
    let trials = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.into()).exit_code()
}
