//! `#[derive(Event)]`.

mod serde_rules;
mod variant;

use std::collections::HashMap;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{DeriveInput, Ident, LitStr, Path};

use crate::{
    attribute::{self, CratePath},
    name::{self, MAX_CATEGORY_BYTES},
    problems::Problems,
    shape,
};
use variant::Variant;

const KNOWN: &str = "`category = \"...\"` or `crate = path`";

struct Container {
    category: LitStr,
    module: Path,
}

pub(crate) fn expand(input: DeriveInput) -> syn::Result<TokenStream> {
    let instead = shape::example(
        "write `enum {} { Opened, Closed }`, with a variant for each thing that can happen",
        &input.ident,
    );
    let variants = shape::variants(&input, "Event", &instead)?;
    let mut problems = Problems::default();
    problems.note(serde_rules::check_enum(&input.attrs));
    let container = problems.note(read_container(&input));
    let category = container.as_ref().map(|it| it.category.value());
    let variants: Vec<_> = variants
        .into_iter()
        .filter_map(|it| problems.note(Variant::read(it, category.as_deref())))
        .collect();
    refuse_duplicates(&variants, &mut problems);
    problems.finish()?;
    Ok(container.map_or_else(TokenStream::new, |container| {
        generate(&input.ident, &container, &variants)
    }))
}

fn read_container(input: &DeriveInput) -> syn::Result<Container> {
    let mut crate_path = CratePath::default();
    let mut category: Option<LitStr> = None;
    attribute::each(&input.attrs, "event", |meta| {
        if meta.path.is_ident("crate") {
            return crate_path.read(meta);
        }
        if meta.path.is_ident("category") {
            return attribute::set_once(meta, &mut category, attribute::text(meta)?);
        }
        if meta.path.is_ident("name") || meta.path.is_ident("formerly") {
            return Err(meta.error("names belong to variants; the enum has a `category = \"...\"`"));
        }
        Err(attribute::unknown(meta, KNOWN))
    })?;
    let Some(category) = category else {
        let example = name::snake_case(name::plain(&input.ident).trim_end_matches("Event"));
        let message = format!(
            "`{}` has no category; write `#[event(category = \"{example}\")]` above the enum",
            input.ident
        );
        return Err(syn::Error::new_spanned(&input.ident, message));
    };
    if let Some(problem) = name::plain_name_problem(&category.value(), MAX_CATEGORY_BYTES) {
        let message = format!("the category {problem}");
        return Err(syn::Error::new_spanned(&category, message));
    }
    Ok(Container {
        category,
        module: crate_path.macro_module(),
    })
}

fn refuse_duplicates(variants: &[Variant], problems: &mut Problems) {
    let mut owners: HashMap<&str, &Ident> = HashMap::new();
    for variant in variants {
        for name in variant.names() {
            if let Some(earlier) = owners.insert(&name.text, variant.ident) {
                let message = if earlier == variant.ident {
                    format!("`{}` has the name `{}` twice", variant.ident, name.text)
                } else {
                    format!(
                        "the event name `{}` belongs to `{earlier}` already; \
                         choose another with `#[event(name = \"...\")]`",
                        name.text
                    )
                };
                problems.at(&name.place, message);
            }
        }
    }
}

fn generate(ident: &Ident, container: &Container, variants: &[Variant]) -> TokenStream {
    let Container { category, module } = container;
    let schemas = variants.iter().map(|variant| variant.schema(module));
    let schema_arms = variants.iter().enumerate().map(|(index, variant)| {
        let variant = variant.ident;
        quote!(Self::#variant { .. } => &Self::SCHEMAS[#index])
    });
    let tag_arms: Vec<_> = variants
        .iter()
        .filter_map(|variant| variant.tags(module))
        .collect();
    let rest = (tag_arms.len() < variants.len())
        .then(|| quote!(_ => #module::std::result::Result::Ok(#module::std::vec::Vec::new())));
    let stored = stored(ident, module);
    let event_set = event_set(ident, module, &stored);
    quote! {
        #[automatically_derived]
        impl #module::Event for #ident
        where
            #stored
        {
            const CATEGORY: &'static str = #category;

            const SCHEMAS: &'static [#module::EventSchema] = &[#(#schemas),*];

            fn schema(&self) -> &'static #module::EventSchema {
                match self {
                    #(#schema_arms,)*
                }
            }

            fn tags(&self) -> #module::std::result::Result<
                #module::std::vec::Vec<#module::Tag>,
                #module::InvalidName,
            > {
                match self {
                    #(#tag_arms,)*
                    #rest
                }
            }
        }

        #event_set
    }
}

/// The bound that the enum has serde's derives.
///
/// `Event` asks for them anyway, but leaves it to the compiler to say so, once for each item of
/// the trait. With the bound it is said once, in our words.
fn stored(ident: &Ident, module: &Path) -> TokenStream {
    let place = ident.span();
    let module = attribute::shown_at(module, place);
    quote_spanned!(attribute::generated_at(place)=> #ident: #module::SerdePayload)
}

fn event_set(ident: &Ident, module: &Path, stored: &TokenStream) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #module::EventSet for #ident
        where
            #stored
        {
            fn schemas() -> #module::std::vec::Vec<&'static #module::EventSchema> {
                <Self as #module::Event>::SCHEMAS.iter().collect()
            }

            fn categories() -> #module::std::vec::Vec<&'static str> {
                #module::std::vec![<Self as #module::Event>::CATEGORY]
            }

            fn decode(
                event_type: &str,
                version: u32,
                payload: &[u8],
            ) -> #module::std::result::Result<
                #module::std::option::Option<Self>,
                #module::DecodeError,
            > {
                #module::decode_event(event_type, version, payload)
            }
        }
    }
}
