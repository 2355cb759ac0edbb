//! The store under test: how it is created, and what is found in it after a crash.

use std::{
    collections::{BTreeMap, HashMap},
    error::Error,
    path::Path,
    sync::{Arc, Mutex},
};

use annals_core::{
    EventStore as _, LogRead, Position, ProjectionStore as _, ReadModel as _, Target,
};
use annals_sqlite::{SqliteOptions, SqliteStore, Synchronous};
use sqlx::{
    Connection as _, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use uuid::Uuid;

use crate::{
    history::{Found, FoundEvent, History, Verdict},
    tally::{self, Tally},
};

/// The name of the database file in the store's directory.
const DATABASE: &str = "events.db";

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// The store's default.
    Full,
    /// What the store's options call a setting for tests and measurements.
    Normal,
}

/// Creates a store in an empty directory, with its default settings but for the durability.
pub(crate) async fn create(
    directory: &Path,
    durability: Durability,
) -> Result<SqliteStore, String> {
    let mut options = SqliteOptions::default();
    if durability == Durability::Normal {
        options.synchronous = Synchronous::Normal;
    }
    let store = open(directory, options).await?;
    store
        .register(&tally::spec(), chrono::Utc::now())
        .await
        .map_err(|e| describe(&e))?;
    Ok(store)
}

async fn open(directory: &Path, options: SqliteOptions) -> Result<SqliteStore, String> {
    let file = directory.join(DATABASE);
    let location = file.to_str().ok_or("the directory is not UTF-8")?;
    SqliteStore::open(location, options)
        .await
        .map_err(|e| describe(&e))
}

/// Writes the write-ahead log back from a connection that is none of the store's.
pub(crate) async fn empty_wal(directory: &Path) -> Result<(), String> {
    let mut connection = connect(directory).await?;
    sqlx::query("PRAGMA wal_checkpoint(PASSIVE)")
        .execute(&mut connection)
        .await
        .map_err(|e| describe(&e))?;
    connection.close().await.map_err(|e| describe(&e))
}

async fn connect(directory: &Path) -> Result<SqliteConnection, String> {
    let options = SqliteConnectOptions::new().filename(directory.join(DATABASE));
    SqliteConnection::connect_with(&options)
        .await
        .map_err(|e| describe(&e))
}

/// Recovers what a crash left in the directory with bare SQLite, reads all of it, and has it
/// examined unless the same was found before. A store that was not yet created is empty.
pub(crate) async fn recover(
    directory: &Path,
    examine: impl Fn(&Found) -> Verdict,
    seen: &Seen,
) -> Result<(Arc<Found>, Verdict), String> {
    if !directory.join(DATABASE).exists() {
        let found = Found::default();
        let verdict = examine(&found);
        return Ok((Arc::new(found), verdict));
    }
    let mut connection = connect(directory).await?;
    let text = as_text(&mut connection).await?;
    let known = seen.lock().map_err(|e| describe(&e))?.get(&text).cloned();
    let known = match known {
        Some(known) => known,
        None => {
            let found = read_bare(&mut connection).await?;
            let verdict = examine(&found);
            let new = (Arc::new(found), verdict);
            seen.lock()
                .map_err(|e| describe(&e))?
                .insert(text, new.clone());
            new
        }
    };
    connection.close().await.map_err(|e| describe(&e))?;
    Ok(known)
}

/// What was found in earlier images, by its text: most crash points lie within some commit, so
/// thousands of images hold one of a few hundred states.
pub(crate) type Seen = Mutex<HashMap<Vec<String>, (Arc<Found>, Verdict)>>;

