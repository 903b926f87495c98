//! What cannot be read as a request, hyper answers itself: a status and nothing else. On its way out that answer takes
//! the one form of all that goes wrong.

use super::super::errors::Failure;
use super::{HEADER_BYTES_MAX, HEADERS_MAX};
use crate::control::refusal::{HEADER_TOO_LARGE, INVALID_REQUEST, Refusal};

/// No refusal of the service's is without a body.
const WITHOUT_BODY: &str = "content-length: 0\r\n";

/// What to send in the place of these bytes; `None` where they are no such answer, or stand behind another one.
pub fn in_form(answer: &[u8]) -> Option<Vec<u8>> {
    let status = answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    let refusal = match status {
        b"400" => Refusal::new(INVALID_REQUEST, "This is no request of HTTP/1.1."),
        b"431" => Refusal::new(
            HEADER_TOO_LARGE,
            format!("The header must have at most {HEADERS_MAX} fields and {HEADER_BYTES_MAX} bytes."),
        ),
        _ => return None,
    };
    let head = str::from_utf8(answer).ok()?;
    let (before, after) = head.split_once(WITHOUT_BODY)?;
    let (body, _) = Failure(refusal).form();
    let length = body.len();
    let typed = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
    Some([before, &typed, after, &body].concat().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_without_a_body_gets_one() {
        let whole = |head: &str| in_form(head.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap());
        let answer = "HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\ndate: now\r\n\r\n";
        let told = whole(answer).expect("it is one");
        let (head, body) = told.split_once("\r\n\r\n").expect("a head and a body");
        assert!(
            head.starts_with("HTTP/1.1 431 ") && head.ends_with("date: now"),
            "{told}"
        );
        assert!(
            head.contains(&format!("content-length: {}\r\n", body.len())),
            "{told}"
        );
        assert!(body.starts_with("{\"errorCode\":43100,"), "{told}");
        for other in [
            "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 7\r\n\r\n",
            "HTTP/1.1 400",
            "",
        ] {
            assert_eq!(whole(other), None, "{other}");
        }
    }
}
