//! `#[derive(ReadModel)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::{DeriveInput, Field, Fields, Ident, LitStr, Meta, Path, Type, spanned::Spanned};

use crate::{
    attribute::{self, CratePath},
    name::{self, MAX_TABLE_BYTES},
    problems::Problems,
    shape,
};

const KNOWN: &str = "`table = \"...\"` or `crate = path`";

struct Model<'a> {
    ident: &'a Ident,
    table: String,
    columns: Vec<Column<'a>>,
    module: Path,
}

struct Column<'a> {
    field: &'a Ident,
    name: String,
    ty: &'a Type,
    key: bool,
}

pub(crate) fn expand(input: DeriveInput) -> syn::Result<TokenStream> {
    let instead = shape::example("write `struct {} { #[key] id: String, ... }`", &input.ident);
    let fields = shape::fields(&input, "ReadModel", &instead)?;
    let Fields::Named(fields) = fields else {
        let message = format!("the fields of a read model need names, for its columns; {instead}");
        return Err(syn::Error::new_spanned(&input.ident, message));
    };
    let mut problems = Problems::default();
    let mut crate_path = CratePath::default();
    let mut table = None;
    problems.note(attribute::each(&input.attrs, "read_model", |meta| {
        if meta.path.is_ident("crate") {
            return crate_path.read(meta);
        }
        if meta.path.is_ident("table") {
            return attribute::set_once(meta, &mut table, attribute::text(meta)?);
        }
        Err(attribute::unknown(meta, KNOWN))
    }));
    let table = problems.note(table_name(&input.ident, table.as_ref()));
    let mut columns: Vec<_> = fields
        .named
        .iter()
        .filter_map(|field| problems.note(read_column(field)?))
        .collect();
    let keyless = columns.len() == fields.named.len() && !columns.iter().any(|column| column.key);
    if keyless {
        let message = format!(
            "`{}` has no key; put `#[key]` on the field that identifies a row",
            input.ident
        );
        problems.at(&input.ident, message);
        // As if another field were one: all that needs a read model would be an error as well.
        let mut fit = columns.iter_mut();
        if let Some(column) = fit.find(|column| !shape::is_called(column.ty, "Option")) {
            column.key = true;
        }
    }
    let mistakes = match problems.finish() {
        Err(mistakes) if keyless => mistakes.into_compile_error(),
        Err(mistakes) => return Err(mistakes),
        Ok(()) => TokenStream::new(),
    };
    let model = Model {
        ident: &input.ident,
        table: table.unwrap_or_default(),
        columns,
        module: crate_path.macro_module(),
    };
    let implementation = model.generate();
    Ok(quote!(#mistakes #implementation))
}

fn table_name(ident: &Ident, given: Option<&LitStr>) -> syn::Result<String> {
    let table = given.map_or_else(|| name::snake_case(&name::plain(ident)), LitStr::value);
    match (name::plain_name_problem(&table, MAX_TABLE_BYTES), given) {
        (None, _) => Ok(table),
        (Some(problem), Some(given)) => {
            let message = format!("the table name {problem}");
            Err(syn::Error::new_spanned(given, message))
        }
        (Some(problem), None) => {
            let message = format!(
                "the table name `{table}` {problem}; choose one with `#[read_model(table = \"...\")]`"
            );
            Err(syn::Error::new_spanned(ident, message))
        }
    }
}

/// `None` for a field without a name, which a struct with named fields does not have.
fn read_column(field: &Field) -> Option<syn::Result<Column<'_>>> {
    let ident = field.ident.as_ref()?;
    Some(check_column(field, ident))
}

fn check_column<'a>(field: &'a Field, ident: &'a Ident) -> syn::Result<Column<'a>> {
    let mut problems = Problems::default();
    problems.note(attribute::each(&field.attrs, "read_model", |meta| {
        Err(meta.error("fields take no `read_model`; a key is marked with `#[key]`"))
    }));
    let mut key = false;
    for attribute in field.attrs.iter().filter(|it| it.path().is_ident("key")) {
        if !matches!(attribute.meta, Meta::Path(_)) {
            problems.at(attribute, "write `#[key]`, without a value");
        }
        if key {
            problems.at(attribute, "`#[key]` is given twice");
        }
        key = true;
    }
    if key && shape::is_called(&field.ty, "Option") {
        let message = "a key can't be an `Option`: every row needs one; use the type inside";
        problems.at(&field.ty, message);
    }
    let name = name::plain(ident);
    if let Some(problem) = name::plain_name_problem(&name, MAX_TABLE_BYTES) {
        let message = format!("the field is a column's name, which {problem}");
        problems.at(ident, message);
    }
    problems.finish()?;
    Ok(Column {
        field: ident,
        name,
        ty: &field.ty,
        key,
    })
}

impl Model<'_> {
    fn generate(&self) -> TokenStream {
        let Self {
            ident,
            table,
            module,
            ..
        } = self;
        let columns = self.columns.iter().map(|column| column.spec(module));
        let not_null = self.keys().map(|column| column.not_null(module));
        let key = self.key();
        let read_row = self.read_row();
        let fields = self.columns.iter().map(|column| column.field);
        let types = self.columns.iter().map(|column| column.ty);
        quote! {
            #(#not_null)*

            #[automatically_derived]
            impl #module::ReadModel for #ident {
                #key

                const TABLE: #module::TableSpec = #module::TableSpec {
                    name: #table,
                    columns: &[#(#columns),*],
                };

                fn to_row(&self) -> #module::Row {
                    #module::std::vec![
                        #(<#types as #module::ColumnValue>::to_value(&self.#fields)),*
                    ]
                }

                #read_row
            }
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Column<'_>> {
        self.columns.iter().filter(|column| column.key)
    }

    /// The key's type and the two functions about it.
    fn key(&self) -> TokenStream {
        let module = &self.module;
        let fields: Vec<_> = self.keys().map(|column| column.field).collect();
        let types: Vec<_> = self.keys().map(|column| column.ty).collect();
        let parts: Vec<_> = (0..fields.len())
            .map(|i| format_ident!("part_{i}"))
            .collect();
        // One key stands for itself; several make a tuple.
        let (key_type, key, pattern) = match (fields.as_slice(), types.as_slice()) {
            ([field], [ty]) => (
                quote!(#ty),
                quote!(#module::std::clone::Clone::clone(&self.#field)),
                quote!(#(#parts)*),
            ),
            _ => (
                quote!((#(#types),*)),
                quote!((#(#module::std::clone::Clone::clone(&self.#fields)),*)),
                quote!((#(#parts),*)),
            ),
        };
        quote! {
            type Key = #key_type;

            fn key(&self) -> Self::Key {
                #key
            }

            fn key_values(key: &Self::Key) -> #module::std::vec::Vec<#module::Value> {
                let #pattern = key;
                #module::std::vec![#(<#types as #module::ColumnValue>::to_value(#parts)),*]
            }
        }
    }

    fn read_row(&self) -> TokenStream {
        let Self { table, module, .. } = self;
        let width = self.columns.len();
        let fields: Vec<_> = self.columns.iter().map(|column| column.field).collect();
        let types = self.columns.iter().map(|column| column.ty);
        let names = self.columns.iter().map(|column| &column.name);
        let values: Vec<_> = (0..width).map(|i| format_ident!("value_{i}")).collect();
        quote! {
            fn from_row(
                row: #module::Row,
            ) -> #module::std::result::Result<Self, #module::RowError> {
                let [#(#values),*] = <[#module::Value; #width]>::try_from(row)
                    .map_err(|row| #module::RowError::wrong_width(#table, #width, row.len()))?;
                #module::std::result::Result::Ok(Self {
                    #(
                        #fields: <#types as #module::ColumnValue>::from_value(#values)
                            .map_err(|error| error.in_column(#names))?,
                    )*
                })
            }
        }
    }
}

impl Column<'_> {
    fn spec(&self, module: &Path) -> TokenStream {
        let Self { name, ty, key, .. } = self;
        quote! {
            #module::Column {
                name: #name,
                column_type: <#ty as #module::ColumnValue>::TYPE,
                nullable: <#ty as #module::ColumnValue>::NULLABLE,
                key: #key,
            }
        }
    }

    /// Refuses at compile time what the syntax does not show: an alias of an `Option`.
    fn not_null(&self, module: &Path) -> TokenStream {
        let ty = self.ty;
        let module = attribute::shown_at(module, ty.span());
        quote_spanned! {attribute::generated_at(ty.span())=>
            const _: () = #module::std::assert!(
                !<#ty as #module::ColumnValue>::NULLABLE,
                "a key column can't be empty: use a type that always has a value",
            );
        }
    }
}
