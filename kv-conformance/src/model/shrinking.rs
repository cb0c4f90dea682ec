//! Making a sequence that has failed simpler.

use proptest::strategy::ValueTree;

use super::step::Step;

/// A sequence that is made simpler: first parts of it are left out, from halves to single steps, then single steps are made simpler.
#[derive(Debug)]
pub(crate) struct Shrinking {
    /// The simplest one that has failed.
    least: Vec<Step>,
    /// The one that is tried.
    tried: Option<Vec<Step>>,
    next: Next,
    /// Whether steps were made simpler since parts were left out: then more may be left out.
    is_simpler: bool,
}

/// What is tried next.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// The part of this number is left out: 1 is all, 2 and 3 are the halves, and so on.
    Without(usize),
    /// The step at this place is made simpler in the way of this number.
    Simpler(usize, usize),
}

impl Shrinking {
    pub(super) fn new(steps: Vec<Step>) -> Self {
        Self { least: steps, tried: None, next: Next::Without(1), is_simpler: false }
    }

    /// Turns to the next simpler sequence, if there is one.
    fn advance(&mut self) -> bool {
        loop {
            match self.next {
                Next::Without(part) => {
                    let level = part.ilog2();
                    let parts = 1_usize << level;
                    if parts / 2 >= self.least.len() {
                        self.next = Next::Simpler(0, 0);
                        continue;
                    }
                    self.next = Next::Without(part + 1);
                    let (length, at) = (self.least.len(), part - parts);
                    // From the end, as what comes after the step that has failed goes first.
                    let (begin, end) = (length - (at + 1) * length / parts, length - at * length / parts);
                    if begin < end && end - begin < length {
                        let mut steps = self.least.clone();
                        steps.drain(begin..end);
                        self.tried = Some(steps);
                        return true;
                    }
                }
                Next::Simpler(at, way) => {
                    let Some(step) = self.least.get(at) else {
                        if !self.is_simpler {
                            return false;
                        }
                        self.is_simpler = false;
                        self.next = Next::Without(1);
                        continue;
                    };
                    let Some(simpler) = step.simpler().nth(way) else {
                        self.next = Next::Simpler(at + 1, 0);
                        continue;
                    };
                    self.next = Next::Simpler(at, way + 1);
                    let mut steps = self.least.clone();
                    steps.splice(at..=at, [simpler]);
                    self.tried = Some(steps);
                    return true;
                }
            }
        }
    }
}

impl ValueTree for Shrinking {
    type Value = Vec<Step>;

    fn current(&self) -> Vec<Step> {
        self.tried.as_ref().unwrap_or(&self.least).clone()
    }

    /// The current one has failed.
    fn simplify(&mut self) -> bool {
        if let Some(failed) = self.tried.take() {
            self.next = match self.next {
                // The same part of what is left, or the parts are too large now.
                Next::Without(part) if failed.len() > 1 => Next::Without((part - 1).max(1)),
                Next::Without(_) => Next::Simpler(0, 0),
                Next::Simpler(at, _) => {
                    self.is_simpler = true;
                    Next::Simpler(at, 0)
                }
            };
            self.least = failed;
        }
        self.advance()
    }

    /// The current one has passed.
    fn complicate(&mut self) -> bool {
        self.tried = None;
        self.advance()
    }
}
