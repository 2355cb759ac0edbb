//! Random operations, compared with the reference model.

use std::{
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use annals_core::{Append, AppendError, Appended, LogRead, Store, StoredEvent};
use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    Model, Subject,
    check::*,
    operation::{Case, Operation, operations},
    sample::*,
};
use crate::seed::Seed;

/// Checks a property on one store, with as many cases as the fixture wants, and shrinks a
/// failing one. Each case finds what earlier ones left behind.
pub(super) fn check_property<S: Strategy>(
    subject: &Subject,
    input: S,
    property: impl AsyncFn(Arc<dyn Store>, S::Value),
) where
    S::Value: Debug,
{
    let config = Config {
        cases: subject.effort.cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &Seed::printed().bytes());
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::block_in_place(|| {
        TestRunner::new_with_rng(config, rng).run(&input, |value| {
            runtime.block_on(property(Arc::clone(&subject.store), value));
            Ok(())
        })
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

pub async fn random_operations_answer_as_the_model_does(subject: Subject) {
    let cases = AtomicUsize::new(0);
    let input = operations(subject.effort.operations);
    check_property(&subject, input, async |store, operations| {
        let number = cases.fetch_add(1, Ordering::Relaxed);
        run_case(&*store, number, &operations).await;
    });
    whole_log(&*subject.store).await;
}

async fn run_case(store: &dyn Store, number: usize, operations: &[Operation]) {
    let base = store.head().await.unwrap();
    let case = Case::new(number, base);
    let mut model = Model::after(base);
    let mut appends = Vec::new();
    for operation in operations {
        run_operation(store, &case, &mut model, &mut appends, operation).await;
        assert_eq!(
            store.head().await.unwrap(),
            model.head(),
            "after {operation:?}"
        );
    }
}

async fn run_operation(
    store: &dyn Store,
    case: &Case,
    model: &mut Model,
    appends: &mut Vec<Append>,
    operation: &Operation,
) {
    match operation {
        Operation::Append(intent) => {
            let append = case.append(intent, model);
            appends.push(append.clone());
            append_to_both(store, model, append).await;
        }
        Operation::Repeat(back) => {
            if let Some(append) = appends.iter().rev().nth(*back).cloned() {
                append_to_both(store, model, append).await;
            }
        }
        Operation::Steal { back, stream } => {
            let stolen = model.log().iter().rev().nth(*back).cloned();
            if let Some(stolen) = stolen {
                let append = stealing(&stolen, case.stream(*stream));
                append_to_both(store, model, append).await;
            }
        }
        Operation::ReadStream {
            stream,
            from,
            limit,
            direction,
        } => {
            let read = case.stream_read(*stream, *from, *limit, *direction);
            let expected = model.read_stream(&read);
            let found = store.read_stream(read.clone()).await.unwrap();
            assert_eq!(found, expected, "{read:?}");
        }
        Operation::ReadLog {
            filter,
            from,
            limit,
            direction,
        } => {
            let read = case.log_read(filter, *from, *limit, *direction);
            let page = store.read_log(read.clone()).await.unwrap();
            let limit = usize::MAX;
            let all = model.read_log(&LogRead {
                limit,
                ..read.clone()
            });
            assert!(page.events.len() <= read.limit, "{read:?}");
            assert!(all.starts_with(&page.events), "{read:?}");
            assert!(
                page.events.len() == all.len() || !page.at_end,
                "a page that ends the log has all there was left: {read:?}"
            );
        }
        Operation::FindAppend(number) => {
            let id = case.append_id(*number);
            let found = store.find_append(id).await.unwrap();
            let plain = |(appended, fingerprint)| (comparable(&appended), fingerprint);
            assert_eq!(found.map(plain), model.find_append(id).map(plain));
        }
        Operation::StreamVersion(number) => {
            let stream = case.stream(*number);
            let found = store.stream_version(&stream).await.unwrap();
            assert_eq!(found, model.stream_version(&stream));
        }
    }
}

fn comparable(appended: &Appended) -> Appended {
    Appended {
        repeated: false,
        ..appended.clone()
    }
}

/// A new append with an id that an event of the log has already.
fn stealing(stolen: &StoredEvent, stream: annals_core::StreamName) -> Append {
    let mut event = event("thing.stolen");
    event.id = stolen.id;
    Append::to(stream, annals_core::Expected::Any, vec![event], now())
}

async fn append_to_both(store: &dyn Store, model: &mut Model, append: Append) {
    let expected = model.append(append.clone());
    let found = store.append(append.clone()).await;
    assert!(
        same_answer(&found, &expected),
        "the store answers {found:?}, the model {expected:?}, to {append:?}"
    );
}

fn same_answer(
    found: &Result<Appended, AppendError>,
    expected: &Result<Appended, AppendError>,
) -> bool {
    use AppendError::{ConditionFailed, Conflict, IdReused, Invalid};
    match (found, expected) {
        (Ok(found), Ok(expected)) => found == expected,
        // Where several streams are in conflict, a store may name any of them.
        (Err(Conflict { .. }), Err(Conflict { .. }))
        | (Err(Invalid { .. }), Err(Invalid { .. })) => true,
        (Err(ConditionFailed { position: a }), Err(ConditionFailed { position: b })) => a == b,
        (Err(IdReused { kind: a, .. }), Err(IdReused { kind: b, .. })) => a == b,
        _ => false,
    }
}
