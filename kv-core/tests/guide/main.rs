//! Tests for code of the guide that a doctest cannot test. The code has to be on its page, word for word.

#![allow(dead_code, reason = "programs; only their tests run")]

mod claim;
mod races;
mod stores;
mod updates;

#[path = "../../examples/first_service.rs"]
mod first_service;

/// Checks that a block of code is on its page, word for word.
#[track_caller]
fn is_on_page(code: &str, page: &str) {
    assert!(page.contains(code.trim()), "the page does not have this code:\n{code}");
}

#[test]
fn the_choice_of_a_backend_is_on_its_page() {
    let code = include_str!("../../examples/choose_backend/open.rs");
    let (_, code) = code.split_once("\n\n").unwrap();
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

#[test]
fn the_store_on_an_async_client_and_its_suite_are_on_their_page() {
    let page = include_str!("../../guide/asynchronous.md");
    let (_, code) = include_str!("../../examples/async_client.rs").split_once("\n\n").unwrap();
    is_on_page(code, page);
    let (_, suite) = include_str!("../async_client.rs").split_once("\n\n").unwrap();
    let (uses, suite) = suite.split_once("#[allow(dead_code").unwrap();
    let (_, suite) = suite.split_once("mod async_client;").unwrap();
    is_on_page(uses, page);
    is_on_page(suite, page);
}
