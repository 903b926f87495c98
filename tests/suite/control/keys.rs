//! Who may do what.

use std::os::unix::fs::PermissionsExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::http::{Reply, Served, offer, place_of_its_own, send};

#[test]
fn a_key_does_what_its_role_allows_and_no_key_nothing() {
    let (_, dir) = place_of_its_own();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("keys");
    std::fs::write(&file, "viewer:c2VjcmV0:read\nswitch:czNjcjN0\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let served = Served::start(&[&format!("auth.keys_file={}", file.display())]);
    let ask = |method: &str, path: &str, credentials: &str, body: &str| -> Reply {
        let authorization = format!("Basic {}", STANDARD.encode(credentials));
        send(
            served.http,
            method,
            path,
            &[("authorization", &authorization)],
            body.as_bytes(),
        )
    };
    let leg = json!({ "conferenceId": "r", "callId": "a", "sdp": offer(5004) }).to_string();

    let nobody = served.get("/v1/legs");
    nobody.refused(40100);
    assert!(nobody.header("www-authenticate").unwrap().starts_with("Basic"));
    served.get("/metrics").refused(40100);
    served.get("/nowhere").refused(40100);
    assert_eq!(served.get("/healthz").status, 200);
    assert_eq!(served.get("/readyz").status, 200);

    ask("GET", "/v1/legs", "viewer:wrong", "").refused(40108);
    ask("GET", "/v1/legs", "stranger:c2VjcmV0", "").refused(40108);
    assert_eq!(ask("GET", "/v1/legs", "viewer:c2VjcmV0", "").status, 200);
    assert_eq!(ask("GET", "/metrics", "viewer:c2VjcmV0", "").status, 200);
    ask("POST", "/v1/legs", "viewer:c2VjcmV0", &leg).refused(40300);
    ask("DELETE", "/v1/legs/a", "viewer:c2VjcmV0", "").refused(40300);
    ask("POST", "/v1/legs", "switch:czNjcjN0", &leg).json(201);
    ask("DELETE", "/v1/legs/a", "switch:czNjcjN0", "").empty(204);
    std::fs::remove_dir_all(dir).unwrap();
}
