//! serde attributes that would change what an event looks like in the log.
//!
//! The log keeps the wire name beside the payload, and finds the variant by its Rust name, so
//! only serde's default representation of enums and variants works.

use syn::{Attribute, Meta, Token, punctuated::Punctuated};

use crate::problems::Problems;

/// Refuses what can't stand on the enum.
pub(crate) fn check_enum(attributes: &[Attribute]) -> syn::Result<()> {
    check(attributes, |key| match key {
        "rename" | "rename_all" => Some(
            "serde does not name events: write `#[event(name = \"...\")]` on the variants instead",
        ),
        "tag" | "content" | "untagged" => Some(
            "events have a representation of their own: remove this; \
             a variant's name is chosen with `#[event(name = \"...\")]`",
        ),
        "from" | "try_from" | "into" | "transparent" => Some(
            "an event is written variant by variant: remove this; \
             for older payloads write `#[event(version = N, upcast(...))]` on the variant",
        ),
        _ => None,
    })
}

/// Refuses what can't stand on a variant.
pub(crate) fn check_variant(attributes: &[Attribute]) -> syn::Result<()> {
    check(attributes, |key| match key {
        "rename" => Some("serde does not name events: write `#[event(name = \"...\")]` instead"),
        "alias" => Some("serde does not name events: write `#[event(formerly = \"...\")]` instead"),
        "untagged" | "other" => Some(
            "events have a representation of their own: remove this; \
             a variant's name is chosen with `#[event(name = \"...\")]`",
        ),
        "skip" | "skip_serializing" | "skip_deserializing" => {
            Some("every event is written and read: remove this, or the variant")
        }
        _ => None,
    })
}

fn check(
    attributes: &[Attribute],
    problem: impl Fn(&str) -> Option<&'static str>,
) -> syn::Result<()> {
    let mut problems = Problems::default();
    for attribute in attributes.iter().filter(|it| it.path().is_ident("serde")) {
        // What does not parse is for serde's own derive to complain about.
        let parse = Punctuated::<Meta, Token![,]>::parse_terminated;
        for meta in attribute.parse_args_with(parse).into_iter().flatten() {
            let key = meta.path().get_ident().map(ToString::to_string);
            if let Some(message) = key.and_then(|key| problem(&key)) {
                problems.at(&meta, message);
            }
        }
    }
    problems.finish()
}
