//! One variant of an event enum: its names, versions and tags.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Attribute, Field, Ident, Index, LitInt, LitStr, Member, Path, Token, Type,
    meta::ParseNestedMeta, parenthesized, parse::ParseStream, punctuated::Punctuated,
    spanned::Spanned,
};

use super::serde_rules;
use crate::{
    attribute,
    name::{self, MAX_NAME_BYTES},
    problems::Problems,
    shape,
};

const KNOWN_ON_VARIANT: &str =
    "`name = \"...\"`, `formerly = \"...\"`, or `version = N, upcast(...)`";
const KNOWN_ON_FIELD: &str = "`tag` or `tag = \"...\"`";

pub(crate) struct Variant<'a> {
    pub(crate) ident: &'a Ident,
    name: Name,
    formerly: Vec<Name>,
    version: u32,
    upcasters: Vec<Path>,
    tags: Vec<TaggedField<'a>>,
}

/// A wire name and the tokens that it comes from.
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) place: TokenStream,
}

struct TaggedField<'a> {
    member: Member,
    key: String,
    ty: &'a Type,
}

#[derive(Default)]
struct Attributes {
    name: Option<LitStr>,
    formerly: Vec<LitStr>,
    version: Option<LitInt>,
    upcasters: Option<Punctuated<Path, Token![,]>>,
}

impl<'a> Variant<'a> {
    /// Reads a variant; without a `category` the enum is wrong anyway, and the name does not matter.
    pub(crate) fn read(variant: &'a syn::Variant, category: Option<&str>) -> syn::Result<Self> {
        let mut problems = Problems::default();
        problems.note(serde_rules::check_variant(&variant.attrs));
        let attributes = problems.note(Attributes::read(&variant.attrs));
        let fields = variant.fields.iter().enumerate();
        let tags: Vec<_> = fields
            .filter_map(|(index, field)| problems.note(read_field(index, field))?)
            .collect();
        let attributes = attributes.unwrap_or_default();
        let version = problems.note(attributes.version(&variant.ident));
        problems.finish()?;
        Ok(Self {
            ident: &variant.ident,
            name: attributes.wire_name(&variant.ident, category.unwrap_or_default()),
            formerly: attributes.formerly.iter().map(Name::written).collect(),
            version: version.unwrap_or(1),
            upcasters: attributes.upcasters.into_iter().flatten().collect(),
            tags,
        })
    }

