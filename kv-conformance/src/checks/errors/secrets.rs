//! Section 9, E3: what is stored is not shown.

use std::io::{self, Read, Write};
use std::time::Duration;

use kv_core::{Capability, Error, KeyValueStoreExt, Ttl};

use crate::checks::check::{Check, about, checks};
use crate::checks::entries::{OPERATIONS, act, acts};
use crate::running::leaks::{SECRET, TEXT, expect_none, repeated, told_by};
use crate::running::{Context, Outcome};

checks![e3_neither_errors_nor_the_store_show_a_value];

/// Writes, reads and removes secret values in every way, short ones and long ones, text and bytes, and provokes errors with them. After each it
/// looks at the name and the `Debug` of the handles, and at the errors with their causes: no four bytes in a row of a value may be there, as
/// they are, escaped, as a list of numbers, in hexadecimal or in base64.
pub fn e3_neither_errors_nor_the_store_show_a_value() -> Check {
    about(&["E3"]).run(|context| {
        let store = context.store();
        let long = repeated(SECRET, context.size(5000));
        for (at, value) in [TEXT.as_bytes(), SECRET, &long].into_iter().enumerate() {
            for (n, what) in context.sample(acts(context), 3 * OPERATIONS).into_iter().enumerate() {
                act(context, store, what, &format!("{at}/{n}/"), value, "of a secret")?;
                look(context, &format!("after {what}"))?;
            }
            show_what_is_open(context, value)?;
            for (what, result) in fail(context, value) {
                if let Err(error) = result() {
                    expect_none(&format!("the error of {what}"), &told_by(&error), value)?;
                }
                look(context, &format!("after {what}"))?;
            }
        }
        let keys = (0..context.keys(100, 2, 0)).map(|n| format!("many/{n}")).collect::<Vec<_>>();
        store.put_many(keys.iter().map(|key| (key, SECRET)))?;
        look(context, "after put_many of many")?;
        store.get_many(&keys)?;
        look(context, "after get_many of many")
    })
}

/// Looks at what a store shows of itself.
fn look(context: &Context<'_>, when: &str) -> Outcome {
    let second = context.second_handle().ok().map(|second| ("the second handle", second));
    for (which, store) in [("the store", context.store())].into_iter().chain(second) {
        expect_none(&format!("`Debug` of {which}, {when},"), &format!("{store:?} {store:#?}"), SECRET)?;
        expect_none(&format!("name() of {which}, {when},"), store.name(), SECRET)?;
    }
    Ok(())
}

/// Looks at readers and listings, and at the store while they are open.
fn show_what_is_open(context: &Context<'_>, value: &[u8]) -> Outcome {
    let store = context.store();
    store.put("k", value)?;
    let mut reader = store.open("k")?;
    let _ = reader.read(&mut [0; 9]);
    expect_none("`Debug` of a reader", &format!("{reader:?} {reader:#?}"), value)?;
    look(context, "while a reader is open")?;
    if context.has(Capability::Listing) {
        let mut keys = store.keys("")?;
        let _ = keys.next();
        expect_none("`Debug` of a listing", &format!("{keys:?} {keys:#?}"), value)?;
        look(context, "while a listing is open")?;
    }
    Ok(())
}

/// A reader that gives what it has and fails, and a writer that takes a few bytes and fails.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Ok(0) => Err(io::Error::other("gone")),
            other => other,
        }
    }
}

impl Write for Failing<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::Error::other("full"));
        }
        let (taken, _) = self.0.split_at(buffer.len().min(self.0.len()));
        self.0 = self.0.get(taken.len()..).unwrap_or_default();
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Failed<'a> = Box<dyn FnOnce() -> Result<(), Error> + 'a>;

/// What fails with a value, where there is an entry with it and where there is none: at least with some stores.
fn fail<'a>(context: &'a Context<'_>, value: &'a [u8]) -> Vec<(&'static str, Failed<'a>)> {
    let store = context.store();
    let too_long = Ttl::After(Duration::MAX);
    let mut failing = Vec::<(&str, Failed<'_>)>::new();
    for key in ["k", "nothing"] {
        let mut add = |what, run: Failed<'a>| failing.push((what, run));
        add("put_from of a reader that fails", Box::new(move || store.put_from(key, Failing(value))));
        add("get_into a writer that fails", Box::new(move || store.get_into(key, Failing(b"12345")).map(drop)));
        add("get_file to a folder", Box::new(move || store.get_file(key, std::env::temp_dir()).map(drop)));
        add("open of an absent key", Box::new(move || store.open("absent").map(drop)));
        add("copy of an absent key", Box::new(move || store.copy("absent", key)));
        add("rename of an absent key", Box::new(move || store.rename("absent", key)));
        let many = move || store.put_many([(key, value), ("in valid", value)]);
        add("put_many with an invalid key", Box::new(many));
        add("put with a TTL that is too long", Box::new(move || store.put_with_ttl(key, value, too_long)));
        let many = move || store.put_many_with_ttl([("other", value, Ttl::Default), (key, value, too_long)]);
        add("put_many with a TTL that is too long", Box::new(many));
        let stream = move || store.put_from_with_ttl(key, value, too_long);
        add("put_from with a TTL that is too long", Box::new(stream));
        let create = move || store.create_with_ttl(key, value, too_long).map(drop);
        add("create with a TTL that is too long", Box::new(create));
        add("touch with a TTL that is too long", Box::new(move || store.touch(key, too_long).map(drop)));
        if let Some(limit) = context.capabilities().largest_value().filter(|limit| *limit <= 64 << 20) {
            // Where the limit depends on the key, it is the longest key's: more by the length of one is too much for any.
            let length = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(1 + 250);
            let too_large = move || repeated(value, length);
            add("put of a value that is too large", Box::new(move || store.put(key, too_large())));
            let many = move || store.put_many([("other", value), (key, &too_large())]);
            add("put_many with a value that is too large", Box::new(many));
            let stream = move || store.put_from(key, value.chain(io::repeat(b'-').take(length as u64)));
            add("put_from of a value that is too large", Box::new(stream));
            add("create with a value that is too large", Box::new(move || store.create(key, too_large()).map(drop)));
        }
    }
    failing
}
