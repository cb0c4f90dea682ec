//! What is done to the network while a call is under way.

use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Just, Strategy};

use super::player::Player;
use crate::proxy::{Behaviour, Cut, Direction};
use crate::running::Outcome;

/// What is done to the network. Places are percents of the bytes of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disturbance {
    Cut {
        cut: Cut,
        of: Direction,
        percent: usize,
        refuses: bool,
    },
    Silence {
        of: Direction,
        percent: usize,
    },
    /// One of the first replies makes no sense.
    Garble {
        after: usize,
    },
    HoldReplies,
    Delay,
    /// New connections are refused, and those that there are cut.
    Refuse,
    /// All connections are cut while they are idle.
    CutIdle(Cut),
}

/// How a disturbance ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// What was held back comes, and no connection is cut.
    Pass,
    /// All connections are cut, and with them what was held back.
    Swept,
    /// After two more calls.
    Later,
}

/// Which disturbances: where in a call is random.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    what: What,
    from: usize,
    to: usize,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Cut(Direction),
    CutAndRefuse(Direction),
    Silence(Direction),
    Garble(usize),
    HoldReplies,
    Delay,
    Refuse,
    CutIdle,
}

/// The beginning, the middle and the end of a call.
const PARTS: [(usize, usize); 3] = [(0, 25), (35, 70), (75, 99)];

impl Kind {
    /// The disturbances of a call that may have several chunks or pages: in each part of it.
    pub(super) fn of_several_parts() -> Vec<Self> {
        let mut all = Vec::new();
        for (from, to) in PARTS {
            for what in [
                What::Cut(Direction::Requests),
                What::Cut(Direction::Replies),
                What::Silence(Direction::Requests),
                What::Silence(Direction::Replies),
            ] {
                all.push(Self { what, from, to });
            }
        }
        let (from, to) = (40, 99);
        all.push(Self { what: What::CutAndRefuse(Direction::Replies), from, to });
        all.push(Self { what: What::CutAndRefuse(Direction::Requests), from, to });
        all.extend([What::Garble(0), What::Garble(1), What::Garble(2)].map(|what| Self { what, from, to }));
        all.extend([What::HoldReplies, What::Refuse].map(|what| Self { what, from, to }));
        all
    }

    /// Those of a call that has one exchange, or a few.
    pub(super) fn of_one_part() -> Vec<Self> {
        let (from, to) = (0, 99);
        let all = [
            What::Cut(Direction::Requests),
            What::Cut(Direction::Replies),
            What::Silence(Direction::Requests),
            What::Silence(Direction::Replies),
            What::Garble(0),
            What::Refuse,
            What::CutIdle,
            What::Delay,
        ];
        all.map(|what| Self { what, from, to }).to_vec()
    }

    /// Those of the longest batches: in what may be their last chunk.
    pub(super) fn of_last_part() -> Vec<Self> {
        let (from, to) = (86, 98);
        let all = [What::Cut(Direction::Replies), What::Silence(Direction::Replies), What::Garble(1)];
        all.map(|what| Self { what, from, to }).to_vec()
    }

    pub(super) fn disturbances(self) -> BoxedStrategy<Disturbance> {
        let percents = self.from..self.to;
        let cuts = select(&[Cut::Close, Cut::Reset][..]);
        match self.what {
            What::Cut(of) => (cuts, percents)
                .prop_map(move |(cut, percent)| Disturbance::Cut { cut, of, percent, refuses: false })
                .boxed(),
            What::CutAndRefuse(of) => (cuts, percents)
                .prop_map(move |(cut, percent)| Disturbance::Cut { cut, of, percent, refuses: true })
                .boxed(),
            What::Silence(of) => percents.prop_map(move |percent| Disturbance::Silence { of, percent }).boxed(),
            What::Garble(after) => Just(Disturbance::Garble { after }).boxed(),
            What::HoldReplies => Just(Disturbance::HoldReplies).boxed(),
            What::Delay => Just(Disturbance::Delay).boxed(),
            What::Refuse => Just(Disturbance::Refuse).boxed(),
            What::CutIdle => cuts.prop_map(Disturbance::CutIdle).boxed(),
        }
    }
}

impl Disturbance {
    /// Whether it is known whether it has come.
    pub(super) fn has_place(self) -> bool {
        matches!(self, Self::Cut { .. } | Self::Silence { .. } | Self::Garble { .. })
    }

    /// Begins it, for a call that exchanges so many bytes of requests and of replies.
    pub(super) fn begin(self, player: &mut Player<'_>, bytes: (usize, usize)) -> Outcome {
        let proxy = player.proxied.proxy;
        let place = |of: Direction, percent: usize| match of {
            Direction::Requests => bytes.0 * percent / 100,
            Direction::Replies => bytes.1 * percent / 100,
        };
        match self {
            Self::Cut { cut, of, percent, refuses } => {
                proxy.set(Behaviour::CutAfter { cut, of, bytes: place(of, percent) });
                if refuses {
                    proxy.refuse();
                }
            }
            Self::Silence { of, percent } => proxy.set(Behaviour::Truncate { of, bytes: place(of, percent) }),
            Self::Garble { after } => {
                player.is_garbled = true;
                proxy.set(Behaviour::GarbleAfter(after));
            }
            Self::HoldReplies => proxy.set(Behaviour::HoldReplies),
            Self::Delay => proxy.set(Behaviour::Delay(player.proxied.limit / 40)),
            Self::Refuse => {
                proxy.refuse();
                player.cuts_idle();
                proxy.cut_now(Cut::Reset)?;
            }
            Self::CutIdle(cut) => {
                player.cuts_idle();
                proxy.cut_now(cut)?;
            }
        }
        Ok(())
    }
}