/// The tables that exist, each with every value of every row.
async fn as_text(connection: &mut SqliteConnection) -> Result<Vec<String>, String> {
    let tables = rows(connection, "SELECT name FROM sqlite_schema ORDER BY name").await?;
    let mut text: Vec<String> = tables
        .iter()
        .map(|row| get(row, 0))
        .collect::<Result<_, _>>()?;
    let statements = [
        (
            "events",
            "SELECT group_concat(quote(position) || quote(stream) || quote(version) || quote(id)
                || quote(tags) || quote(payload)) FROM (SELECT * FROM events ORDER BY position)",
        ),
        (
            "appends",
            "SELECT group_concat(quote(id) || quote(position)) FROM appends",
        ),
        (
            "annals_projections",
            "SELECT group_concat(quote(position)) FROM annals_projections",
        ),
        (
            "tally",
            "SELECT group_concat(quote(stream) || quote(events) || quote(bytes) || quote(position))
                FROM (SELECT * FROM tally ORDER BY stream)",
        ),
    ];
    for (table, statement) in statements {
        if text.iter().any(|name| name == table) {
            for row in rows(connection, statement).await? {
                text.push(get::<Option<String>>(&row, 0)?.unwrap_or_default());
            }
        }
    }
    Ok(text)
}

async fn read_bare(connection: &mut SqliteConnection) -> Result<Found, String> {
    let mut found = Found::default();
    let tables = rows(connection, "SELECT name FROM sqlite_schema").await?;
    let tables: Vec<String> = tables
        .iter()
        .map(|row| get(row, 0))
        .collect::<Result<_, _>>()?;
    let has = |table: &str| tables.iter().any(|name| name == table);
    if has("events") {
        let all =
            "SELECT position, stream, version, id, tags, payload FROM events ORDER BY position";
        for row in rows(connection, all).await? {
            let tags: Option<String> = get(&row, 4)?;
            found.events.push(FoundEvent {
                position: count(&row, 0)?,
                stream: get(&row, 1)?,
                version: count(&row, 2)?,
                id: uuid(&row, 3)?,
                tags: serde_json::from_str(tags.as_deref().unwrap_or("[]"))
                    .map_err(|e| describe(&e))?,
                payload: get(&row, 5)?,
            });
        }
        for row in rows(connection, "SELECT id, position FROM appends").await? {
            found.append_ids.insert(uuid(&row, 0)?, count(&row, 1)?);
        }
        for row in rows(connection, "SELECT position FROM annals_projections").await? {
            found.checkpoint = count(&row, 0)?;
        }
    }
    if has(Tally::TABLE.name) {
        let all = "SELECT stream, events, bytes, position FROM tally";
        for row in rows(connection, all).await? {
            let stream: String = get(&row, 0)?;
            let tally = Tally {
                stream: stream.clone(),
                events: get(&row, 1)?,
                bytes: get(&row, 2)?,
                position: Position::new(count(&row, 3)?),
            };
            found.rows.insert(stream, tally);
        }
    }
    Ok(found)
}

/// Reads everything once more, through the store, and repeats every append of the history: each
/// is answered as a repetition exactly if it is in the log, and then the log has all of them.
pub(crate) async fn use_store(
    directory: &Path,
    history: &History,
    bare: &Found,
) -> Result<(), String> {
    let store = open(directory, SqliteOptions::default()).await?;
    let outcome = async {
        let found = read_store(&store, history).await?;
        if found.events != bare.events
            || found.checkpoint != bare.checkpoint
            || found.rows != bare.rows
        {
            return Err(String::from(
                "store: it reads something else than bare SQLite does",
            ));
        }
        repeat_all(&store, history, &found).await
    };
    let outcome = outcome.await;
    store.close().await;
    outcome?;
    check_integrity(directory).await
}

