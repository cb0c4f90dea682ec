//! What to start, and how to find out that it answers.

use std::error::Error;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{LIMIT, POLL, Process};
use super::sandbox::Sandbox;
use crate::error::BoxError;

/// How many lines of its output are shown of a program that did not start.
const LINES: usize = 20;

type Prepare = Box<dyn Fn(&Sandbox) -> Result<(), BoxError> + Send + Sync>;
type Arguments = Box<dyn Fn(&Sandbox) -> Vec<OsString> + Send + Sync>;
type Ready = Box<dyn Fn(&Sandbox, u32) -> Result<(), BoxError> + Send + Sync>;

/// What to start, and how to find out that it answers: see [`Server::builder`](super::Server::builder).
pub struct ServerBuilder {
    pub(super) program: OsString,
    debian_package: Option<String>,
    pub(super) ports: usize,
    pub(super) prepare: Prepare,
    pub(super) args: Arguments,
    ready: Ready,
    limit: Duration,
}

impl ServerBuilder {
    pub(super) fn new(program: &OsStr) -> Self {
        Self {
            program: program.to_owned(),
            debian_package: None,
            ports: 1,
            prepare: Box::new(|_| Ok(())),
            args: Box::new(|_| Vec::new()),
            ready: Box::new(|sandbox, _| {
                sandbox.ports().iter().try_for_each(|&port| {
                    TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
                    Ok(())
                })
            }),
            limit: LIMIT,
        }
    }

    /// The Debian package with the program, for the error message if the program is missing.
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

    /// Prepares the sandbox before the program starts for the first time, for example by writing its configuration.
    #[must_use]
    pub fn prepare(mut self, prepare: impl Fn(&Sandbox) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    /// The arguments of the program: those with which it runs in the foreground, in the sandbox. The folder of the sandbox
    /// is its working directory: name other files by their whole path, as `concat!(env!("CARGO_MANIFEST_DIR"), "/tests/toy.py")`.
    #[must_use]
    pub fn args<A>(mut self, args: impl Fn(&Sandbox) -> A + Send + Sync + 'static) -> Self
    where
        A: IntoIterator<Item: Into<OsString>>,
    {
        self.args = Box::new(move |sandbox| args(sandbox).into_iter().map(Into::into).collect());
        self
    }

    /// How to tell that the server answers; it is called until it returns `Ok`. Without it, a connection to every port
    /// is made.
    ///
    /// It gets the id of the process, and can ask the server that answers for its id. That certainly excludes another server on the same
    /// port. It must not wait without a limit.
    #[must_use]
    pub fn ready(mut self, ready: impl Fn(&Sandbox, u32) -> Result<(), BoxError> + Send + Sync + 'static) -> Self {
        self.ready = Box::new(ready);
        self
    }

    /// How long the server may take until it answers: 10 s unless said otherwise.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts the program in a sandbox, and waits until it answers.
    pub(super) fn launch(&self, sandbox: &Sandbox, args: &[OsString]) -> Result<Process, NotStarted> {
        let mut process =
            Process::spawn(sandbox, self.command(sandbox, args)?).map_err(|error| self.not_run(&error))?;
        let deadline = Instant::now() + self.limit;
        loop {
            let answer = (self.ready)(sandbox, process.id());
            // Checked after the answer: if the process still runs, it has its port; otherwise it would have ended.
            if let Some(status) = process.try_wait()? {
                let problem = format!("ended before it answered ({status})");
                return Err(NotStarted::Ended(self.did_not_start(sandbox, &problem)));
            }
            let Err(reason) = answer else { return Ok(process) };
            if Instant::now() >= deadline {
                let problem = format!("did not answer within {:?} ({reason})", self.limit);
                return Err(NotStarted::Other(self.did_not_start(sandbox, &problem)));
            }
            thread::sleep(POLL);
        }
    }

    fn command(&self, sandbox: &Sandbox, args: &[OsString]) -> io::Result<Command> {
        let output = File::options().create(true).append(true).open(sandbox.output())?;
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(sandbox.dir());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        Ok(command)
    }

    /// Why the program could not be run at all.
    fn not_run(&self, error: &io::Error) -> BoxError {
        let program = self.program.display();
        let path = Path::new(&self.program);
        if error.kind() == io::ErrorKind::NotFound && path.is_relative() && path.components().count() > 1 {
            return complaint(format!(
                "{program} does not exist: the server runs in a temporary folder, so give the whole path of the program"
            ));
        }
        match &self.debian_package {
            Some(package) if error.kind() == io::ErrorKind::NotFound => {
                complaint(format!("{program} is not installed; on Debian: apt-get install {package}"))
            }
            None if error.kind() == io::ErrorKind::NotFound => complaint(format!("{program} is not installed")),
            _ => complaint(format!("{program} cannot be run: {error}")),
        }
    }

    fn did_not_start(&self, sandbox: &Sandbox, problem: &str) -> BoxError {
        let output = read(&sandbox.output());
        let lines: Vec<_> = output.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().join("\n");
        let last = if last.is_empty() { "it wrote nothing".into() } else { format!("its output ends with:\n{last}") };
        complaint(format!("{} {problem}; {last}", self.program.display()))
    }
}

/// Why a program did not start.
pub(super) enum NotStarted {
    /// It ended, perhaps because another program has its port.
    Ended(BoxError),
    Other(BoxError),
}

impl NotStarted {
    pub(super) fn into_error(self) -> BoxError {
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

/// An error whose lines `unwrap` shows unchanged.
struct Complaint(String);

pub(super) fn complaint(text: String) -> BoxError {
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

/// The content of a text file, as far as it can be read.
pub(super) fn read(file: &Path) -> String {
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

impl fmt::Debug for ServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder").field("program", &self.program).finish_non_exhaustive()
    }
}
