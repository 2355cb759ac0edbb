//! `#[derive(EventSet)]`.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{DeriveInput, Fields, Ident, Path, Type, Variant};

use crate::{
    attribute::{self, CratePath},
    problems::Problems,
    shape,
};

const INSTEAD: &str = "write a variant for each set of events: `enum BankEvent { Account(AccountEvent), Transfer(TransferEvent) }`";

struct Member<'a> {
    variant: &'a Ident,
    inner: &'a Type,
}

pub(crate) fn expand(input: DeriveInput) -> syn::Result<TokenStream> {
    let variants = shape::variants(&input, "EventSet", INSTEAD)?;
    let mut problems = Problems::default();
    let mut crate_path = CratePath::default();
    problems.note(attribute::each(&input.attrs, "event_set", |meta| {
        if meta.path.is_ident("crate") {
            return crate_path.read(meta);
        }
        Err(attribute::unknown(meta, "`crate = path`"))
    }));
    let mut members: Vec<Member> = Vec::new();
    for variant in variants {
        let Some(member) = problems.note(read_member(variant)) else {
            continue;
        };
        let inner = member.inner.to_token_stream().to_string();
        if let Some(earlier) = members
            .iter()
            .find(|it| it.inner.to_token_stream().to_string() == inner)
        {
            let message = format!("`{}` wraps this set already", earlier.variant);
            problems.at(member.inner, message);
        }
        members.push(member);
    }
    problems.finish()?;
    Ok(generate(&input.ident, &members, &crate_path.macro_module()))
}

fn read_member(variant: &Variant) -> syn::Result<Member<'_>> {
    attribute::each(&variant.attrs, "event_set", |meta| {
        Err(meta.error("variants take no attribute; `#[event_set(crate = path)]` goes on the enum"))
    })?;
    match &variant.fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            let inner = fields.unnamed.iter().map(|field| &field.ty).next();
            inner.map(|inner| Member {
                variant: &variant.ident,
                inner,
            })
        }
        _ => None,
    }
    .ok_or_else(|| {
        let ident = &variant.ident;
        let message = format!(
            "a variant of a set wraps one type of events: `{ident}({ident}Event)`; \
             to declare new events, derive `Event`"
        );
        syn::Error::new_spanned(variant, message)
    })
}

fn generate(ident: &Ident, members: &[Member], module: &Path) -> TokenStream {
    let inner: Vec<_> = members.iter().map(|member| member.inner).collect();
    let variant: Vec<_> = members.iter().map(|member| member.variant).collect();
    quote! {
        #[automatically_derived]
        impl #module::EventSet for #ident {
            fn schemas() -> #module::std::vec::Vec<&'static #module::EventSchema> {
                let mut schemas = #module::std::vec::Vec::new();
                #(schemas.extend(<#inner as #module::EventSet>::schemas());)*
                schemas
            }

            fn categories() -> #module::std::vec::Vec<&'static str> {
                let mut categories = #module::std::vec::Vec::new();
                #(categories.extend(<#inner as #module::EventSet>::categories());)*
                categories
            }

            fn decode(
                event_type: &str,
                version: u32,
                payload: &[u8],
            ) -> #module::std::result::Result<
                #module::std::option::Option<Self>,
                #module::DecodeError,
            > {
                #(
                    if let #module::std::option::Option::Some(event) =
                        <#inner as #module::EventSet>::decode(event_type, version, payload)?
                    {
                        return #module::std::result::Result::Ok(
                            #module::std::option::Option::Some(Self::#variant(event)),
                        );
                    }
                )*
                #module::std::result::Result::Ok(#module::std::option::Option::None)
            }
        }

        #(
            #[automatically_derived]
            impl #module::std::convert::From<#inner> for #ident {
                fn from(event: #inner) -> Self {
                    Self::#variant(event)
                }
            }
        )*
    }
}
