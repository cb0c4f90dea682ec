//! Real servers for tests, each on free ports and in a temporary folder of its own.
//!
//! A [`Server`] is a program that the test started itself and that answers: never one that happened to be there. It is
//! killed when it is dropped, and with the test process, however that ends; its folder goes with it. In between, a test
//! can kill it, stop it, pause it and start it again.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use kv_conformance::BoxError;
//! use kv_conformance::server::Server;
//!
//! fn main() -> Result<(), BoxError> {
//!     let server = Server::builder("memcached")
//!         .debian_package("memcached")
//!         .args(|place| ["--listen=127.0.0.1".into(), format!("--port={}", place.port()), "--user=nobody".into()])
//!         .ready(|place, pid| {
//!             let mut connection = TcpStream::connect(("127.0.0.1", place.port()))?;
//!             connection.write_all(b"stats\r\nquit\r\n")?;
//!             let mut answer = String::new();
//!             connection.read_to_string(&mut answer)?;
//!             let ours = answer.contains(&format!("STAT pid {pid}\r\n"));
//!             if ours { Ok(()) } else { Err("another memcached answers".into()) }
//!         })
//!         .start()?;
//!     let port = server.place().port();
//!     server.kill()?;
//!     assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
//!     server.restart()?;
//!     assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
//!     Ok(())
//! }
//! ```

mod place;
mod process;

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::error::BoxError;
pub use place::Place;
use process::Process;

/// How long a program has to answer, and one that is stopped to end, unless the test says otherwise.
const LIMIT: Duration = Duration::from_secs(10);

/// How long to wait between two looks at a process.
const POLL: Duration = Duration::from_millis(2);

/// On how many ports a program is tried that ends before it answers.
const STARTS: u32 = 3;

/// How many lines of its output are shown of a program that did not start.
const LINES: usize = 20;

type Prepare = Box<dyn Fn(&Place) -> Result<(), BoxError> + Send + Sync>;
type Arguments = Box<dyn Fn(&Place) -> Vec<OsString> + Send + Sync>;
type Ready = Box<dyn Fn(&Place, u32) -> Result<(), BoxError> + Send + Sync>;

/// What to start, and how to tell that it answers: see [`Server::builder`].
pub struct ServerBuilder {
    program: OsString,
    debian_package: Option<String>,
    ports: usize,
    prepare: Prepare,
    args: Arguments,
    ready: Ready,
    limit: Duration,
}

impl ServerBuilder {
    /// The Debian package that has the program, for the error message where the program is missing.
    #[must_use]
    pub fn debian_package(mut self, package: impl Into<String>) -> Self {
        self.debian_package = Some(package.into());
        self
    }

    /// How many ports the server needs: 1 unless said otherwise, and never less.
    #[must_use]
    pub fn ports(mut self, count: usize) -> Self {
        self.ports = count;
        self
    }

