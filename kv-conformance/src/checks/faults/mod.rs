//! Faults of the network and of the server: section 10, and parts of others that show only under faults.
//!
//! These need a store behind a [proxy](crate::proxy): see [`Suite::with_faults`](crate::Suite::with_faults).

pub mod closing;
pub mod connections;
pub mod exchanges;
pub mod outages;
pub mod partial_reads;
pub mod recovery;
pub mod repeated;
pub mod restarts;
pub mod sequences;

use super::check::checks_of;

checks_of![repeated, exchanges, connections, closing, partial_reads, recovery, sequences, restarts, outages];
