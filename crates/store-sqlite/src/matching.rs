//! From a [`Query`] to SQL.

use annals_core::{Query, QueryItem, StoreError, StoreErrorKind};

use crate::sql::{Bind, Filter};

/// The most names in one query; SQLite limits the depth of expressions and the number of binds.
const MAX_TERMS: usize = 500;

/// A stretch of the log: positions from `first` to `last`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) first: i64,
    pub(crate) last: i64,
}

/// Which way candidates are cut off when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) order: &'static str,
    pub(crate) limit: i64,
}

/// Whether the tag index alone finds the candidates, so that the log needs no scan.
pub(crate) fn by_tags(query: &Query) -> bool {
    !query.items.is_empty() && query.items.iter().all(|item| !item.tags.is_empty())
}

/// The events `e` of a stretch that match.
///
/// # Errors
/// When the query has more names than a statement can hold.
pub(crate) fn matching(query: &Query, stretch: Stretch, cut: Cut) -> Result<Filter, StoreError> {
    let terms: usize = query.items.iter().map(terms).sum();
    if terms > MAX_TERMS {
        let problem = format!("the query has {terms} terms; {MAX_TERMS} are allowed: split it");
        return Err(StoreError::new(StoreErrorKind::Invalid, "read the log").caused_by(problem));
    }
    let mut filter = Filter::default();
    if by_tags(query) {
        candidates(&mut filter, query, stretch, cut);
    } else {
        scan(&mut filter, query, stretch);
    }
    Ok(filter)
}

fn terms(item: &QueryItem) -> usize {
    1 + item.categories.len() + item.types.len() + item.tags.len()
}

/// Looks up each item's tags in the index, and stops at as many as can be needed.
fn candidates(filter: &mut Filter, query: &Query, stretch: Stretch, cut: Cut) {
    filter.push("e.position IN (", []);
    for (index, item) in query.items.iter().enumerate() {
        let Some((first, others)) = item.tags.split_first() else {
            continue;
        };
        if index > 0 {
            filter.push(" UNION ", []);
        }
        filter.push(
            "SELECT * FROM (SELECT t.position FROM event_tags AS t WHERE t.tag = {} \
             AND t.position >= {} AND t.position <= {}",
            [
                text(first),
                Bind::Integer(stretch.first),
                Bind::Integer(stretch.last),
            ],
        );
        for tag in others {
            filter.push(
                " AND EXISTS (SELECT 1 FROM event_tags AS o WHERE o.tag = {} \
                 AND o.position = t.position)",
                [text(tag)],
            );
        }
        if !item.types.is_empty() || !item.categories.is_empty() {
            filter.push(
                " AND EXISTS (SELECT 1 FROM events AS x WHERE x.position = t.position",
                [],
            );
            names(filter, "x", item);
            filter.push(")", []);
        }
        filter.push(
            &format!(" ORDER BY t.position {} LIMIT {{}} + 0)", cut.order),
            [Bind::Integer(cut.limit)],
        );
    }
    filter.push(")", []);
}

/// Looks at every event of the stretch.
fn scan(filter: &mut Filter, query: &Query, stretch: Stretch) {
    filter.push(
        "e.position >= {} AND e.position <= {}",
        [Bind::Integer(stretch.first), Bind::Integer(stretch.last)],
    );
    if query.items.is_empty() {
        return;
    }
    filter.push(" AND (", []);
    for (index, item) in query.items.iter().enumerate() {
        filter.push(if index > 0 { " OR (1" } else { "(1" }, []);
        names(filter, "e", item);
        for tag in &item.tags {
            filter.push(
                " AND EXISTS (SELECT 1 FROM event_tags AS t WHERE t.tag = {} \
                 AND t.position = e.position)",
                [text(tag)],
            );
        }
        filter.push(")", []);
    }
    filter.push(")", []);
}

/// One of the types and one of the categories.
fn names(filter: &mut Filter, table: &str, item: &QueryItem) {
    if !item.types.is_empty() {
        let list = vec!["{}"; item.types.len()].join(", ");
        filter.push(
            &format!(" AND {table}.type IN ({list})"),
            item.types.iter().map(text),
        );
    }
    if !item.categories.is_empty() {
        // A category's streams lie between `name-` and `name.`, the next character.
        let one = format!("({table}.stream >= {{}} AND {table}.stream < {{}})");
        let any = vec![one; item.categories.len()].join(" OR ");
        let bounds = item.categories.iter().flat_map(|name| {
            [
                Bind::Text(format!("{name}-")),
                Bind::Text(format!("{name}.")),
            ]
        });
        filter.push(&format!(" AND ({any})"), bounds);
    }
}

fn text(name: &impl AsRef<str>) -> Bind {
    Bind::Text(name.as_ref().to_owned())
}
