//! Derives of the Annals event-sourcing framework; use them through the `annals` crate.
//!
//! What each derive generates is laid down by the trait of the same name, where it is documented.
//! The output names nothing but `<crate>::__macro`, so it works whatever the user has imported.

mod attribute;
mod event;
mod event_set;
mod id;
mod name;
mod problems;
mod read_model;
mod shape;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Derives the trait `Event` (and `EventSet`) for an enum with a variant per event type.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    expand(input, event::expand)
}

/// Derives the trait `EventSet` for an enum whose variants each wrap another set of events.
#[proc_macro_derive(EventSet, attributes(event_set))]
pub fn event_set(input: TokenStream) -> TokenStream {
    expand(input, event_set::expand)
}

/// Derives the trait `Id`, text conversions and serde for a newtype.
#[proc_macro_derive(Id, attributes(id))]
pub fn id(input: TokenStream) -> TokenStream {
    expand(input, id::expand)
}

/// Derives the trait `ReadModel` for a struct whose fields are the columns of a table.
#[proc_macro_derive(ReadModel, attributes(read_model, key))]
pub fn read_model(input: TokenStream) -> TokenStream {
    expand(input, read_model::expand)
}

fn expand(
    input: TokenStream,
    derive: fn(DeriveInput) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    derive(input)
        .unwrap_or_else(|problems| problems.to_compile_error())
        .into()
}
