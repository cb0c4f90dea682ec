//! What the checks of histories find by themselves, and what they accept of a store that declares to be weaker.

use kv_conformance::{Report, Verdict, Weakness};
use libtest_mimic::{Failed, Trial};

use crate::faults::Fault;
use crate::mutant::Mutant;

/// What is in the names of the checks of histories, and how many they are.
const HISTORIES: &str = "_histories_of_";
const COUNT: usize = 5;

/// In how many runs a store has to be found that is wrong by chance, when threads meet.
const RUNS: u32 = 10;

/// Wrong stores that they have to reject, whatever the other checks find: in one of [`RUNS`] runs, and in each of as many as `MUTANTS_ROUNDS`
/// says if that is set.
const FOUND: &[Fault] = &[
    Fault::CreateRace,
    Fault::DeleteRace,
    Fault::DeleteLater,
    Fault::LostUpdate,
    Fault::LostWrite,
    Fault::PutFlickers,
    Fault::ReplyOfAnother,
    Fault::StaleCache,
    Fault::StaleRead,
    Fault::EvictsAtRandom,
    Fault::CreateVersionedRace,
    Fault::CreateVersionedTellsLater,
    Fault::IncrementRace,
    Fault::IncrementTellsLater,
    Fault::IncrementKeepsLarger,
];

/// Stores that are right if they are declared to be weaker in this way.
const WEAKER: &[(Fault, &[Weakness])] = &[
    (Fault::EvictsAtRandom, &[Weakness::MayEvict]),
    (Fault::EvictsAtRandom, &[Weakness::MayEvict, Weakness::StaleReads]),
    (Fault::StaleCache, &[Weakness::StaleReads]),
    (Fault::StaleRead, &[Weakness::StaleReads]),
    (Fault::StaleRead, &[Weakness::MayEvict, Weakness::StaleReads]),
];

/// Stores that are wrong, whatever is declared in this way.
const WRONG_ALL_THE_SAME: &[(Fault, &[Weakness])] = &[
    (Fault::CreateRace, &[Weakness::StaleReads]),
    (Fault::DeleteRace, &[Weakness::MayEvict, Weakness::StaleReads]),
    (Fault::EvictsAtRandom, &[Weakness::StaleReads]),
    (Fault::LostUpdate, &[Weakness::StaleReads]),
    (Fault::StaleCache, &[Weakness::MayEvict]),
    (Fault::StaleRead, &[Weakness::MayEvict]),
];

/// The checks of histories that find a create which is a get and then a put, and what they say then.
const NOT_ATOMIC: &[(&str, &str)] = &[
    ("p1_histories_of_create_and_delete_are_linearizable", "no order of these operations explains"),
    ("p1_no_increment_under_a_lock_is_lost", "\nexpected: 0\n"),
    ("p1_creates_minus_deletes_are_what_is_left", " is left"),
];

/// A create that is not atomic breaks P4, although it is a check named after P1 that finds it: one of some runs says so. Which clauses it
/// names depends on the operations that met: one that only shows what a create had done before breaks P1 or P3, as far as anybody can see.
fn blames_p4(check: &str, says: &str) -> Result<(), Failed> {
    let suite = Mutant { fault: Fault::CreateRace, of: None }.suite();
    let mut others = format!("{check} has not blamed P4 in {RUNS} runs");
    for _ in 0..RUNS {
        let report = suite.run_matching(check);
        let Some(failure) = report.failures().next() else { continue };
        let broken = failure.failure.as_ref().map(|failure| failure.broken.clone()).unwrap_or_default();
        let Verdict::Failed(message) = &failure.verdict else { continue };
        let counted = !message.contains("0 entry") && !message.contains("1 entries");
        let is_named = broken.iter().any(|clause| clause == "P4") && message.contains("clause P4: ");
        if is_named && message.contains(says) && counted {
            return Ok(());
        }
        others.push('\n');
        others.push_str(&report.to_string());
    }
    Err(others.into())
}

pub(crate) fn trials() -> Vec<Trial> {
    let name = |fault: Fault, weaknesses: &[Weakness]| format!("{fault:?}/{weaknesses:?}");
    let found = FOUND.iter().map(|&fault| Trial::test(format!("histories/find/{fault:?}"), move || find(fault, &[])));
    let found_all_the_same = WRONG_ALL_THE_SAME.iter().map(move |&(fault, weaknesses)| {
        Trial::test(format!("histories/find/{}", name(fault, weaknesses)), move || find(fault, weaknesses))
    });
    let weaker = WEAKER.iter().map(move |&(fault, weaknesses)| {
        Trial::test(format!("histories/accept/{}", name(fault, weaknesses)), move || {
            repeat(|| accept(fault, weaknesses))
        })
    });
    let reason = Trial::test("histories/a_weakness_needs_a_reason", need_reason);
    let creates = NOT_ATOMIC.iter().map(|&(check, says)| {
        Trial::test(format!("histories/a_create_that_is_not_atomic_breaks_p4/{check}"), move || blames_p4(check, says))
    });
    found.chain(found_all_the_same).chain(weaker).chain([reason]).chain(creates).collect()
}

/// How often `MUTANTS_ROUNDS` says, if it is set.
fn rounds() -> Result<Option<u32>, Failed> {
    Ok(std::env::var("MUTANTS_ROUNDS").ok().map(|rounds| rounds.parse()).transpose()?)
}

fn repeat(round: impl Fn() -> Result<(), Failed>) -> Result<(), Failed> {
    let rounds = rounds()?.unwrap_or(1);
    let failed = (0..rounds).filter_map(|_| round().err()).collect::<Vec<_>>();
    match failed.first() {
        None => Ok(()),
        Some(first) => Err(format!("{} of {rounds} times: {}", failed.len(), first.message().unwrap_or("")).into()),
    }
}

fn run(fault: Fault, weaknesses: &[Weakness], reason: &str) -> Report {
    let suite = Mutant { fault, of: None }.suite();
    let suite = weaknesses.iter().fold(suite, |suite, &weakness| suite.weaker(weakness, reason));
    suite.run_matching(HISTORIES)
}

fn find(fault: Fault, weaknesses: &[Weakness]) -> Result<(), Failed> {
    let rejects = || {
        let report = run(fault, weaknesses, "to see what is found all the same");
        if std::env::var_os("MUTANTS_VERBOSE").is_some() {
            println!("{report}");
        }
        !report.passed()
    };
    match rounds()? {
        Some(rounds) => {
            let passed = (0..rounds).filter(|_| !rejects()).count();
            if passed == 0 { Ok(()) } else { Err(format!("{passed} of {rounds} times it is not rejected").into()) }
        }
        None if (0..RUNS).any(|_| rejects()) => Ok(()),
        None => Err(format!("the checks of histories do not reject this store in {RUNS} runs").into()),
    }
}

fn accept(fault: Fault, weaknesses: &[Weakness]) -> Result<(), Failed> {
    let report = run(fault, weaknesses, "it is what this one does");
    let all_ran =
        report.results.len() == COUNT && report.results.iter().all(|result| result.verdict == Verdict::Passed);
    if all_ran { Ok(()) } else { Err(report.to_string().into()) }
}

fn need_reason() -> Result<(), Failed> {
    let report = run(Fault::EvictsAtRandom, &[Weakness::MayEvict], " ");
    let complains = |message: &str| message.contains("expected: a reason that a reader");
    let all = report.results.iter().all(|result| matches!(&result.verdict, Verdict::Failed(m) if complains(m)));
    if all && !report.results.is_empty() { Ok(()) } else { Err(report.to_string().into()) }
}
