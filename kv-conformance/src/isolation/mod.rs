//! Ports and folders that belong to this test process alone, whatever other tests run on the machine.

#[cfg(unix)]
mod folder;
mod port;
#[cfg(unix)]
mod watchdog;

#[cfg(unix)]
pub(crate) use folder::folder;
pub(crate) use port::Port;
#[cfg(unix)]
pub(crate) use watchdog::watchdog;
