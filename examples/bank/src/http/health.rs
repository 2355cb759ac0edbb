//! `/healthz` and `/readyz`: whether the process is alive, and whether it can do its work.

use std::time::Duration;

use annals::{CaughtUpError, Position, ProjectionHealth, ProjectionState};
use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::{
    Api,
    problem::{Kind, Problem, log},
};

/// How long the store may take to answer.
const STORE_WITHIN: Duration = Duration::from_secs(2);
/// How long a projection that lags may take to get any further.
const PROGRESS_WITHIN: Duration = Duration::from_secs(2);

/// `GET /healthz`
pub(super) async fn alive() -> Json<Value> {
    Json(json!({ "status": "alive" }))
}

/// `GET /readyz`
pub(super) async fn ready(State(api): State<Api>) -> Result<Json<Value>, Problem> {
    let head = match tokio::time::timeout(STORE_WITHIN, api.app.store().head()).await {
        Ok(Ok(head)) => head,
        Ok(Err(error)) => {
            log(&error);
            return Err(not_ready(vec!["the store can't be read".to_owned()]));
        }
        Err(_) => return Err(not_ready(vec!["the store does not answer".to_owned()])),
    };
    let health = api.app.projections().health();
    let problems = health.iter().map(|health| problem(&api, health, head));
    let problems = futures_util::future::join_all(problems).await;
    let problems: Vec<String> = problems.into_iter().flatten().collect();
    match problems.is_empty() {
        true => Ok(Json(json!({ "status": "ready", "position": head }))),
        false => Err(not_ready(problems)),
    }
}

/// What keeps a projection from following the log, if anything does.
///
/// That it says it is running is not enough: one that lags must also get further.
async fn problem(api: &Api, health: &ProjectionHealth, head: Position) -> Option<String> {
    let name = &health.projection;
    if !health.alive {
        return Some(format!("projection `{name}` has ended"));
    }
    let caught_up = api
        .app
        .projections()
        .caught_up(name, head, PROGRESS_WITHIN)
        .await;
    match (caught_up, health.state) {
        (Err(CaughtUpError::TimedOut { reached, .. }), _) if reached > health.position => None,
        (
            Err(CaughtUpError::TimedOut {
                reached, wanted, ..
            }),
            _,
        ) => Some(format!(
            "projection `{name}` makes no progress at position {reached} of {wanted}"
        )),
        (Err(error), _) => {
            log(&error);
            Some(format!(
                "projection `{name}` does not run; see `bank projection list`"
            ))
        }
        (Ok(()), None | Some(ProjectionState::Running)) => None,
        (Ok(()), Some(state)) => {
            let state = serde_json::to_value(state).unwrap_or_default();
            let state = state.as_str().unwrap_or("stopped").to_owned();
            Some(format!(
                "projection `{name}` is {state}; see `bank projection list`"
            ))
        }
    }
}

fn not_ready(reasons: Vec<String>) -> Problem {
    Problem::new(Kind::NotReady, reasons.join("; "))
        .with("reasons", reasons)
        .retry()
}
