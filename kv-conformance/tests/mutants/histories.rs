//! What the checks of histories find by themselves, and what they accept of a store that declares to be weaker.

use kv_conformance::{Report, Verdict, Weakness};
use libtest_mimic::{Failed, Trial};

use crate::Mutant;
use crate::faults::Fault;

/// How the names of the checks of histories begin.
const HISTORIES: &str = "p1_histories_of_";

/// Wrong stores that they have to reject, whatever the other checks find. With how often of that `MUTANTS_ROUNDS` says; once
/// by default.
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

pub(crate) fn trials() -> Vec<Trial> {
    let name = |fault: Fault, weaknesses: &[Weakness]| format!("{fault:?}/{weaknesses:?}");
    let found = FOUND
        .iter()
        .map(|&fault| Trial::test(format!("histories/find/{fault:?}"), move || repeat(|| find(fault, &[]))));
    let found_all_the_same = WRONG_ALL_THE_SAME.iter().map(move |&(fault, weaknesses)| {
        Trial::test(format!("histories/find/{}", name(fault, weaknesses)), move || repeat(|| find(fault, weaknesses)))
    });
    let weaker = WEAKER.iter().map(move |&(fault, weaknesses)| {
        Trial::test(format!("histories/accept/{}", name(fault, weaknesses)), move || {
            repeat(|| accept(fault, weaknesses))
        })
    });
    let reason = Trial::test("histories/a_weakness_needs_a_reason", need_reason);
    found.chain(found_all_the_same).chain(weaker).chain([reason]).collect()
}

fn repeat(round: impl Fn() -> Result<(), Failed>) -> Result<(), Failed> {
    let rounds = std::env::var("MUTANTS_ROUNDS").map_or(Ok(1), |rounds| rounds.parse::<u32>())?;
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
    let report = run(fault, weaknesses, "to see what is found all the same");
    if std::env::var_os("MUTANTS_VERBOSE").is_some() {
        println!("{report}");
    }
    if report.passed() { Err("the checks of histories do not reject this store".into()) } else { Ok(()) }
}

fn accept(fault: Fault, weaknesses: &[Weakness]) -> Result<(), Failed> {
    let report = run(fault, weaknesses, "it is what this one does");
    let all_ran = report.results.len() == 2 && report.results.iter().all(|result| result.verdict == Verdict::Passed);
    if all_ran { Ok(()) } else { Err(report.to_string().into()) }
}

fn need_reason() -> Result<(), Failed> {
    let report = run(Fault::EvictsAtRandom, &[Weakness::MayEvict], " ");
    let complains = |message: &str| message.contains("expected: a reason that a reader");
    let all = report.results.iter().all(|result| matches!(&result.verdict, Verdict::Failed(m) if complains(m)));
    if all && !report.results.is_empty() { Ok(()) } else { Err(report.to_string().into()) }
}
