//! Where nobody has to say who asks, what asks must be of this machine. That only this machine can connect does not keep
//! out pages in its browsers: one can have its own name lead here (DNS rebinding), or ask across sites.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header;
use axum::http::uri::Authority;

use crate::control::auth::Denied;
use crate::control::refusal::FORBIDDEN;
use crate::control::tally::RequestRefusal;

/// Refuses a request to a host that is neither `localhost` nor an address of loopback, and one from a page of another
/// host than that. What names no host is no browser.
pub fn check(request: &Request) -> Result<(), Denied> {
    let foreign = || {
        Denied::new(
            RequestRefusal::ForeignHost,
            FORBIDDEN,
            "Without keys the host must be `localhost` or a loopback address.",
        )
    };
    let of_header = match request.headers().get(header::HOST) {
        Some(host) => Some(host.to_str().ok().and_then(near).ok_or_else(foreign)?),
        None => None,
    };
    let of_target = match request.uri().authority() {
        Some(authority) => Some(near(authority.as_str()).ok_or_else(foreign)?),
        None => None,
    };
    let host = of_target.or(of_header);
    for origin in request.headers().get_all(header::ORIGIN) {
        let from = origin
            .to_str()
            .ok()
            .and_then(|origin| near(origin.split_once("://")?.1));
        if from.is_none() || from != host {
            return Err(Denied::new(
                RequestRefusal::ForeignOrigin,
                FORBIDDEN,
                "Without keys no page of another host may ask.",
            ));
        }
    }
    Ok(())
}

/// The host of `host[:port]`, in lower case, where it is this machine.
fn near(authority: &str) -> Option<String> {
    let authority: Authority = authority.parse().ok()?;
    let host = authority.host().to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_near = address.parse::<IpAddr>().map_or(host == "localhost", |address| {
        address.to_canonical().is_loopback()
    });
    (is_near && !authority.as_str().contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn reason(uri: &str, headers: &[(&str, &str)]) -> Option<RequestRefusal> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let checked = check(&request.body(Body::empty()).unwrap());
        checked.err().map(|denied| {
            assert_eq!(denied.refusal.code, 40300);
            denied.reason
        })
    }

    #[test]
    fn this_machine_is_asked_by_its_own_name_and_by_its_own_pages() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1",
            "127.9.9.9:1",
            "[::1]:8080",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ] {
            assert_eq!(reason("/v1/legs", &[("host", host)]), None, "{host}");
            assert_eq!(reason(&format!("http://{host}/v1/legs"), &[]), None, "{host}");
            let origin = format!("http://{host}");
            assert_eq!(
                reason("/", &[("host", host), ("origin", &origin)]),
                None,
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "192.0.2.1",
            "0.0.0.0",
            "[::]",
            "",
            "x@127.0.0.1",
            "::1 ",
        ] {
            let found = reason("/v1/legs", &[("host", host)]);
            assert_eq!(found, Some(RequestRefusal::ForeignHost), "{host}");
        }
        let hidden = reason("http://evil.example/v1/legs", &[("host", "localhost")]);
        assert_eq!(hidden, Some(RequestRefusal::ForeignHost));
        for origin in ["http://evil.example", "null", "http://localhost", "file://", ""] {
            let found = reason("/", &[("host", "127.0.0.1:8080"), ("origin", origin)]);
            assert_eq!(found, Some(RequestRefusal::ForeignOrigin), "{origin}");
        }
        assert_eq!(reason("/v1/legs", &[]), None);
    }
}
