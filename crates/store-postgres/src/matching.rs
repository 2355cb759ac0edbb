//! From a [`Query`] to SQL.

use std::fmt::Write as _;

use annals_core::{Query, QueryItem, StoreError, StoreErrorKind};
use sqlx::{Postgres, postgres::PgArguments, query::Query as Statement};

/// The most alternatives and tags in one query: each is a bind, and a part of the statement.
const MAX_TERMS: usize = 500;

/// A value to bind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Bind {
    Number(i64),
    Text(String),
    Texts(Vec<String>),
}

/// A `WHERE` clause in the making, with its binds.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) sql: String,
    pub(crate) binds: Vec<Bind>,
}

impl Filter {
    /// Adds SQL in which every `{}` stands for the next of `binds`.
    pub(crate) fn push(&mut self, sql: &str, binds: impl IntoIterator<Item = Bind>) {
        let mut binds = binds.into_iter();
        for (index, part) in sql.split("{}").enumerate() {
            if index > 0 {
                self.binds.extend(binds.next());
                // Writing to a string never fails.
                write!(self.sql, "${}", self.binds.len()).ok();
            }
            self.sql.push_str(part);
        }
    }
}

/// Binds values to a statement, in order.
pub(crate) fn bound(
    statement: Statement<'static, Postgres, PgArguments>,
    binds: Vec<Bind>,
) -> Statement<'static, Postgres, PgArguments> {
    binds.into_iter().fold(statement, |query, bind| match bind {
        Bind::Number(number) => query.bind(number),
        Bind::Text(text) => query.bind(text),
        Bind::Texts(texts) => query.bind(texts),
    })
}

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
/// When the query has more terms than a statement should have.
pub(crate) fn matching(query: &Query, stretch: Stretch, cut: Cut) -> Result<Filter, StoreError> {
    let terms: usize = query.items.iter().map(|item| 1 + item.tags.len()).sum();
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
            "(SELECT t.position FROM annals.event_tags AS t WHERE t.tag = {} \
             AND t.position >= {} AND t.position <= {}",
            [
                text(first),
                Bind::Number(stretch.first),
                Bind::Number(stretch.last),
            ],
        );
        for tag in others {
            filter.push(
                " AND EXISTS (SELECT FROM annals.event_tags AS o WHERE o.tag = {} \
                 AND o.position = t.position)",
                [text(tag)],
            );
        }
        if !item.types.is_empty() || !item.categories.is_empty() {
            filter.push(
                " AND EXISTS (SELECT FROM annals.events AS x WHERE x.position = t.position",
                [],
            );
            names(filter, "x", item);
            filter.push(")", []);
        }
        filter.push(
            &format!(" ORDER BY t.position {} LIMIT {{}})", cut.order),
            [Bind::Number(cut.limit)],
        );
    }
    filter.push(")", []);
}

/// Looks at every event of the stretch.
fn scan(filter: &mut Filter, query: &Query, stretch: Stretch) {
    filter.push(
        "e.position >= {} AND e.position <= {}",
        [Bind::Number(stretch.first), Bind::Number(stretch.last)],
    );
    if query.items.is_empty() {
        return;
    }
    filter.push(" AND (", []);
    for (index, item) in query.items.iter().enumerate() {
        filter.push(if index > 0 { " OR (TRUE" } else { "(TRUE" }, []);
        names(filter, "e", item);
        for tag in &item.tags {
            filter.push(
                " AND EXISTS (SELECT FROM annals.event_tags AS t WHERE t.tag = {} \
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
        filter.push(
            &format!(" AND {table}.type = ANY ({{}})"),
            [texts(&item.types)],
        );
    }
    if !item.categories.is_empty() {
        filter.push(
            &format!(" AND split_part({table}.stream, '-', 1) = ANY ({{}})"),
            [texts(&item.categories)],
        );
    }
}

fn text(name: &impl AsRef<str>) -> Bind {
    Bind::Text(name.as_ref().to_owned())
}

fn texts(names: &[impl AsRef<str>]) -> Bind {
    Bind::Texts(names.iter().map(|name| name.as_ref().to_owned()).collect())
}
