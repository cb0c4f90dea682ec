//! The rooms of a crate, which are the folders and files right under its `src`: each imports from those below it alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so where it cannot go on")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The crates and their rooms, the topmost first. (A room on the same floor as another is above or below it.)
const CRATES: &[(&str, &[&str])] = &[(
    "kv-conformance",
    &[
        "suite",
        "checks",
        "faults",
        "model",
        "property",
        "running",
        "fixture",
        "server",
        "proxy",
        "isolation",
        "history",
        "bench",
        "report",
        "error",
    ],
)];

/// The files under a folder: each with its room.
fn files(folder: &Path, room: Option<&str>) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let room = room.unwrap_or(&name);
        if path.is_dir() && room != "bin" {
            files.extend(self::files(&path, Some(room)));
        } else if path.extension().is_some_and(|extension| extension == "rs") && room != "lib" {
            files.push((room.to_owned(), fs::read_to_string(path).unwrap()));
        }
    }
    files
}

/// The first names after `crate::` in the code of a file, without its comments and tests.
fn imports(text: &str) -> BTreeSet<String> {
    let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap();
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name(rest));
            continue;
        };
        let (mut depth, mut begins) = (1, true);
        for (at, c) in group.char_indices().take_while(|(_, c)| *c != ';') {
            if begins && depth == 1 && c.is_alphanumeric() {
                names.insert(name(group.get(at..).unwrap()));
                begins = false;
            }
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' => begins = true,
                _ => {}
            }
        }
    }
    names
}

#[test]
fn each_room_imports_from_those_below_it_alone() {
    let mut wrong = BTreeSet::new();
    for (name, rooms) in CRATES {
        let floor = |room: &str| rooms.iter().position(|of| *of == room);
        for (room, text) in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src"), None) {
            let Some(from) = floor(&room) else { panic!("{name}/src/{room} is no room that this test knows") };
            for import in imports(&text) {
                match floor(&import) {
                    Some(to) if to >= from => {}
                    Some(_) => drop(wrong.insert(format!("{name}: {room} imports from {import}, which is above it"))),
                    None => drop(wrong.insert(format!("{name}: {room} imports {import}, which is no room"))),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
