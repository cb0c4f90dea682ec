//! Writes the feature matrix or the table of servers, made from reports, into a file, or compares it with the file.

use std::env;
use std::fs;
use std::process::ExitCode;

use kv_conformance::{BoxError, Matrix, Report, ServerTable};

const USAGE: &str = "usage: kv-matrix [--check] FILE COLUMN=REPORT.json...
       kv-matrix --servers [--check] FILE REPORT.json...

Makes a table of reports that KV_CONFORMANCE_REPORT has had written, and puts it into FILE between the lines

    <!-- kv-conformance matrix -->
    <!-- end of kv-conformance matrix -->

or, with --servers, a table of servers and results between

    <!-- kv-conformance servers -->
    <!-- end of kv-conformance servers -->

where the rows of other servers stay.

With --check FILE stays as it is: the exit code is 1, and the difference is shown, if it has another table. A server that
is not in the table is no difference, unless a clause is broken on it.";

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kv-matrix: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, BoxError> {
    let arguments = env::args_os().skip(1).map(|argument| argument.into_string().map_err(|_| USAGE));
    let mut arguments = arguments.collect::<Result<Vec<_>, _>>()?;
    let mut take = |option: &str| {
        let given = arguments.len();
        arguments.retain(|argument| argument != option);
        arguments.len() < given
    };
    let (only_check, servers) = (take("--check"), take("--servers"));
    if let Some(option) = arguments.iter().find(|argument| argument.starts_with('-')) {
        if ["--help", "-h"].contains(&option.as_str()) {
            println!("{USAGE}");
            return Ok(ExitCode::SUCCESS);
        }
        return Err(format!("there is no option {option}\n{USAGE}").into());
    }
    let [file, reports @ ..] = arguments.as_slice() else { return Err(USAGE.into()) };
    if reports.is_empty() {
        return Err(format!("no report is named\n{USAGE}").into());
    }
    let old = read(file)?;
    let in_file = |error: BoxError| format!("{file}: {error}");
    let new = if servers {
        let table = ServerTable::new(reports.iter().map(|path| report(path)).collect::<Result<Vec<_>, _>>()?)?;
        if only_check {
            let contradictions = table.contradictions(&old).map_err(in_file)?;
            for contradiction in &contradictions {
                println!("{file}: {contradiction}");
            }
            return Ok(if contradictions.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        table.insert_into(&old).map_err(in_file)?
    } else {
        let columns = reports.iter().map(|column| {
            let named = || format!("{column:?} is not COLUMN=REPORT.json\n{USAGE}");
            let (title, path) = column.split_once('=').ok_or_else(named)?;
            Ok((title, report(path)?))
        });
        Matrix::new(columns.collect::<Result<Vec<_>, BoxError>>()?)?.insert_into(&old).map_err(in_file)?
    };
    if only_check && old != new {
        println!("The matrix in {file} (-) is not what the reports give (+):\n{}", difference(&old, &new));
        return Ok(ExitCode::FAILURE);
    }
    if !only_check {
        fs::write(file, new).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn report(path: &str) -> Result<Report, BoxError> {
    Ok(Report::from_json(&read(path)?).map_err(|error| format!("{path} is not a report: {error}"))?)
}

fn read(path: &str) -> Result<String, BoxError> {
    Ok(fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?)
}

/// The lines in which two texts differ, from the first to the last.
fn difference(old: &str, new: &str) -> String {
    let (old, new) = (old.lines().collect::<Vec<_>>(), new.lines().collect::<Vec<_>>());
    let before = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let mut shown = Vec::new();
    for (sign, lines) in [("-", &old), ("+", &new)] {
        let changed = lines.iter().skip(before).take(lines.len() - before - after);
        shown.extend(changed.map(|line| format!("{sign} {line}")));
    }
    shown.join("\n")
}
