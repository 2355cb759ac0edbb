//! Tables of rows, and changes to them that are not yet made.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

use async_trait::async_trait;

use super::{invalid, key::Key};
use crate::{
    projection_store::Changes,
    projector::RowAccess,
    read_model::{RowError, TableSpec},
    store::StoreError,
    value::{Column, ColumnType, Row, Value},
};

/// New rows, and `None` for rows that go.
pub(super) type Patch = BTreeMap<Key, Option<Row>>;

/// One table; without a spec it is that of a projection which keeps its rows elsewhere.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) spec: Option<TableSpec>,
    pub(super) rows: BTreeMap<Key, Row>,
}

impl Table {
    pub(super) fn new(spec: Option<TableSpec>) -> Self {
        Self {
            spec,
            rows: BTreeMap::new(),
        }
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.spec.is_some_and(|spec| spec.name == name)
    }

    /// Checks that the table looks as the caller believes.
    pub(super) fn expect(&self, spec: &TableSpec) -> Result<(), StoreError> {
        match &self.spec {
            Some(own) if own == spec => Ok(()),
            Some(own) if own.name == spec.name => Err(invalid(format!(
                "use table `{}`: its columns are those of an earlier version; rebuild its projection",
                spec.name
            ))),
            _ => Err(invalid(format!(
                "use table `{}`: it is not this projection's",
                spec.name
            ))),
        }
    }

    pub(super) fn load(&self, keys: &[Vec<Value>]) -> Vec<Row> {
        let row = |key: &Vec<Value>| self.rows.get(&Key(key.clone())).cloned();
        keys.iter().filter_map(row).collect()
    }

    pub(super) fn scan(&self, after: Option<&[Value]>, limit: usize) -> Vec<Row> {
        let after = after.map_or(Unbounded, |key| Excluded(Key(key.to_vec())));
        let rows = self.rows.range((after, Unbounded));
        rows.take(limit).map(|(_, row)| row.clone()).collect()
    }

    /// Checks changes and puts them in the form in which they can be applied.
    pub(super) fn patch(&self, changes: Changes) -> Result<Patch, StoreError> {
        let spec = self
            .spec
            .ok_or_else(|| invalid("write rows: the projection has no table"))?;
        let mut patch: Patch = changes
            .deletes
            .into_iter()
            .map(|key| (Key(key), None))
            .collect();
        for row in changes.upserts {
            check(&spec, &row).map_err(|error| {
                invalid(format!("write a row of `{}`", spec.name)).caused_by(error)
            })?;
            patch.insert(Key(spec.key_of(&row)), Some(row));
        }
        Ok(patch)
    }

    pub(super) fn apply(&mut self, patch: Patch) {
        for (key, row) in patch {
            match row {
                Some(row) => self.rows.insert(key, row),
                None => self.rows.remove(&key),
            };
        }
    }
}

fn check(spec: &TableSpec, row: &Row) -> Result<(), RowError> {
    if row.len() != spec.columns.len() {
        let width = spec.columns.len();
        return Err(RowError::wrong_width(spec.name, width, row.len()));
    }
    let misfit = spec
        .columns
        .iter()
        .zip(row)
        .find(|(column, value)| !fits(column, value));
    misfit.map_or(Ok(()), |(column, value)| {
        let error = RowError::new(format!("{value:?} is not a value of this column"));
        Err(error.in_column(column.name))
    })
}

fn fits(column: &Column, value: &Value) -> bool {
    match value {
        Value::Null => column.nullable,
        Value::Integer(_) => column.column_type == ColumnType::Integer,
        Value::Real(_) => column.column_type == ColumnType::Real,
        Value::Text(_) => column.column_type == ColumnType::Text,
        Value::Blob(_) => column.column_type == ColumnType::Blob,
    }
}

/// A table with changes that are not yet made: what a fold sees and writes.
#[derive(Debug)]
pub(super) struct Staged<'a> {
    table: &'a Table,
    patch: Patch,
}

impl<'a> Staged<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self {
            table,
            patch: Patch::new(),
        }
    }

    pub(super) fn into_patch(self) -> Patch {
        self.patch
    }
}

#[async_trait]
impl RowAccess for Staged<'_> {
    async fn load(&mut self, keys: &[Vec<Value>]) -> Result<Vec<Row>, StoreError> {
        let row = |key: &Vec<Value>| {
            let key = Key(key.clone());
            let staged = self.patch.get(&key);
            staged.map_or_else(|| self.table.rows.get(&key), Option::as_ref)
        };
        Ok(keys.iter().filter_map(row).cloned().collect())
    }

    async fn write(&mut self, changes: Changes) -> Result<(), StoreError> {
        self.patch.extend(self.table.patch(changes)?);
        Ok(())
    }
}
