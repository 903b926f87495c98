//! What is logged of a room, a leg or a recording is found by one name of each, and no log of the suite is overlooked.

use super::source::{Sources, without_comments_and_strings};

/// Names a field of a log line might have, and the one that it has.
const FIELDS: &[(&str, &str)] = &[
    ("conference_id", "conference"),
    ("conference_name", "conference"),
    ("room", "conference"),
    ("room_id", "conference"),
    ("call_id", "call"),
    ("leg", "call"),
    ("leg_id", "call"),
    ("participant", "call"),
    ("recording_id", "recording"),
    ("err", "error"),
    ("e", "error"),
];

/// Macros that log.
const LEVELS: &[&str] = &["error!(", "warn!(", "info!(", "debug!(", "trace!("];

/// Fields of log lines under other names than theirs.
pub fn misnamed_fields(sources: &Sources) -> Vec<String> {
    let mut complaints = Vec::new();
    for source in sources.values() {
        let plain = without_comments_and_strings(&source.text);
        for (at, _) in plain.match_indices("tracing::") {
            let call = &plain[at + "tracing::".len()..];
            let Some(arguments) = LEVELS.iter().find_map(|level| call.strip_prefix(level)) else {
                continue;
            };
            let line = plain[..at].matches('\n').count() + 1;
            for name in names_of_fields(arguments) {
                if let Some((_, is)) = FIELDS.iter().find(|(other, _)| *other == name) {
                    complaints.push(format!(
                        "src/{}:{line}: the field `{name}` of a log line is called `{is}`",
                        source.path
                    ));
                }
            }
        }
    }
    complaints
}

/// What starts a daemon, and the one file of the suite that does, which has its log searched for secrets.
const STARTS: &[(&str, &str)] = &[
    ("CARGO_BIN_EXE_mixminus", "support/logs.rs"),
    ("control::daemon::Daemon", "support/http.rs"),
];

/// Files of the suite that start a daemon whose log nobody searches.
pub fn unsearched_logs(suite: &Sources) -> Vec<String> {
    let others = suite.values().filter(|source| !source.path.starts_with("tidy"));
    others
        .flat_map(|source| {
            let is_start = |(start, by): &&(&str, &str)| source.path != *by && source.text.contains(start);
            STARTS
                .iter()
                .filter(is_start)
                .map(|(start, by)| format!("tests/suite/{}: `{start}` stands in {by} only", source.path))
        })
        .collect()
}

/// Of `target: T, a = x, %b, c.d, "…")` it is `a`, `b`, `d`.
fn names_of_fields(arguments: &str) -> Vec<&str> {
    let mut depth = 0;
    let mut fields = Vec::new();
    let mut start = 0;
    for (at, c) in arguments.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' if depth > 0 => depth -= 1,
            ')' => {
                fields.push(&arguments[start..at]);
                break;
            }
            ',' if depth == 0 => {
                fields.push(&arguments[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    fields
        .iter()
        .filter_map(|field| {
            let name = field
                .split('=')
                .next()?
                .trim()
                .trim_start_matches(['%', '?', '&']);
            name.rsplit('.').next()
        })
        .collect()
}
