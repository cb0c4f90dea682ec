//! Faults of the network, at random.

use std::time::Duration;

use proptest::sample::select;
use proptest::strategy::{Strategy, Union, ValueTree};

use super::proxied::ProxiedStore;
use crate::property;
use crate::proxy::{Behaviour, Cut, Direction};
use crate::running::{NotPassed, Outcome};

/// A fault of the network. It lasts until the next one.
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
    pub(crate) fn begin(self, proxied: &ProxiedStore<'_>) -> Outcome {
        proxied.heal()?;
        match self {
            Self::None => {}
            Self::Delay => proxied.proxy.set(Behaviour::Delay(proxied.limit / 40)),
            Self::Hold => proxied.proxy.set(Behaviour::Hold),
            Self::HoldReplies => proxied.proxy.set(Behaviour::HoldReplies),
            Self::Split => proxied.proxy.set(Behaviour::Split(Duration::ZERO)),
            Self::CutNow(cut) => proxied.proxy.cut_now(cut)?,
            Self::CutRequest(cut, bytes) => {
                proxied.proxy.set(Behaviour::CutAfter { cut, of: Direction::Requests, bytes });
            }
            Self::CutReply(cut, bytes) => proxied.proxy.set(Behaviour::CutAfter { cut, of: Direction::Replies, bytes }),
            Self::TruncateRequest(bytes) => proxied.proxy.set(Behaviour::Truncate { of: Direction::Requests, bytes }),
            Self::TruncateReply(bytes) => proxied.proxy.set(Behaviour::Truncate { of: Direction::Replies, bytes }),
            Self::Garble => proxied.proxy.set(Behaviour::Garble),
            Self::Refuse => {
                proxied.proxy.refuse();
                proxied.proxy.cut_now(Cut::Reset)?;
            }
        }
        Ok(())
    }
}

/// Any of these faults.
pub(crate) fn faults() -> impl Strategy<Value = Fault> {
    let cut = || select(&[Cut::Close, Cut::Reset][..]);
    let offset = || 0..400_usize;
    Union::new_weighted(vec![
        (4, select(&[Fault::None, Fault::Delay, Fault::Split, Fault::Garble, Fault::Refuse][..]).boxed()),
        (1, select(&[Fault::Hold, Fault::HoldReplies][..]).boxed()),
        (1, cut().prop_map(Fault::CutNow).boxed()),
        (2, (cut(), offset()).prop_map(|(cut, at)| Fault::CutRequest(cut, at)).boxed()),
        (3, (cut(), offset()).prop_map(|(cut, at)| Fault::CutReply(cut, at)).boxed()),
        (1, offset().prop_map(Fault::TruncateRequest).boxed()),
        (1, offset().prop_map(Fault::TruncateReply).boxed()),
    ])
}

/// One of the [`faults`], the same one for the same seed.
pub(crate) fn fault_at_random(seed: u64) -> Outcome<Fault> {
    let mut runner = property::runner(seed, 1);
    let fault = faults().new_tree(&mut runner).map_err(NotPassed::failed)?;
    Ok(fault.current())
}
