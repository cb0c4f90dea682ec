//! Telling a caller wrongly what went wrong.

use std::io;

use kv_core::{Error, Failure, Key};

use crate::client::Scene;
use crate::connection::Broken;
use crate::faults::Fault;
use crate::wire::Op;

/// What went wrong, in a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Exhausted,
    Refused,
    Lost,
    Late,
    Nonsense,
}

impl What {
    fn of(broken: &Broken) -> Self {
        match broken {
            Broken::PoolExhausted => Self::Exhausted,
            Broken::NotConnected(cause) | Broken::Lost { cause, .. } if cause.kind() == io::ErrorKind::TimedOut => {
                Self::Late
            }
            Broken::NotConnected(_) => Self::Refused,
            Broken::Lost { .. } => Self::Lost,
            Broken::Nonsense | Broken::Refused(_) => Self::Nonsense,
        }
    }
}

/// How many characters of what the server said are shown by a store that shows the beginning.
const SHOWN: usize = 66;

/// What a caller is told by a store with this fault.
pub(super) fn explain(fault: Fault, broken: Broken, op: Op, scene: &Scene<'_>) -> Error {
    let what = What::of(&broken);
    let cause = cause_of(&broken);
    let certain = Scene { writes: false, ..*scene };
    let scene = match (fault, what) {
        (Fault::LostPutIsCertain, What::Lost)
        | (Fault::LatePutIsCertain, What::Late)
        | (Fault::GarbledPutIsCertain, What::Nonsense)
            if op == Op::Write =>
        {
            certain
        }
        (Fault::LostCreateIsCertain, What::Lost) if op == Op::Create => certain,
        (Fault::LostTakeIsCertain, What::Lost) if op == Op::Take => certain,
        (Fault::ReadInDoubt, _) => Scene { writes: true, ..*scene },
        (Fault::ErrorWithoutKey, _) => Scene { key: None, ..*scene },
        (Fault::ErrorOfAnotherKey, _) => Scene { key: scene.key.map(|_| Key::from_static("another")), ..*scene },
        (Fault::ErrorWithoutStore, _) => Scene { store: "", ..*scene },
        (Fault::ErrorOfAnotherStore, _) => Scene { store: "TcpStream", ..*scene },
        _ => *scene,
    };
    let error = broken.into_error(&scene);
    match (fault, what, error) {
        (Fault::RefusedPutInDoubt, What::Refused, Error::Unavailable(failure)) if op.writes() => {
            Error::Unavailable(failure.with_unknown_outcome())
        }
        (Fault::RefusedIsBackend, What::Refused, Error::Unavailable(failure))
        | (Fault::LossIsBackend, What::Lost, Error::Unavailable(failure))
        | (Fault::TimeoutIsBackend, What::Late, Error::Timeout(failure)) => Error::Backend(failure),
        (Fault::RefusedIsTimeout, What::Refused, Error::Unavailable(failure))
        | (Fault::LossIsTimeout, What::Lost, Error::Unavailable(failure)) => Error::Timeout(failure),
        (Fault::TimeoutIsUnavailable, What::Late, Error::Timeout(failure)) => Error::Unavailable(failure),
        (Fault::NonsenseIsInvalidKey, What::Nonsense, error) => Key::new("").err().map_or(error, Error::from),
        (Fault::RefusalIsShown, What::Nonsense, Error::Backend(failure)) => Error::Backend(failure.caused_by(cause)),
        (Fault::RefusalIsShownInPart, What::Nonsense, Error::Backend(failure)) => {
            Error::Backend(failure.caused_by(cause.chars().take(SHOWN).collect::<String>()))
        }
        (Fault::RefusalIsShownInWords, What::Nonsense, error) => {
            let message = format!("the server refused: {:?}", cause.split_whitespace().collect::<Vec<_>>());
            let failure = Failure::new(scene.store, message).with_unknown_outcome();
            if error.key().is_some() {
                Error::Backend(failure.at(scene.key.expect("the error names it")))
            } else {
                error
            }
        }
        (Fault::ErrorRepeatsCause, What::Refused | What::Lost, error) => {
            let message = format!("the server could not be asked: {cause}");
            let failure = Failure::new(scene.store, message).caused_by(cause);
            let failure = if let Some(key) = scene.key { failure.at(key) } else { failure };
            Error::Unavailable(if error.outcome_unknown() { failure.with_unknown_outcome() } else { failure })
        }
        (_, _, error) => error,
    }
}

/// What the operating system said.
fn cause_of(broken: &Broken) -> String {
    match broken {
        Broken::NotConnected(cause) | Broken::Lost { cause, .. } => cause.to_string(),
        Broken::PoolExhausted | Broken::Nonsense => String::new(),
        Broken::Refused(text) => text.clone(),
    }
}
