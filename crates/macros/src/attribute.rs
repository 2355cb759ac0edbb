//! Reads `#[event(...)]` and its relatives.

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{Attribute, LitStr, Path, Token, meta::ParseNestedMeta, parse_quote};

/// Where the generated code finds the framework: `::annals`, or what `crate = ...` says.
#[derive(Default)]
pub(crate) struct CratePath(Option<Path>);

impl CratePath {
    /// Takes the `crate = ...` that `meta` stands at.
    pub(crate) fn read(&mut self, meta: &ParseNestedMeta) -> syn::Result<()> {
        let value = meta.value()?;
        if value.peek(LitStr) {
            return Err(value.error("write the path without quotes, such as `crate = annals_core`"));
        }
        set_once(meta, &mut self.0, value.call(Path::parse_mod_style)?)
    }

    /// The module that holds everything that generated code refers to.
    pub(crate) fn macro_module(&self) -> Path {
        match &self.0 {
            Some(path) => parse_quote!(#path::__macro),
            None => parse_quote!(::annals::__macro),
        }
    }
}

/// The path, with the compiler's errors about it shown at `place`.
pub(crate) fn shown_at(path: &Path, place: Span) -> TokenStream {
    let tokens = path.to_token_stream().into_iter();
    tokens
        .map(|mut token| {
            token.set_span(token.span().located_at(place));
            token
        })
        .collect()
}

/// The span for generated code whose errors are shown at `place`, but that stays generated code
/// in the eyes of lints.
pub(crate) fn generated_at(place: Span) -> Span {
    Span::call_site().located_at(place)
}

/// Calls `read` with every `key`, `key = value` and `key(...)` in the attributes called `name`.
pub(crate) fn each(
    attributes: &[Attribute],
    name: &str,
    mut read: impl FnMut(&ParseNestedMeta) -> syn::Result<()>,
) -> syn::Result<()> {
    for attribute in attributes.iter().filter(|it| it.path().is_ident(name)) {
        attribute.parse_nested_meta(|meta| read(&meta))?;
    }
    Ok(())
}

/// The text of a `key = "text"`.
pub(crate) fn text(meta: &ParseNestedMeta) -> syn::Result<LitStr> {
    let key = key(meta);
    if !meta.input.peek(Token![=]) {
        return Err(meta.error(format_args!("`{key}` needs a text: `{key} = \"...\"`")));
    }
    let value = meta.value()?;
    if !value.peek(LitStr) {
        return Err(value.error(format_args!("write the value in quotes: `{key} = \"...\"`")));
    }
    value.parse()
}

/// Keeps a value, unless there is one already.
pub(crate) fn set_once<T>(
    meta: &ParseNestedMeta,
    slot: &mut Option<T>,
    value: T,
) -> syn::Result<()> {
    if slot.replace(value).is_some() {
        return Err(meta.error(format_args!("`{}` is given twice", key(meta))));
    }
    Ok(())
}

/// The error for a key that has no meaning in this place; `known` says which ones do.
pub(crate) fn unknown(meta: &ParseNestedMeta, known: &str) -> syn::Error {
    meta.error(format_args!(
        "`{}` has no meaning here; write {known}",
        key(meta)
    ))
}

/// The key that `meta` stands at, as it is written.
pub(crate) fn key(meta: &ParseNestedMeta) -> String {
    let segments = meta.path.segments.iter().map(|it| it.ident.to_string());
    segments.collect::<Vec<_>>().join("::")
}
