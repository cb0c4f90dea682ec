//! The code of the guide that is more than a doctest can show: it is here as it stands on the page, and is put to the test.

#![allow(dead_code, reason = "programs of which only the tests are run")]

mod claim;

#[path = "../../examples/first_service.rs"]
mod first_service;

/// A block of code is on its page, word for word.
#[track_caller]
fn is_on_page(code: &str, page: &str) {
    assert!(page.contains(code.trim()), "the page has another version of this:\n{code}");
}

#[test]
fn what_chooses_the_backend_is_on_its_page() {
    let code = include_str!("../../examples/choose_backend/open.rs");
    let (_, code) = code.split_once("\n\n").unwrap();
    let (code, _) = code.split_once("/// An error and its causes").unwrap();
    is_on_page(code, include_str!("../../guide/choosing.md"));
}

#[test]
fn the_first_service_is_on_its_page() {
    let page = include_str!("../../guide/first_service.md");
    let code = include_str!("../../examples/first_service.rs");
    let (program, tests) = code.split_once("#[cfg(test)]").unwrap();
    is_on_page(program, page);
    is_on_page(tests, page);
}
