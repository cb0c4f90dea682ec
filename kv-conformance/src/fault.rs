//! What networks do, at random.

use std::time::Duration;

use proptest::sample::select;
use proptest::strategy::{Strategy, Union, ValueTree};

use crate::failure::{NotPassed, Outcome};
use crate::property;
use crate::proxy::{Behaviour, Cut, Direction};
use crate::rig::Rig;

/// What is done to the network, until something else is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    None,
    Delay,
    Hold,
    HoldReplies,
    Split,
    CutNow(Cut),
    CutRequest(Cut, usize),
    CutReply(Cut, usize),
    TruncateRequest(usize),
    TruncateReply(usize),
    Garble,
    Refuse,
}

impl Fault {
    pub(crate) fn begin(self, rig: &Rig<'_>) -> Outcome {
        rig.heal()?;
        match self {
            Self::None => {}
            Self::Delay => rig.proxy.set(Behaviour::Delay(rig.limit / 40)),
            Self::Hold => rig.proxy.set(Behaviour::Hold),
            Self::HoldReplies => rig.proxy.set(Behaviour::HoldReplies),
            Self::Split => rig.proxy.set(Behaviour::Split(Duration::ZERO)),
            Self::CutNow(cut) => rig.proxy.cut_now(cut)?,
            Self::CutRequest(cut, bytes) => rig.proxy.set(Behaviour::CutAfter { cut, of: Direction::Requests, bytes }),
            Self::CutReply(cut, bytes) => rig.proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes }),
            Self::TruncateRequest(bytes) => rig.proxy.set(Behaviour::Truncate { of: Direction::Requests, bytes }),
            Self::TruncateReply(bytes) => rig.proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes }),
            Self::Garble => rig.proxy.set(Behaviour::Garble),
            Self::Refuse => {
                rig.proxy.refuse();
                rig.proxy.cut_now(Cut::Reset)?;
            }
        }
        Ok(())
    }
}

/// Any of them.
pub(crate) fn faults() -> impl Strategy<Value = Fault> {
    let cut = || select(&[Cut::Close, Cut::Reset][..]);
    let place = || 0..400_usize;
    Union::new_weighted(vec![
        (4, select(&[Fault::None, Fault::Delay, Fault::Split, Fault::Garble, Fault::Refuse][..]).boxed()),
        (1, select(&[Fault::Hold, Fault::HoldReplies][..]).boxed()),
        (1, cut().prop_map(Fault::CutNow).boxed()),
        (2, (cut(), place()).prop_map(|(cut, at)| Fault::CutRequest(cut, at)).boxed()),
        (3, (cut(), place()).prop_map(|(cut, at)| Fault::CutReply(cut, at)).boxed()),
        (1, place().prop_map(Fault::TruncateRequest).boxed()),
        (1, place().prop_map(Fault::TruncateReply).boxed()),
    ])
}

/// One of the [`faults`], the same one for the same seed.
pub(crate) fn fault_at_random(seed: u64) -> Outcome<Fault> {
    let mut runner = property::runner(seed, 1);
    let fault = faults().new_tree(&mut runner).map_err(NotPassed::failed)?;
    Ok(fault.current())
}
