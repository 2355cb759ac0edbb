//! States kept in the store: caches that spare reading long streams from their beginning.

use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    fmt,
    sync::Arc,
};

use annals_core::{Aggregate, Position, Snapshot, Store, StreamName, Version};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::load::Loaded;

/// Which aggregates are snapshotted, and how.
#[derive(Debug, Default)]
pub(crate) struct SnapshotPolicies {
    by_type: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
}

struct Policy<A> {
    every: u64,
    schema: String,
    encode: fn(&A) -> serde_json::Result<Vec<u8>>,
    decode: fn(&[u8]) -> serde_json::Result<A>,
}

/// An aggregate whose state can't be snapshotted.
#[derive(Debug, thiserror::Error)]
#[error("the state of `{aggregate}` does not serialise to JSON, so it can't be snapshotted")]
pub struct SnapshotPolicyError {
    aggregate: &'static str,
    source: serde_json::Error,
}

impl SnapshotPolicies {
    /// Snapshots `A` each time its version crosses a multiple of `every`.
    pub(crate) fn add<A>(&mut self, every: u64, version: u32) -> Result<(), SnapshotPolicyError>
    where
        A: Aggregate + Serialize + DeserializeOwned,
    {
        let schema = schema_of::<A>(version).map_err(|source| SnapshotPolicyError {
            aggregate: type_name::<A>(),
            source,
        })?;
        let policy = Policy::<A> {
            every: every.max(1),
            schema,
            encode: serde_json::to_vec,
            decode: |bytes| serde_json::from_slice(bytes),
        };
        self.by_type.insert(TypeId::of::<A>(), Box::new(policy));
        Ok(())
    }

    /// The state to start loading from: the snapshot's, or the empty one if anything is amiss.
    pub(crate) async fn load<A: Aggregate>(
        &self,
        store: &dyn Store,
        stream: &StreamName,
    ) -> Loaded<A> {
        self.try_load(store, stream)
            .await
            .unwrap_or_else(Loaded::empty)
    }

    async fn try_load<A: Aggregate>(
        &self,
        store: &dyn Store,
        stream: &StreamName,
    ) -> Option<Loaded<A>> {
        let policy = self.policy::<A>()?;
        let found = store.snapshot(stream, &policy.schema).await;
        let snapshot = found.inspect_err(|error| warn(stream, error)).ok()??;
        let state = (policy.decode)(&snapshot.state)
            .inspect_err(|error| warn(stream, error))
            .ok()?;
        // A restored backup can have lost events that the snapshot includes.
        let version = store.stream_version(stream).await.ok()?;
        (version >= snapshot.version).then(|| Loaded {
            state: Arc::new(state),
            version: snapshot.version,
            position: Position::START,
        })
    }

    /// Saves a snapshot if the version has crossed a multiple of the policy's interval.
    pub(crate) fn save_if_due<A: Aggregate>(
        &self,
        store: &Arc<dyn Store>,
        stream: &StreamName,
        before: Version,
        loaded: &Loaded<A>,
    ) {
        let Some(policy) = self.policy::<A>() else {
            return;
        };
        if before.get() / policy.every == loaded.version.get() / policy.every {
            return;
        }
        let state = match (policy.encode)(&loaded.state) {
            Ok(state) => state,
            Err(error) => return warn(stream, &error),
        };
        let snapshot = Snapshot {
            version: loaded.version,
            schema: policy.schema.clone(),
            state,
        };
        let (store, stream) = (Arc::clone(store), stream.clone());
        // Nobody needs to wait for a cache.
        tokio::spawn(async move {
            if let Err(error) = store.save_snapshot(&stream, snapshot).await {
                warn(&stream, &error);
            }
        });
    }

    fn policy<A: Aggregate>(&self) -> Option<&Policy<A>> {
        self.by_type.get(&TypeId::of::<A>())?.downcast_ref()
    }
}

fn warn(stream: &StreamName, error: &dyn fmt::Display) {
    tracing::warn!(%stream, %error, "snapshot not used");
}

/// Stands for the shape of `A`: the version the user gave, and a digest of the field names and
/// JSON types of the empty state, so that an added or renamed field needs no one to remember.
fn schema_of<A: Aggregate + Serialize>(version: u32) -> serde_json::Result<String> {
    let mut shape = String::new();
    describe(&serde_json::to_value(A::default())?, &mut shape);
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, shape.as_bytes());
    Ok(format!("{version}:{}", digest.simple()))
}

fn describe(value: &Value, shape: &mut String) {
    match value {
        Value::Null => shape.push('0'),
        Value::Bool(_) => shape.push('b'),
        Value::Number(_) => shape.push('n'),
        Value::String(_) => shape.push('s'),
        Value::Array(items) => {
            shape.push('[');
            items.iter().for_each(|item| describe(item, shape));
            shape.push(']');
        }
        Value::Object(fields) => {
            shape.push('{');
            for (name, value) in fields {
                shape.push_str(&format!("{name:?}:"));
                describe(value, shape);
            }
            shape.push('}');
        }
    }
}
