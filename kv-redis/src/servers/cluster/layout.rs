//! Which primary has which slots.

use std::sync::Arc;

use crate::connection::endpoint::Endpoint;
use crate::servers::node::Node;

/// The index for a slot without an owner.
pub(super) const NOBODY: u16 = u16::MAX;

/// A node, and the indices of its keys.
pub(crate) type Group = (Arc<Node>, Vec<usize>);

/// Which primary has which slots.
pub(crate) struct Layout {
    pub(super) primaries: Vec<(Endpoint, Arc<Node>)>,
    /// For each slot the index of its primary, or [`NOBODY`].
    pub(super) owners: Box<[u16]>,
}

impl Layout {
    /// Whether each slot has an owner. A node may not know all others.
    pub(super) fn is_complete(&self) -> bool {
        !self.owners.contains(&NOBODY)
    }

    /// The indices of slots by their owner, and those of slots without an owner.
    pub(super) fn groups(&self, slots: &[u16]) -> (Vec<Group>, Vec<usize>) {
        let mut groups = self.primaries.iter().map(|(_, node)| (Arc::clone(node), Vec::new())).collect::<Vec<_>>();
        let mut unowned = Vec::new();
        for (index, &slot) in slots.iter().enumerate() {
            let owner = self.owners.get(usize::from(slot)).copied().unwrap_or(NOBODY);
            groups.get_mut(usize::from(owner)).map_or(&mut unowned, |(_, indices)| indices).push(index);
        }
        groups.retain(|(_, indices)| !indices.is_empty());
        (groups, unowned)
    }

    pub(super) fn owner(&self, slot: u16) -> Option<&(Endpoint, Arc<Node>)> {
        self.primaries.get(usize::from(*self.owners.get(usize::from(slot))?))
    }
}