async fn repeat_all(store: &SqliteStore, history: &History, found: &Found) -> Result<(), String> {
    let there = history.examine(found)?;
    let appends = history
        .appends
        .iter()
        .map(|append| store.append(append.clone()));
    let outcomes = futures_util::future::join_all(appends).await;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let appended =
            outcome.map_err(|e| format!("repetition: append {index}: {}", describe(&e)))?;
        if appended.repeated != there.has(index) {
            return Err(format!(
                "repetition: append {index} is answered with `repeated: {}`",
                appended.repeated
            ));
        }
    }
    let now = store.head().await.map_err(|e| describe(&e))?;
    if now.get() != history.event_count() as u64 {
        return Err(format!("repetition: the log ends at {now} after all of it"));
    }
    store
        .register(&tally::spec(), chrono::Utc::now())
        .await
        .map_err(|e| describe(&e))?;
    while tally::fold_page(store).await?.is_some() {}
    let complete = read_store(store, history).await?;
    history.examine(&complete)?.check(&[])
}

async fn read_store(store: &SqliteStore, history: &History) -> Result<Found, String> {
    let mut found = Found::default();
    loop {
        let from = Position::new(found.events.len() as u64);
        let page = store.read_log(LogRead::after(from, 1_000)).await;
        let page = page.map_err(|e| describe(&e))?;
        found
            .events
            .extend(page.events.iter().map(|event| FoundEvent {
                position: event.position.get(),
                stream: event.stream.to_string(),
                version: event.version.get(),
                id: event.id.uuid(),
                tags: event.tags.iter().map(ToString::to_string).collect(),
                payload: event.payload.clone(),
            }));
        if page.at_end {
            break;
        }
    }
    for id in history.appends.iter().filter_map(|append| append.id) {
        if let Some((appended, _)) = store.find_append(id).await.map_err(|e| describe(&e))? {
            found.append_ids.insert(id.uuid(), appended.position.get());
        }
    }
    let record = store.projection(tally::PROJECTION).await;
    if let Some(record) = record.map_err(|e| describe(&e))? {
        found.checkpoint = record.checkpoint.position.get();
        let rows = store
            .scan_rows(&Tally::TABLE, Target::Live, None, 10_000)
            .await
            .map_err(|e| describe(&e))?;
        let rows = rows
            .into_iter()
            .map(|row| Tally::from_row(row).map_err(|e| describe(&e)));
        found.rows = rows
            .map(|row| row.map(|row| (row.stream.clone(), row)))
            .collect::<Result<BTreeMap<_, _>, _>>()?;
    }
    Ok(found)
}

async fn check_integrity(directory: &Path) -> Result<(), String> {
    let mut connection = connect(directory).await?;
    let findings = rows(&mut connection, "PRAGMA integrity_check").await?;
    let findings: Vec<String> = findings
        .iter()
        .map(|row| get(row, 0))
        .collect::<Result<_, _>>()?;
    if findings != ["ok"] {
        return Err(format!("integrity: {}", findings.join("; ")));
    }
    let stray = "SELECT count(*) FROM
        (SELECT tag.value AS tag, position FROM events, json_each(events.tags) AS tag) AS wanted
        FULL JOIN event_tags USING (tag, position)
        WHERE wanted.tag IS NULL OR event_tags.tag IS NULL";
    for row in rows(&mut connection, stray).await? {
        let stray = count(&row, 0)?;
        if stray > 0 {
            return Err(format!("tags: {stray} do not fit their events"));
        }
    }
    connection.close().await.map_err(|e| describe(&e))
}

async fn rows(
    connection: &mut SqliteConnection,
    statement: &'static str,
) -> Result<Vec<SqliteRow>, String> {
    sqlx::query(statement)
        .fetch_all(connection)
        .await
        .map_err(|e| describe(&e))
}

fn get<'r, T>(row: &'r SqliteRow, column: usize) -> Result<T, String>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(column).map_err(|e| describe(&e))
}

fn count(row: &SqliteRow, column: usize) -> Result<u64, String> {
    u64::try_from(get::<i64>(row, column)?).map_err(|e| describe(&e))
}

fn uuid(row: &SqliteRow, column: usize) -> Result<Uuid, String> {
    Uuid::from_slice(get(row, column)?).map_err(|e| describe(&e))
}

/// An error with all its causes.
pub(crate) fn describe(error: &dyn Error) -> String {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
