//! Draws a chart of the rows of benches.

use std::env;
use std::fs;
use std::process::ExitCode;

use kv_conformance::BoxError;
use kv_conformance::bench::{Comparisons, chart};

const USAGE: &str = "usage: kv-chart FILE.svg ROWS.json...

Draws the rows that benches with KV_BENCH_REPORT have written: those that have a goal.";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv-chart: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), BoxError> {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{USAGE}");
        return Ok(());
    }
    let [file, rows @ ..] = arguments.as_slice() else { return Err(USAGE.into()) };
    if rows.is_empty() {
        return Err(format!("no rows are named\n{USAGE}").into());
    }
    let read = |path: &String| {
        let json = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        Comparisons::from_json(&json).map_err(|error| format!("{path} has no rows of a bench: {error}"))
    };
    let stores = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(fs::write(file, chart(&stores)).map_err(|error| format!("{file}: {error}"))?)
}
