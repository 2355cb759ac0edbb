//! `traceparent` and `tracestate` (W3C Trace Context).

use annals::TraceContext;
use axum::http::HeaderMap;

/// The longest `tracestate` that is kept: what the specification asks everybody to keep.
const MAX_STATE_BYTES: usize = 512;

/// The trace that a request belongs to. One that can't be read is ignored, as the specification
/// asks for: a broken trace must not break the request.
pub(super) fn trace_context(headers: &HeaderMap) -> Option<TraceContext> {
    let mut parents = headers.get_all("traceparent").iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else {
        return None;
    };
    let traceparent = parent
        .to_str()
        .ok()
        .filter(|parent| is_parent(parent))?
        .to_owned();
    Some(TraceContext {
        traceparent,
        tracestate: state(headers),
    })
}

fn is_parent(parent: &str) -> bool {
    let mut parts = parent.split('-');
    let mut part = |bytes: usize| {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        parts
            .next()
            .filter(|part| part.len() == bytes && part.bytes().all(hex))
    };
    let (Some(version), Some(trace), Some(span), Some(_)) = (part(2), part(32), part(16), part(2))
    else {
        return false;
    };
    let is_zero = |id: &str| id.bytes().all(|byte| byte == b'0');
    // Versions to come may have more parts; 00 has not.
    let whole = parts.next().is_none() || version != "00";
    version != "ff" && whole && !is_zero(trace) && !is_zero(span)
}

fn state(headers: &HeaderMap) -> Option<String> {
    let states = headers
        .get_all("tracestate")
        .iter()
        .map(|state| state.to_str().ok());
    let state = states.collect::<Option<Vec<_>>>()?.join(",");
    let kept = !state.is_empty() && state.len() <= MAX_STATE_BYTES;
    kept.then_some(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_kept_only_when_it_is_well_formed() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_parent(good));
        assert!(is_parent(&format!("{}-more", good.replacen("00", "01", 1))));
        let bad = [
            String::new(),
            good.to_uppercase(),
            format!("{good}-more"),
            good.replacen("00", "ff", 1),
            good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            good.replace("b7ad6b7169203331", &"0".repeat(16)),
            good.replace("b7ad6b7169203331", "b7ad"),
        ];
        for parent in bad {
            assert!(!is_parent(&parent), "{parent}");
        }
    }
}
