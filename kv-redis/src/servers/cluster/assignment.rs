//! How the slots are assigned to the primaries, so that a listing can see whether that changes.

use std::sync::Arc;

use redis::Value as Reply;

use super::slots::SLOTS;
use crate::protocol::fault::Fault;
use crate::protocol::request::{Request, Shape};
use crate::servers::node::Node;

/// The primaries of a cluster, and what each says about itself.
pub(crate) struct SlotAssignment {
    pub(crate) primaries: Vec<Arc<Node>>,
    own_state: Vec<String>,
}

impl SlotAssignment {
    pub(super) async fn new(primaries: Vec<Arc<Node>>) -> Result<Self, Fault> {
        let mut assignment = Self { own_state: Vec::with_capacity(primaries.len()), primaries };
        for node in &assignment.primaries {
            assignment.own_state.push(own_state(node).await?);
        }
        Ok(assignment)
    }

    /// Whether these nodes have all slots together, and no slot is being moved.
    pub(crate) fn is_complete(&self) -> bool {
        let counts = self.own_state.iter().map(|own_state| count_slots(own_state));
        counts.sum::<Option<u32>>() == Some(SLOTS.into())
    }

    /// Whether the assignment is complete and did not change: a node that gets a slot also gets a new epoch.
    pub(crate) async fn is_unchanged(&self) -> Result<bool, Fault> {
        let now = Self::new(self.primaries.clone()).await?;
        Ok(now.is_complete() && now.own_state == self.own_state)
    }
}

/// How many slots a node says that it has; `None` if some are being moved.
fn count_slots(own_state: &str) -> Option<u32> {
    let count = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(last.parse::<u32>().ok()?.checked_sub(first.parse().ok()?)? + 1)
    };
    own_state.split(' ').skip(3).filter(|range| !range.is_empty()).map(count).sum()
}

/// What a node says about itself: its identity, role, epoch and slots, with those that are being moved, such as `[42->-id]`.
async fn own_state(node: &Node) -> Result<String, Fault> {
    let question = Request::reading().with(Shape::Any, ["CLUSTER".into(), "NODES".into()]);
    let nodes = match node.exchange(&question).await?.replies.into_iter().next() {
        Some(Reply::BulkString(nodes)) => String::from_utf8(nodes).map_err(|_| Fault::Desynchronized)?,
        Some(Reply::ServerError(error)) => return Err(Fault::Refused(error.into())),
        _ => return Err(Fault::Desynchronized),
    };
    // `id address flags primary ping pong epoch link slot slot …`
    let own = nodes.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let own = own.into_iter().find(|fields| fields.get(2).is_some_and(|flags| flags.contains("myself")));
    let fields = own.ok_or(Fault::Desynchronized)?;
    let told = fields.iter().enumerate().filter(|(at, _)| !matches!(at, 1 | 3 | 4 | 5 | 7)).map(|(_, field)| *field);
    Ok(told.collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted() {
        assert_eq!(count_slots("id myself,master 3"), Some(0));
        assert_eq!(count_slots("id myself,master 3 0-5460"), Some(5461));
        assert_eq!(count_slots("id myself,master 3 0-99 200 300-301"), Some(103));
        assert_eq!(count_slots("id myself,master 3 0-99 [42->-other]"), None);
    }
}
