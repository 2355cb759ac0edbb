//! What happened to a saga, in words.

use annals_core::saga::SagaEvent;

use crate::shown::{plain, time};

/// What an event says, in a word or two.
pub(super) fn what(event: &SagaEvent) -> &'static str {
    match event {
        SagaEvent::Started { .. } => "started",
        SagaEvent::Received(_) => "received",
        SagaEvent::Sent { .. } => "sent",
        SagaEvent::Succeeded { .. } => "succeeded",
        SagaEvent::Postponed { .. } => "refused",
        SagaEvent::Recalled { .. } => "recalled",
        SagaEvent::Rejected { .. } => "rejected",
        SagaEvent::Scheduled { .. } => "deadline set",
        SagaEvent::Cancelled { .. } => "deadline lifted",
        SagaEvent::Fired { .. } => "deadline reached",
        SagaEvent::Compensating { .. } => "compensating",
        SagaEvent::Completed => "completed",
        SagaEvent::Compensated { .. } => "compensated",
        SagaEvent::Failed { .. } => "failed",
        SagaEvent::Stuck { .. } => "stuck",
        SagaEvent::Retried { .. } => "retried",
        SagaEvent::Abandoned { .. } => "abandoned",
    }
}

/// How often a command was refused.
pub(super) fn refused(times: u32) -> String {
    match times {
        0 | 1 => "refused once".to_owned(),
        times => format!("refused {times} times"),
    }
}

/// The details that matter to people, on one line.
pub(super) fn details(event: &SagaEvent) -> String {
    let details = match event {
        SagaEvent::Started { start } => {
            // A linear saga's plan would fill the screen; its steps are seen as they are taken.
            start.get("saga").unwrap_or(start).to_string()
        }
        SagaEvent::Received(event) => {
            format!("{} at position {}", event.event_type, event.position)
        }
        SagaEvent::Sent { step, command, .. } => {
            format!("{step}: {} to {}", command.body, command.receiver())
        }
        SagaEvent::Succeeded { step, position, .. } => format!("{step}, at position {position}"),
        SagaEvent::Postponed {
            step,
            refusals,
            reason,
            until,
            ..
        } => format!(
            "{step}: {reason} ({}; again at {})",
            refused(*refusals),
            time(*until)
        ),
        SagaEvent::Recalled { step, reason, .. } | SagaEvent::Rejected { step, reason, .. } => {
            format!("{step}: {reason}")
        }
        SagaEvent::Scheduled { name, due }
        | SagaEvent::Cancelled { name, due }
        | SagaEvent::Fired { name, due } => format!("{name}, due {}", time(*due)),
        SagaEvent::Compensating { reason }
        | SagaEvent::Compensated { reason }
        | SagaEvent::Failed { reason }
        | SagaEvent::Abandoned { reason } => reason.clone(),
        SagaEvent::Stuck { step, reason, .. } => match step {
            Some(step) => format!("{step}: {reason}"),
            None => reason.clone(),
        },
        SagaEvent::Retried { steps, .. } => steps.join(", "),
        SagaEvent::Completed => String::new(),
    };
    plain(&details)
}
