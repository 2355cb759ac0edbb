//! One batch of appends: decided, written and committed together.

use annals_core::{Append, AppendError, FoldError, Position, StoreError, StoreErrorKind};
use sqlx::Row;

use super::{Writer, behind};
use crate::{
    append::{Bases, Batch, Care, DOING, End, Outcomes, Undone},
    error::failed,
    projections::inline::fold_inline,
    sql,
};

/// Why a batch came to nothing.
#[derive(Debug)]
pub(super) enum Failed {
    /// An inline projection refused an event.
    Refused(FoldError),
    /// The store failed, and nothing was committed.
    Store(StoreError),
    /// The commit failed, and nobody knows how far it came.
    Unknown(StoreError),
}

impl Failed {
    /// What one of the batch's callers is told.
    pub(super) fn for_one(&self) -> AppendError {
        match self {
            Self::Refused(FoldError::Event {
                projection,
                message,
                ..
            }) => AppendError::InlineProjection {
                projection: projection.clone(),
                message: message.clone(),
            },
            Self::Refused(FoldError::Store(error)) | Self::Store(error) => {
                AppendError::Store(copy(error))
            }
            Self::Refused(error) => AppendError::Store(
                StoreError::new(StoreErrorKind::Other, DOING).caused_by(error.to_string()),
            ),
            Self::Unknown(error) => AppendError::Unknown(copy(error)),
        }
    }
}

/// The same error again, for several callers.
fn copy(error: &StoreError) -> StoreError {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    StoreError::new(error.kind(), DOING).caused_by(cause.unwrap_or_else(|| error.to_string()))
}

/// What a batch came to before its commit.
struct Ready {
    outcomes: Outcomes,
    head: Position,
    /// The last event's place and id, by which a doubtful commit is settled; none when the batch
    /// wrote no event.
    last: Option<(i64, uuid::Uuid)>,
    end: End,
}

/// Decides and commits a batch.
pub(super) async fn batch(writer: &mut Writer, appends: &[&Append]) -> Result<Outcomes, Failed> {
    let mut care = Care::Trusting;
    let ready = loop {
        match prepare(writer, appends, care).await {
            Ok(ready) => break ready,
            Err(Undone::IdTaken) if care == Care::Trusting => care = Care::Checking,
            Err(Undone::IdTaken) => {
                let error = StoreError::new(StoreErrorKind::Corrupt, DOING);
                return Err(Failed::Store(error.caused_by(
                    "the file is damaged: its indexes do not agree with its tables; restore a \
                     backup",
                )));
            }
            Err(Undone::Behind(projection)) => {
                let caught_up = behind::catch_up(writer, &projection).await;
                caught_up.map_err(Failed::Store)?;
            }
            Err(Undone::Refused(error)) => return Err(Failed::Refused(error)),
            Err(Undone::Store(error)) => return Err(Failed::Store(error)),
        }
    };
    let committed = match &ready.end {
        End::Empty => {
            writer.roll_back().await;
            return Ok(ready.outcomes);
        }
        End::Open => writer.commit(DOING).await,
        End::Committed => Ok(()),
        End::Doubtful(error) => {
            writer.give_up().await;
            Err(copy(error))
        }
    };
    if let Err(error) = committed {
        settle(writer, &ready, error).await?;
    }
    writer.tail.grown_to(ready.head);
    Ok(ready.outcomes)
}

/// Decides and writes a batch in a new transaction; rolled back after an error.
async fn prepare(writer: &mut Writer, appends: &[&Append], care: Care) -> Result<Ready, Undone> {
    let installed = writer.installed.clone();
    let bases = Bases::of(appends);
    let (conn, row) = writer.begin_with(DOING, &bases.beginning()?).await?;
    let written = async {
        let mut batch = Batch::begin(conn, bases, row, care).await?;
        let mut outcomes = Vec::with_capacity(appends.len());
        for append in appends {
            outcomes.push(batch.decide(append).await?);
        }
        let head = batch.head();
        let before = Position::new(u64::try_from(batch.before).unwrap_or_default());
        let last = batch.placed.last();
        let last = last.map(|row| (row.position, row.event.id.uuid()));
        let end = if installed.is_empty() || batch.placed.is_empty() {
            batch.finish_and_commit().await?
        } else {
            let (conn, placed) = batch.finish().await?;
            let events: Vec<_> = placed.iter().map(|row| row.stored()).collect();
            let folded = fold_inline(conn, &installed, before, &events).await;
            match folded.map_err(Undone::Refused)? {
                None => End::Open,
                Some(behind) => return Err(Undone::Behind(behind)),
            }
        };
        Ok(Ready {
            outcomes,
            head,
            last,
            end,
        })
    };
    let written = written.await;
    if written.is_err() {
        writer.roll_back().await;
    }
    written
}

/// After a failed commit: finds out whether it came through all the same.
async fn settle(writer: &mut Writer, ready: &Ready, error: StoreError) -> Result<(), Failed> {
    tracing::warn!(?error, "a commit failed; looking whether it came through");
    let Some((position, id)) = ready.last else {
        return Err(Failed::Unknown(error));
    };
    match id_at(writer, position).await {
        Ok(Some(found)) if found == id.as_bytes() => Ok(()),
        Ok(_) => Err(Failed::Store(error)),
        Err(_) => Err(Failed::Unknown(error)),
    }
}

async fn id_at(writer: &mut Writer, position: i64) -> Result<Option<Vec<u8>>, StoreError> {
    // A write transaction, because another one may not begin before the failed one has ended.
    let conn = writer.begin(DOING).await?;
    let row = sqlx::query(sql::EVENT_ID)
        .bind(position)
        .fetch_optional(conn)
        .await
        .map_err(failed(DOING));
    writer.roll_back().await;
    row?.map(|row| row.try_get(0).map_err(failed(DOING)))
        .transpose()
}