    /// What is to be done in the place before the program starts for the first time, such as writing its configuration.
    #[must_use]
    pub fn prepare(mut self, prepare: impl Fn(&Place) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// The arguments of the program: those with which it runs in the foreground, in the place that it is given. That is also
    /// its working directory: name other files by their whole path, as `concat!(env!("CARGO_MANIFEST_DIR"), "/tests/toy.py")`.
    #[must_use]
    pub fn args<A>(mut self, args: impl Fn(&Place) -> A + Send + Sync + 'static) -> Self
    where
        A: IntoIterator<Item: Into<OsString>>,
    {
        self.args = Box::new(move |place| args(place).into_iter().map(Into::into).collect());
        self
    }

    /// How to tell that the server answers; it is called until it returns `Ok`. Without it, a connection to every port
    /// is made.
    ///
    /// It gets the id of the process, so that it can ask the one that answers for its own: that excludes another server
    /// on the same port for certain. It must not wait without a limit.
    #[must_use]
    pub fn ready(mut self, ready: impl Fn(&Place, u32) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.ready = Box::new(ready);
        self
    }

    /// How long the server may take until it answers: 10 s unless said otherwise.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts the program, and waits until it answers. If it ends before, another place is tried some times: somebody
    /// else may have taken its port in between.
    ///
    /// # Errors
    ///
    /// If the program is not installed (the error then names the Debian package), ends before it answers, or does not
    /// answer in time: the error then has the last lines of its output. Also if the system refuses something.
    pub fn start(self) -> Result<Server, BoxError> {
        let mut starts = 1;
        loop {
            let place = Place::new(self.ports.saturating_sub(1))?;
            (self.prepare)(&place)?;
            let args = (self.args)(&place);
            match self.launch(&place, &args) {
                Ok(process) => {
                    return Ok(Server { process: Mutex::new(Some(process)), builder: self, args, place });
                }
                Err(NotStarted::Ended(_)) if starts < STARTS => starts += 1,
                Err(error) => return Err(error.into_error()),
            }
        }
    }

    /// Starts the program in a place, and waits until it answers.
    fn launch(&self, place: &Place, args: &[OsString]) -> Result<Process, NotStarted> {
        let mut process = Process::spawn(place, self.command(place, args)?).map_err(|error| self.not_run(&error))?;
        let deadline = Instant::now() + self.limit;
        loop {
            let answer = (self.ready)(place, process.id());
            // Looked at after the answer: a process that is still there has its port, or would have ended.
            if let Some(status) = process.try_wait()? {
                let problem = format!("ended before it answered ({status})");
                return Err(NotStarted::Ended(self.did_not_start(place, &problem)));
            }
            let Err(reason) = answer else { return Ok(process) };
            if Instant::now() >= deadline {
                let problem = format!("did not answer within {:?} ({reason})", self.limit);
                return Err(NotStarted::Other(self.did_not_start(place, &problem)));
            }
            thread::sleep(POLL);
        }
    }

    fn command(&self, place: &Place, args: &[OsString]) -> io::Result<Command> {
        let output = File::options().create(true).append(true).open(place.output())?;
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(place.dir());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(command)
    }

    /// Why the program could not be run at all.
    fn not_run(&self, error: &io::Error) -> BoxError {
        let program = self.program.display();
        let path = Path::new(&self.program);
        if error.kind() == io::ErrorKind::NotFound && path.is_relative() && path.components().count() > 1 {
            return complaint(format!("{program} is not there: it runs in a folder of its own, give its whole path"));
        }
        match &self.debian_package {
            Some(package) if error.kind() == io::ErrorKind::NotFound => {
                complaint(format!("{program} is not installed; on Debian: apt-get install {package}"))
            }
            None if error.kind() == io::ErrorKind::NotFound => complaint(format!("{program} is not installed")),
            _ => complaint(format!("{program} cannot be run: {error}")),
        }
    }

    fn did_not_start(&self, place: &Place, problem: &str) -> BoxError {
        let output = read(&place.output());
        let lines: Vec<_> = output.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
        let last = if last.is_empty() { "it wrote nothing".into() } else { format!("its output ends with:\n{last}") };
        complaint(format!("{} {problem}; {last}", self.program.display()))
    }
}

/// A server that a test started: see the [module](self).
///
/// Dropping it kills it. Everything may be called from several threads.
pub struct Server {
    // Dropped in order: the process first, its folder and ports last.
    process: Mutex<Option<Process>>,
    builder: ServerBuilder,
    args: Vec<OsString>,
    place: Place,
}

impl Server {
    /// A server that is to be started: a program that is found in `PATH`, or an absolute path.
    pub fn builder(program: impl AsRef<OsStr>) -> ServerBuilder {
        ServerBuilder {
            program: program.as_ref().to_owned(),
            debian_package: None,
            ports: 1,
            prepare: Box::new(|_| Ok(())),
            args: Box::new(|_| Vec::new()),
            ready: Box::new(|place, _| {
                place.ports().iter().try_for_each(|&port| {
                    TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
                    Ok(())
                })
            }),
            limit: LIMIT,
        }
    }

    /// Where it runs.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The id of its process, if it runs: a paused one does, one that was killed or ended by itself does not.
    pub fn pid(&self) -> Option<u32> {
        let mut process = self.process();
        let process = process.as_mut()?;
        matches!(process.try_wait(), Ok(None)).then(|| process.id())
    }

    /// All that it wrote until now to its standard output and its standard error, in all its lives.
    pub fn output(&self) -> String {
        read(&self.place.output())
    }

    /// Kills it (`SIGKILL`), and returns when it is gone. That it runs no longer is no error.
    ///
    /// # Errors
    ///
    /// If the system refuses that.
    pub fn kill(&self) -> Result<(), BoxError> {
        match self.process().take() {
            Some(mut process) => Ok(process.kill()?),
            None => Ok(()),
        }
    }

    /// Ends it in an orderly manner (`SIGTERM`, even if it is paused), and returns when it is gone. If that takes longer
    /// than 10 s it is killed. That it runs no longer is no error.
    ///
    /// # Errors
    ///
    /// If the system refuses that.
    pub fn stop(&self) -> Result<(), BoxError> {
        match self.process().take() {
            Some(process) => Ok(process.stop()?),
            None => Ok(()),
        }
    }

    /// Starts it again in the same place with the same arguments, and waits until it answers. If it runs it is stopped
    /// first, as [`stop`](Self::stop) does.
    ///
    /// # Errors
    ///
    /// Those of [`ServerBuilder::start`], and if somebody else took the port in between.
    pub fn restart(&self) -> Result<(), BoxError> {
        let mut process = self.process();
        if let Some(running) = process.take() {
            running.stop()?;
        }
        *process = Some(self.builder.launch(&self.place, &self.args).map_err(NotStarted::into_error)?);
        Ok(())
    }

    /// Pauses it (`SIGSTOP`), and returns when it has stopped: its connections stay open, and new ones are made, but it
    /// does not answer until [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn pause(&self) -> Result<(), BoxError> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on (`SIGCONT`) after [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// If it does not run.
    pub fn resume(&self) -> Result<(), BoxError> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<(), BoxError> {
        let mut process = self.process();
        let not_running = || complaint(format!("{} does not run", self.builder.program.display()));
        let process = process.as_mut().ok_or_else(not_running)?;
        if process.try_wait()?.is_some() {
            return Err(not_running());
        }
        Ok(process.signal(signal)?)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a program did not start.
enum NotStarted {
    /// It ended: perhaps somebody else has its port.
    Ended(BoxError),
    Other(BoxError),
}

impl NotStarted {
    fn into_error(self) -> BoxError {
        match self {
            Self::Ended(error) | Self::Other(error) => error,
        }
    }
}

impl From<BoxError> for NotStarted {
    fn from(error: BoxError) -> Self {
        Self::Other(error)
    }
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self::Other(error.into())
    }
}

/// An error that `unwrap` shows as it is, in lines.
struct Complaint(String);

fn complaint(text: String) -> BoxError {
    Box::new(Complaint(text))
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for Complaint {}

/// What is in a file of text, as far as it can be read.
fn read(file: &Path) -> String {
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("program", &self.program).finish_non_exhaustive()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("program", &self.builder.program)
            .field("place", &self.place)
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}
