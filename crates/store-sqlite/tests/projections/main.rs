//! What only this store promises of projections: SQL projections, and how read models live
//! beside the application's own tables.

mod accounts;
mod read_models;
mod sql_live;
mod sql_rebuild;