    /// Today's wire name and the older ones.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Name> {
        std::iter::once(&self.name).chain(&self.formerly)
    }

    /// The `EventSchema` expression.
    pub(crate) fn schema(&self, module: &Path) -> TokenStream {
        let Self {
            version, upcasters, ..
        } = self;
        let name = &self.name.text;
        let formerly = self.formerly.iter().map(|name| &name.text);
        let variant = name::plain(self.ident);
        quote! {
            #module::EventSchema {
                name: #name,
                formerly: &[#(#formerly),*],
                variant: #variant,
                version: #version,
                upcasters: &[#(#upcasters),*],
            }
        }
    }

    /// The match arm that makes the variant's tags, when it has any.
    pub(crate) fn tags(&self, module: &Path) -> Option<TokenStream> {
        if self.tags.is_empty() {
            return None;
        }
        let ident = self.ident;
        let members = self.tags.iter().map(|field| &field.member);
        let values: Vec<_> = (0..self.tags.len())
            .map(|i| format_ident!("value_{i}"))
            .collect();
        let pushes = self.tags.iter().zip(&values).map(|(field, value)| {
            let key = &field.key;
            let tag = |value| {
                let place = field.ty.span();
                let module = attribute::shown_at(module, place);
                let place = attribute::generated_at(place);
                quote_spanned! {place=> tags.push(#module::Tag::new(#key, #value)?); }
            };
            if shape::is_called(field.ty, "Option") {
                let push = tag(quote!(value));
                quote!(if let #module::std::option::Option::Some(value) = #value { #push })
            } else {
                tag(value.to_token_stream())
            }
        });
        Some(quote! {
            Self::#ident { #(#members: #values,)* .. } => {
                let mut tags = #module::std::vec::Vec::new();
                #(#pushes)*
                #module::std::result::Result::Ok(tags)
            }
        })
    }
}

impl Name {
    fn written(name: &LitStr) -> Self {
        Self {
            text: name.value(),
            place: name.to_token_stream(),
        }
    }
}

impl Attributes {
    fn read(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut read = Self::default();
        attribute::each(attributes, "event", |meta| read.key(meta))?;
        for name in read.name.iter().chain(&read.formerly) {
            name::check_wire_name(name)?;
        }
        Ok(read)
    }

    fn key(&mut self, meta: &ParseNestedMeta) -> syn::Result<()> {
        if meta.path.is_ident("name") {
            return attribute::set_once(meta, &mut self.name, attribute::text(meta)?);
        }
        if meta.path.is_ident("formerly") {
            self.formerly.push(attribute::text(meta)?);
            return Ok(());
        }
        if meta.path.is_ident("version") {
            let value = meta.value()?;
            if !value.peek(LitInt) {
                return Err(value.error("write a number: `version = 2`"));
            }
            return attribute::set_once(meta, &mut self.version, value.parse()?);
        }
        if meta.path.is_ident("upcast") {
            if !meta.input.peek(syn::token::Paren) {
                return Err(
                    meta.error("write the functions in parentheses: `upcast(add_currency)`")
                );
            }
            let functions;
            parenthesized!(functions in meta.input);
            let functions = functions.parse_terminated(function, Token![,])?;
            return attribute::set_once(meta, &mut self.upcasters, functions);
        }
        if meta.path.is_ident("tag") {
            return Err(meta.error("`tag` belongs to a field of the variant"));
        }
        if meta.path.is_ident("category") || meta.path.is_ident("crate") {
            let key = attribute::key(meta);
            return Err(meta.error(format_args!("`{key}` belongs to the enum")));
        }
        Err(attribute::unknown(meta, KNOWN_ON_VARIANT))
    }

    fn wire_name(&self, ident: &Ident, category: &str) -> Name {
        self.name.as_ref().map_or_else(
            || Name {
                text: format!("{category}.{}", name::snake_case(&name::plain(ident))),
                place: ident.to_token_stream(),
            },
            Name::written,
        )
    }

    /// Today's schema version, for which there has to be an upcaster from each earlier one.
    fn version(&self, ident: &Ident) -> syn::Result<u32> {
        let found = self.upcasters.as_ref().map_or(0, Punctuated::len);
        let Some(written) = &self.version else {
            return match &self.upcasters {
                None => Ok(1),
                Some(functions) => {
                    let message = format!(
                        "`upcast` needs the version that it leads to: `version = {}, upcast(...)`",
                        found + 1
                    );
                    Err(spanned_or(functions, ident, message))
                }
            };
        };
        let version: u32 = written.base10_parse()?;
        let Some(wanted) = version.checked_sub(1) else {
            let message = "versions start at 1, which is also the version when none is written";
            return Err(syn::Error::new_spanned(written, message));
        };
        if usize::try_from(wanted).is_ok_and(|wanted| wanted == found) {
            return Ok(version);
        }
        let message = format!(
            "version {version} needs {wanted} {}, one for each step up from version 1, \
             but there {}: write `version = {version}, upcast({})`",
            if wanted == 1 { "upcaster" } else { "upcasters" },
            match found {
                0 => "is none".to_owned(),
                1 => "is 1".to_owned(),
                found => format!("are {found}"),
            },
            example_functions(wanted),
        );
        match &self.upcasters {
            Some(functions) => Err(spanned_or(functions, ident, message)),
            None => Err(syn::Error::new_spanned(written, message)),
        }
    }
}

/// The path of an upcaster.
fn function(input: ParseStream) -> syn::Result<Path> {
    input.call(Path::parse_mod_style).map_err(|problem| {
        let message =
            "write the name of a function, `fn(&mut serde_json::Value) -> Result<(), UpcastError>`";
        syn::Error::new(problem.span(), message)
    })
}

fn read_field(index: usize, field: &Field) -> syn::Result<Option<TaggedField<'_>>> {
    let mut key: Option<String> = None;
    attribute::each(&field.attrs, "event", |meta| {
        if !meta.path.is_ident("tag") {
            return Err(attribute::unknown(meta, KNOWN_ON_FIELD));
        }
        let text = if meta.input.peek(Token![=]) {
            let written = attribute::text(meta)?;
            check_tag_key(&written)?;
            written.value()
        } else if let Some(ident) = &field.ident {
            name::plain(ident)
        } else {
            return Err(meta.error("a field without a name needs a key: `tag = \"owner\"`"));
        };
        attribute::set_once(meta, &mut key, text)
    })?;
    let member = field
        .ident
        .clone()
        .map_or_else(|| Member::Unnamed(Index::from(index)), Member::Named);
    Ok(key.map(|key| TaggedField {
        member,
        key,
        ty: &field.ty,
    }))
}

fn check_tag_key(key: &LitStr) -> syn::Result<()> {
    let text = key.value();
    let fits = !text.is_empty() && text.len() < MAX_NAME_BYTES;
    if fits && !text.contains(':') && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let message = "a tag's key is a short text without `:` and control characters";
    Err(syn::Error::new_spanned(key, message))
}

/// An error at `tokens`, or at `ident` when there are none.
fn spanned_or(tokens: &impl ToTokens, ident: &Ident, message: String) -> syn::Error {
    let tokens = tokens.to_token_stream();
    if tokens.is_empty() {
        syn::Error::new_spanned(ident, message)
    } else {
        syn::Error::new_spanned(tokens, message)
    }
}

fn example_functions(count: u32) -> String {
    match count {
        0 => String::new(),
        1 => "from_1".to_owned(),
        2 => "from_1, from_2".to_owned(),
        last => format!("from_1, ..., from_{last}"),
    }
}
