//! `#[derive(Id)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Fields, Ident, Path, Type};

use crate::{
    attribute::{self, CratePath},
    name,
    problems::Problems,
    shape,
};

pub(crate) fn expand(input: DeriveInput) -> syn::Result<TokenStream> {
    let instead = shape::example("write `struct {}(String);`", &input.ident);
    let fields = shape::fields(&input, "Id", &instead)?;
    let mut problems = Problems::default();
    let mut crate_path = CratePath::default();
    problems.note(attribute::each(&input.attrs, "id", |meta| {
        if meta.path.is_ident("crate") {
            return crate_path.read(meta);
        }
        Err(attribute::unknown(meta, "`crate = path`"))
    }));
    let inner = problems.note(inner_type(fields, &input.ident, &instead));
    problems.finish()?;
    let module = crate_path.macro_module();
    Ok(inner.map_or_else(TokenStream::new, |inner| {
        generate(&input.ident, inner, &module)
    }))
}

fn inner_type<'a>(fields: &'a Fields, ident: &Ident, instead: &str) -> syn::Result<&'a Type> {
    match fields {
        Fields::Unnamed(fields) if fields.unnamed.len() == 1 => {
            fields.unnamed.iter().map(|field| &field.ty).next()
        }
        _ => None,
    }
    .ok_or_else(|| {
        let message = format!("an id wraps one value; {instead}");
        match fields {
            Fields::Unit => syn::Error::new_spanned(ident, message),
            _ => syn::Error::new_spanned(fields, message),
        }
    })
}

fn generate(ident: &Ident, inner: &Type, module: &Path) -> TokenStream {
    let kind = name::plain(ident);
    let (to_text, as_ref) = if shape::is_called(inner, "String") {
        let as_ref = quote! {
            #[automatically_derived]
            impl #module::std::convert::AsRef<str> for #ident {
                fn as_ref(&self) -> &str {
                    &self.0
                }
            }
        };
        let to_text = quote!(#module::std::borrow::Cow::Borrowed(self.0.as_str()));
        (to_text, as_ref)
    } else {
        let to_string = quote!(<#inner as #module::IdValue>::to_text(&self.0));
        let to_text = quote!(#module::std::borrow::Cow::Owned(#to_string));
        (to_text, TokenStream::new())
    };
    let text_forms = text_forms(ident, module);
    let column = column(ident, module);
    quote! {
        #[automatically_derived]
        impl #module::Id for #ident {
            fn to_text(&self) -> #module::std::borrow::Cow<'_, str> {
                #to_text
            }

            fn from_text(
                text: &str,
            ) -> #module::std::result::Result<Self, #module::InvalidId> {
                <#inner as #module::IdValue>::from_text(#kind, text).map(Self)
            }
        }

        #text_forms
        #column
        #as_ref
    }
}

fn text_forms(ident: &Ident, module: &Path) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #module::std::fmt::Display for #ident {
            fn fmt(
                &self,
                f: &mut #module::std::fmt::Formatter<'_>,
            ) -> #module::std::fmt::Result {
                f.pad(&#module::Id::to_text(self))
            }
        }

        #[automatically_derived]
        impl #module::std::str::FromStr for #ident {
            type Err = #module::InvalidId;

            fn from_str(text: &str) -> #module::std::result::Result<Self, Self::Err> {
                #module::Id::from_text(text)
            }
        }

        #[automatically_derived]
        impl #module::serde::Serialize for #ident {
            fn serialize<S: #module::serde::Serializer>(
                &self,
                serializer: S,
            ) -> #module::std::result::Result<S::Ok, S::Error> {
                #module::serialize_id(self, serializer)
            }
        }

        #[automatically_derived]
        impl<'de> #module::serde::Deserialize<'de> for #ident {
            fn deserialize<D: #module::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> #module::std::result::Result<Self, D::Error> {
                #module::deserialize_id(deserializer)
            }
        }
    }
}

fn column(ident: &Ident, module: &Path) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #module::ColumnValue for #ident {
            const TYPE: #module::ColumnType = #module::ColumnType::Text;

            fn to_value(&self) -> #module::Value {
                #module::id_to_value(self)
            }

            fn from_value(
                value: #module::Value,
            ) -> #module::std::result::Result<Self, #module::RowError> {
                #module::id_from_value(value)
            }
        }
    }
}
