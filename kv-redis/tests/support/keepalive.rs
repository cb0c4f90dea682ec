//! Keepalive probes, as the kernel has them. Tests of kv-memcache use this file, too.

use std::collections::HashSet;

/// Whether the kernel has a keepalive timer for our connection to this port.
pub(crate) fn has_keepalive(port: u16) -> bool {
    let peer = format!("0100007F:{port:04X}");
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    let rows: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let listens = |address| rows.iter().any(|row| row[1] == address && row[3] == "0A");
    // A server elsewhere has this peer too if its client happens to come from this port. And the kernel writes the table in parts, so that
    // a row can be there twice while other connections come and go.
    let timers: HashSet<_> = rows
        .iter()
        .filter(|row| row[2] == peer && row[3] == "01" && !listens(row[1]))
        .map(|row| row[5].starts_with("02:"))
        .collect();
    assert_eq!(timers.len(), 1, "connections to {peer}:\n{table}");
    timers.contains(&true)
}
