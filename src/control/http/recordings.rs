//! The sound of a recording, with byte ranges (RFC 9110 §14).

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio_stream::wrappers::ReceiverStream;

use super::App;
use super::errors::Failure;
use super::paths::{ids, parameters};
use crate::control::operation::chunks;
use crate::control::refusal::{RANGE_NOT_SATISFIABLE, Refusal};

pub async fn audio(State(app): State<App>, request: Request) -> Result<Response, Failure> {
    let (mut parts, _) = request.into_parts();
    parameters(&parts)?;
    let id = ids(&mut parts).await?.remove("recordingId").unwrap_or_default();
    let audio = app.service.recording_audio(id).await?;
    let asked = parts
        .headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let span = match asked.map_or(Asked::All, |range| Asked::parse(range, audio.bytes)) {
        Asked::All => None,
        Asked::Part { first, last } => Some((first, last)),
        Asked::Nothing => {
            let refusal = Refusal::new(
                RANGE_NOT_SATISFIABLE,
                "The range lies behind the end of the recording.",
            );
            let total = format!("bytes */{}", audio.bytes);
            return Ok(([(header::CONTENT_RANGE, total)], Failure(refusal)).into_response());
        }
    };
    let (first, length) = span.map_or((0, audio.bytes), |(first, last)| (first, last - first + 1));
    let content_type = audio.content_type;
    let total = audio.bytes;
    let chunks = chunks(audio, first, length).await?;
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(chunks)));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    headers.insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Some((first, last)) = span {
        let range = format!("bytes {first}-{last}/{total}");
        headers.insert(
            header::CONTENT_RANGE,
            range.parse().expect("digits and a slash are a header value"),
        );
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// No range, several, or one we do not know: the whole is a right answer to each.
    All,
    Part {
        first: u64,
        /// Inclusive.
        last: u64,
    },
    Nothing,
}

impl Asked {
    fn parse(range: &str, total: u64) -> Asked {
        let digits = |text: &str| -> Option<Option<u64>> {
            match text.trim() {
                "" => Some(None),
                text if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok().map(Some),
                _ => None,
            }
        };
        let Some((from, to)) = range.strip_prefix("bytes=").and_then(|span| span.split_once('-')) else {
            return Asked::All;
        };
        match (digits(from), digits(to)) {
            (Some(Some(first)), Some(to)) if to.is_none_or(|last| last >= first) => match first < total {
                true => Asked::Part {
                    first,
                    last: to.unwrap_or(u64::MAX).min(total - 1),
                },
                false => Asked::Nothing,
            },
            // The last so many bytes.
            (Some(None), Some(Some(count))) => match count > 0 && total > 0 {
                true => Asked::Part {
                    first: total.saturating_sub(count),
                    last: total - 1,
                },
                false => Asked::Nothing,
            },
            _ => Asked::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_first_to_last_or_the_end() {
        for (range, asked) in [
            ("bytes=0-99", Asked::Part { first: 0, last: 99 }),
            ("bytes=10-", Asked::Part { first: 10, last: 999 }),
            (
                "bytes=900-5000",
                Asked::Part {
                    first: 900,
                    last: 999,
                },
            ),
            (
                "bytes=-100",
                Asked::Part {
                    first: 900,
                    last: 999,
                },
            ),
            ("bytes=-5000", Asked::Part { first: 0, last: 999 }),
            (
                "bytes=999-999",
                Asked::Part {
                    first: 999,
                    last: 999,
                },
            ),
            ("bytes=1000-", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-4", Asked::All),
            ("bytes=0-1,5-6", Asked::All),
            ("bytes=a-b", Asked::All),
            ("bytes=+1-2", Asked::All),
            ("lines=1-2", Asked::All),
        ] {
            assert_eq!(Asked::parse(range, 1000), asked, "{range}");
        }
        assert_eq!(Asked::parse("bytes=0-", 0), Asked::Nothing);
    }
}
