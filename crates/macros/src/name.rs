//! Names on the wire and in databases, derived from Rust identifiers.

use syn::{Ident, LitStr, ext::IdentExt};

/// The longest category, in bytes; the same as in the core crate.
pub(crate) const MAX_CATEGORY_BYTES: usize = 64;
/// The longest wire name or tag, in bytes; the same as in the core crate.
pub(crate) const MAX_NAME_BYTES: usize = 255;
/// The longest name of a table or column, which leaves room for a store's suffixes.
pub(crate) const MAX_TABLE_BYTES: usize = 48;

/// The identifier without a leading `r#`.
pub(crate) fn plain(ident: &Ident) -> String {
    ident.unraw().to_string()
}

/// `PaidOut` becomes `paid_out`, and `HTTPRequestSent` becomes `http_request_sent`.
pub(crate) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut before: Option<char> = None;
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let starts_word = match before {
            Some('_') | None => false,
            // The last capital of several begins the next word.
            Some(before) if before.is_uppercase() => chars.peek().is_some_and(|c| c.is_lowercase()),
            Some(_) => true,
        };
        if c.is_uppercase() && starts_word {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
        before = Some(c);
    }
    snake
}

/// What keeps `name` from being a category, table or column: `None` when it is fine.
pub(crate) fn plain_name_problem(name: &str, max: usize) -> Option<String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.len() > max {
        return Some(format!("has {} bytes; {max} are allowed", name.len()));
    }
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    (!starts_well || !name.chars().all(allowed)).then(|| {
        "must be lower-case ASCII letters, digits and `_`, starting with a letter".to_owned()
    })
}

/// Checks a wire name that the user wrote.
pub(crate) fn check_wire_name(name: &LitStr) -> syn::Result<()> {
    let text = name.value();
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.len() > MAX_NAME_BYTES {
        format!("has {} bytes; {MAX_NAME_BYTES} are allowed", text.len())
    } else if text.chars().any(char::is_control) {
        "has a control character".to_owned()
    } else {
        return Ok(());
    };
    Err(syn::Error::new_spanned(
        name,
        format!("the event name {problem}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::{plain_name_problem, snake_case};

    #[test]
    fn words_begin_at_capitals_but_abbreviations_stay_whole() {
        let cases = [
            ("Opened", "opened"),
            ("PaidOut", "paid_out"),
            ("HTTPRequestSent", "http_request_sent"),
            ("V2Opened", "v2_opened"),
            ("Opened2", "opened2"),
            ("A", "a"),
            ("ABTest", "ab_test"),
            ("Already_Snake", "already_snake"),
        ];
        for (name, expected) in cases {
            assert_eq!(snake_case(name), expected);
        }
    }

    #[test]
    fn a_table_is_lower_case_and_short() {
        assert_eq!(plain_name_problem("user_balance", 48), None);
        for name in ["", "User", "2nd", "_x", "a-b", "größe"] {
            assert!(plain_name_problem(name, 48).is_some(), "{name}");
        }
        assert!(plain_name_problem(&"a".repeat(49), 48).is_some());
    }
}
