//! Which Rust types a derive takes.

use syn::{Data, DeriveInput, Fields, Ident, Type, Variant};

/// The variants of an enum without generics.
pub(crate) fn variants<'a>(
    input: &'a DeriveInput,
    derive: &str,
    instead: &str,
) -> syn::Result<Vec<&'a Variant>> {
    refuse_generics(input, derive)?;
    match &input.data {
        Data::Enum(data) if data.variants.is_empty() => Err(syn::Error::new_spanned(
            &input.ident,
            format!("`{}` has no variants; {instead}", input.ident),
        )),
        Data::Enum(data) => Ok(data.variants.iter().collect()),
        Data::Struct(_) | Data::Union(_) => Err(syn::Error::new_spanned(
            &input.ident,
            format!("`{derive}` is for enums; {instead}"),
        )),
    }
}

/// The fields of a struct without generics.
pub(crate) fn fields<'a>(
    input: &'a DeriveInput,
    derive: &str,
    instead: &str,
) -> syn::Result<&'a Fields> {
    refuse_generics(input, derive)?;
    match &input.data {
        Data::Struct(data) => Ok(&data.fields),
        Data::Enum(_) | Data::Union(_) => Err(syn::Error::new_spanned(
            &input.ident,
            format!("`{derive}` is for structs; {instead}"),
        )),
    }
}

/// Whether the type is written with this last name, such as `Option` in `std::option::Option<T>`.
pub(crate) fn is_called(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Path(ty) => ty.path.segments.last().is_some_and(|it| it.ident == name),
        Type::Group(ty) => is_called(&ty.elem, name),
        _ => false,
    }
}

/// A text with the type's name in it, for messages.
pub(crate) fn example(pattern: &str, ident: &Ident) -> String {
    pattern.replace("{}", &ident.to_string())
}

fn refuse_generics(input: &DeriveInput, derive: &str) -> syn::Result<()> {
    if input.generics.params.is_empty() {
        return Ok(());
    }
    Err(syn::Error::new_spanned(
        &input.generics,
        format!("`{derive}` can't be derived for a generic type; write the concrete types out"),
    ))
}
