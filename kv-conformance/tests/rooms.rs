//! The rooms of a crate, which are the folders and files right under its `src`: each imports from those below it alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says so where it cannot go on")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The rooms of a backend.
const BACKEND: &[&str] = &["store", "servers", "connection", "protocol"];

/// The crates and their rooms, the topmost first.
const CRATES: &[(&str, &[&str])] = &[
    ("kv-memcache", BACKEND),
    ("kv-redis", BACKEND),
    (
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
    ),
];

/// The files under a folder, which is so many modules deep: each with its room, and with `crate::` for a `super::super::` that
/// leads to the crate's root.
fn files(folder: &Path, room: Option<&str>, depth: usize) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let room = room.unwrap_or(&name);
        if path.is_dir() && room != "bin" {
            files.extend(self::files(&path, Some(room), depth + 1));
        } else if path.extension().is_some_and(|extension| extension == "rs") && room != "lib" {
            let to_root = "super::".repeat(depth + usize::from(name != "mod"));
            files.push((room.to_owned(), fs::read_to_string(path).unwrap().replace(&to_root, "crate::")));
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

/// The room that a name is from which `lib.rs` exports.
fn exported_by(lib: &str, name: &str) -> Option<String> {
    let is_name = |word: &str| word == name;
    let mut exports = lib.split(';').filter_map(|statement| statement.split_once("pub use ").map(|(_, path)| path));
    let export = exports.find(|path| path.split(|c: char| !c.is_alphanumeric() && c != '_').any(is_name))?;
    export.split("::").next().map(str::to_owned)
}

#[test]
fn each_room_imports_from_those_below_it_alone() {
    let mut wrong = BTreeSet::new();
    for (name, rooms) in CRATES {
        let floor = |room: &str| rooms.iter().position(|of| *of == room);
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let lib = fs::read_to_string(src.join("lib.rs")).unwrap();
        for (room, text) in files(&src, None, 0) {
            let Some(from) = floor(&room) else { panic!("{name}/src/{room} is not in `CRATES` of this test") };
            for import in imports(&text) {
                let of = exported_by(&lib, &import).filter(|_| floor(&import).is_none()).unwrap_or(import);
                match floor(&of) {
                    Some(to) if to >= from => {}
                    Some(_) => drop(wrong.insert(format!("{name}: {room} imports from {of}, which is above it"))),
                    None => drop(wrong.insert(format!("{name}: {room} imports {of}, which is not a room"))),
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
