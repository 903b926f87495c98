use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::ToSpan;

use super::*;
use crate::control::signature::{Signable, tests as vectors};

const FILE: &str = "# who\nviewer:c2VjcmV0:read\nswitch:czNjcjN0\n\nroot:cm9vdA==:admin\n";
const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const PATH: &str = "/calling/v1/conferences/id/room-1/leg-7";

fn limits() -> config::Auth {
    config::Auth {
        requests_per_s: 0,
        failures_per_s: 0,
        ..config::Config::defaults().auth
    }
}

fn auth(text: &str, limits: config::Auth) -> Auth {
    let rules = Rules {
        keys: Keys::parse(text, &HashMap::new()).unwrap(),
        certificates: Certificates::new(&config::Tls::default(), &HashMap::new()),
        limits,
    };
    Auth {
        rules: RwLock::new(Arc::new(rules)),
        failures: Failures::new(100),
        nonces: Mutex::new(Nonces::new(100)),
        decoy: Key::decoy(),
        changes: watch::Sender::new(()),
    }
}

fn shown(authorization: Option<&str>) -> Shown<'_> {
    Shown {
        address: HERE,
        is_private: true,
        certificate: None,
        authorization: Ok(authorization),
        verb: "PATCH",
        target: PATH,
        content_type: "application/json",
        timestamp: Some("2026-01-02T03:04:05.6789Z"),
        content_sha256: None,
    }
}

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

fn moment(wall: &str) -> Moment {
    Moment {
        monotonic: Instant::now(),
        wall: wall.parse().unwrap(),
    }
}

fn signature(secret: &str, shown: &Shown<'_>, body: &[u8]) -> String {
    let request = Signable {
        verb: shown.verb,
        path: shown.target,
        content_type: shown.content_type,
        timestamp: shown.timestamp.unwrap_or_default(),
        body,
    };
    SigningKey::new(&STANDARD.decode(secret).unwrap()).sign(&request)
}

#[test]
fn a_key_with_its_secret_has_its_role_and_nothing_else_is_let_in() {
    let auth = auth(FILE, limits());
    let ask = |header: Option<&str>| auth.identify(&shown(header), b"", Moment::now());
    for (credentials, role) in [
        ("viewer:c2VjcmV0", Role::Read),
        ("switch:czNjcjN0", Role::Control),
        ("root:cm9vdA==", Role::Admin),
    ] {
        assert_eq!(ask(Some(&basic(credentials))).unwrap().identity.role, role);
    }
    let in_other_case = basic("viewer:c2VjcmV0").replace("Basic", "bAsIc");
    assert_eq!(ask(Some(&in_other_case)).unwrap().identity.role, Role::Read);
    for (header, code) in [
        (None, 40100),
        (Some(basic("nobody")), 40100),
        (Some("Bearer x".into()), 40100),
        (Some("Application".into()), 40100),
        (Some("Application viewer".into()), 40100),
        (Some("Basic !".into()), 40100),
        (Some(basic("viewer:c2VjcmV1")), 40108),
        (Some(basic("viewer:")), 40108),
        (Some(basic(":")), 40108),
        (Some(basic("stranger:c2VjcmV0")), 40108),
    ] {
        assert_eq!(
            ask(header.as_deref()).unwrap_err().refusal.code,
            code,
            "{header:?}"
        );
    }
    let twice = Shown {
        authorization: Err(()),
        ..shown(None)
    };
    assert_eq!(
        auth.identify(&twice, b"", Moment::now())
            .unwrap_err()
            .refusal
            .code,
        40100
    );
}

#[test]
fn basic_is_taken_where_nobody_else_can_read_it() {
    let header = basic("switch:czNjcjN0");
    let open = Shown {
        is_private: false,
        ..shown(Some(&header))
    };
    let denied = auth(FILE, limits())
        .identify(&open, b"", Moment::now())
        .unwrap_err();
    assert_eq!(
        (denied.reason, denied.refusal.code),
        (RequestRefusal::Unencrypted, 40100)
    );
    let anywhere = config::Auth {
        basic_anywhere: true,
        ..limits()
    };
    assert!(auth(FILE, anywhere).identify(&open, b"", Moment::now()).is_ok());
}

#[test]
fn the_published_example_and_the_platforms_vectors_are_let_in() {
    let published = auth(
        "669E367E-6BBA-48AB-AF15-266871C28135:BeIukql3pTKJ8RGL5zo0DA==",
        limits(),
    );
    let header =
        "application 669E367E-6BBA-48AB-AF15-266871C28135:Tg6fMyo8mj9pYfWQ9ssbx3Tc1BNC87IEygAfLbJqZb4=";
    let body = br#"{"event":"ace","callid":"822aa4b7-05b4-4d83-87c7-1f835ee0b6f6_257","timestamp":"2014-09-24T10:59:41Z","version":1}"#;
    let example = Shown {
        verb: "POST",
        target: "/sinch/callback/ace",
        timestamp: Some("2014-09-24T10:59:41Z"),
        ..shown(Some(header))
    };
    assert!(
        published
            .identify(&example, body, moment("2014-09-24T10:59:50Z"))
            .is_ok()
    );

    let ours = auth(&format!("app:{}", vectors::SECRET), limits());
    for (verb, target, content_type, timestamp, body, signature) in vectors::VECTORS {
        let header = format!("Application app:{signature}");
        let vector = Shown {
            verb,
            target,
            content_type,
            timestamp: Some(timestamp),
            ..shown(Some(&header))
        };
        let admitted = ours.identify(&vector, body.as_bytes(), moment("2026-01-02T03:04:00Z"));
        assert_eq!(admitted.unwrap().identity.key, "app", "{verb} {target}");
    }
}

/// Fault row C9.
#[test]
fn a_signature_holds_once_in_its_time_for_its_request_and_by_its_key() {
    let secret = "czNjcjN0";
    let body = br#"{"command":"mute"}"#;
    let now = "2026-01-02T03:04:05Z";
    let plain = shown(None);
    let right = signature(secret, &plain, body);
    let header = format!("application switch:{right}");
    type Case<'a> = (&'static str, Shown<'a>, &'a [u8], &'a str, u32);
    let wrong_key = format!("application nobody:{right}");
    let others = format!("application viewer:{right}");
    let cut = format!("application switch:{}", &right[..40]);
    let in_capitals = format!("APPLICATION switch:{}", signature(secret, &plain, b""));
    let of_nothing = SigningKey::new(b"").sign(&Signable {
        verb: plain.verb,
        path: plain.target,
        content_type: plain.content_type,
        timestamp: plain.timestamp.unwrap(),
        body,
    });
    let of_no_secret = format!("application switch:{of_nothing}");
    let signed = shown(Some(&header));
    let cases: Vec<Case> = vec![
        ("as it is", signed, body, now, 0),
        ("scheme in capitals", shown(Some(&in_capitals)), b"", now, 0),
        ("earliest", signed, body, "2026-01-02T03:09:05.6789Z", 0),
        ("too early", signed, body, "2026-01-02T03:09:06Z", 40101),
        ("latest", signed, body, "2026-01-02T02:59:05.6789Z", 0),
        ("too late", signed, body, "2026-01-02T02:59:05Z", 40101),
        (
            "no time",
            Shown {
                timestamp: None,
                ..signed
            },
            body,
            now,
            40101,
        ),
        (
            "no such time",
            Shown {
                timestamp: Some("yesterday"),
                ..signed
            },
            body,
            now,
            40101,
        ),
        (
            "other time",
            Shown {
                timestamp: Some("2026-01-02T03:04:05.678Z"),
                ..signed
            },
            body,
            now,
            40102,
        ),
        ("other body", signed, br#"{"command":"unmute"}"#, now, 40102),
        ("no body", signed, b"", now, 40102),
        (
            "other verb",
            Shown {
                verb: "DELETE",
                ..signed
            },
            body,
            now,
            40102,
        ),
        (
            "other path",
            Shown {
                target: "/v1/legs/leg-7",
                ..signed
            },
            body,
            now,
            40102,
        ),
        (
            "unsigned query",
            Shown {
                target: "/calling/v1/conferences/id/room-1/leg-7?a=b",
                ..signed
            },
            body,
            now,
            40102,
        ),
        (
            "other type",
            Shown {
                content_type: "text/plain",
                ..signed
            },
            body,
            now,
            40102,
        ),
        ("unknown key", shown(Some(&wrong_key)), body, now, 40102),
        ("another's key", shown(Some(&others)), body, now, 40102),
        ("cut short", shown(Some(&cut)), body, now, 40102),
        ("empty secret", shown(Some(&of_no_secret)), body, now, 40102),
        (
            "a digest nobody signed",
            Shown {
                content_sha256: Some(""),
                ..signed
            },
            body,
            now,
            40102,
        ),
    ];
    for (what, shown, body, wall, code) in cases {
        let auth = auth(FILE, limits());
        let answer = auth.identify(&shown, body, moment(wall));
        let found = answer.err().map_or(0, |denied| denied.refusal.code);
        assert_eq!(found, code, "{what}");
    }

    let auth = auth(FILE, limits());
    assert!(auth.identify(&signed, body, moment(now)).is_ok());
    let again = auth.identify(&signed, body, moment(now)).unwrap_err();
    assert_eq!(
        (again.reason, again.refusal.code),
        (RequestRefusal::Replayed, 40102)
    );
    // A stranger cannot fill the memory of signatures.
    for _ in 0..200 {
        assert_eq!(
            auth.identify(&shown(Some(&wrong_key)), body, moment(now))
                .unwrap_err()
                .reason,
            RequestRefusal::Signature
        );
    }
    assert_eq!(auth.nonces().len(), 1);
}

#[test]
fn a_query_is_signed_with_its_path_and_a_body_by_its_sha_256_where_the_header_says_so() {
    let auth = auth(FILE, limits());
    let now = moment("2026-01-02T03:04:05Z");
    let asked = Shown {
        target: "/v1/legs?page=2",
        ..shown(None)
    };
    let header = format!("application switch:{}", signature("czNjcjN0", &asked, b""));
    let with_query = Shown {
        authorization: Ok(Some(&header)),
        ..asked
    };
    assert!(auth.identify(&with_query, b"", now).is_ok());

    // The text is the same but for the digest.
    let digest = {
        use sha2::{Digest, Sha256};
        STANDARD.encode(Sha256::digest(b"{}"))
    };
    let text = format!("PATCH\n{digest}\napplication/json\nx-timestamp:2026-01-02T03:04:05.6789Z\n{PATH}");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &STANDARD.decode("czNjcjN0").unwrap());
    let header = format!(
        "application switch:{}",
        STANDARD.encode(ring::hmac::sign(&key, text.as_bytes()))
    );
    let strong = Shown {
        content_sha256: Some(&digest),
        ..shown(Some(&header))
    };
    assert_eq!(
        auth.identify(&strong, b"{ }", now).unwrap_err().refusal.code,
        40102
    );
    assert!(auth.identify(&strong, b"{}", now).is_ok());
}

#[test]
fn two_secrets_of_a_key_hold_and_both_by_either_scheme() {
    let auth = auth("app:b2xk\napp:bmV3\n", limits());
    for secret in ["b2xk", "bmV3"] {
        assert!(
            auth.identify(&shown(Some(&basic(&format!("app:{secret}")))), b"", Moment::now())
                .is_ok()
        );
        let header = format!("application app:{}", signature(secret, &shown(None), b""));
        assert!(
            auth.identify(&shown(Some(&header)), b"", moment("2026-01-02T03:04:05Z"))
                .is_ok()
        );
    }
    assert!(
        auth.identify(&shown(Some(&basic("app:b3RoZXI="))), b"", Moment::now())
            .is_err()
    );
}

#[test]
fn a_role_does_what_it_includes() {
    let identity = |role| Identity {
        key: "someone".into(),
        role,
    };
    assert!(identity(Role::Read).require(Role::Read).is_ok());
    assert_eq!(
        identity(Role::Read).require(Role::Control).unwrap_err().code,
        40300
    );
    assert!(identity(Role::Admin).require(Role::Control).is_ok());
}

#[test]
fn a_file_that_is_wrong_or_open_to_others_is_refused_with_its_line_but_not_its_content() {
    for (text, line) in [
        ("", 1),
        ("a", 1),
        ("a:!!:read", 1),
        ("\na::read", 2),
        (":c2VjcmV0", 1),
        ("a:c2VjcmV0:boss", 1),
        ("a:c2VjcmV0\na:c2VjcmV0", 2),
        ("a:c2VjcmV0\na:bmV3:read", 2),
        ("a:c2VjcmV0\nb:bmV3\na:bmV3\na:b2xk", 4),
        ("a:c2VjcmV0:read:more", 1),
    ] {
        let (at, wrong) = Keys::parse(text, &HashMap::new()).err().unwrap();
        assert_eq!(at, line, "{text}");
        assert!(!wrong.contains("c2VjcmV0"));
    }
    let path = std::env::temp_dir().join(format!("mixminus-keys-{}", std::process::id()));
    std::fs::write(&path, FILE).unwrap();
    let read = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let auth = config::Auth {
            keys_file: Some(PathBuf::from(&path)),
            ..limits()
        };
        Auth::new(&auth, &config::Tls::default())
    };
    std::fs::write(&path, format!("{FILE}#{}", "x".repeat(1 << 20))).unwrap();
    let large = read(0o600).unwrap_err().to_string();
    assert!(large.contains("larger than 1 MiB"), "{large}");
    std::fs::write(&path, FILE).unwrap();
    let open = read(0o640).unwrap_err().to_string();
    let closed = read(0o600).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(open.contains("mode 0640"), "{open}");
    assert_eq!(format!("{closed:?}"), "3 keys");
}

#[test]
fn a_key_has_its_requests_a_second_whatever_strangers_do_and_over_a_reload() {
    let path = std::env::temp_dir().join(format!("mixminus-rated-keys-{}", std::process::id()));
    std::fs::write(&path, FILE).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
    let limits = config::Auth {
        keys_file: Some(path.clone()),
        requests_per_s: 5,
        concurrent_per_key: 3,
        failures_per_s: 4,
        ..limits()
    };
    let auth = Auth::new(&limits, &config::Tls::default()).unwrap();
    let start = Moment::now();
    let header = basic("viewer:c2VjcmV0");
    let reason = |header: Option<&str>, at: Moment| {
        let tried = auth.may_try(&shown(header), at.monotonic);
        tried
            .and_then(|_| auth.identify(&shown(header), b"", at))
            .err()
            .map(|denied| (denied.reason, denied.refusal.retry_after_s))
    };
    let right = |at: Moment| reason(Some(&header), at);
    // Without a word of who asks, with a wrong secret: each has its own failures.
    for wrong in [None, Some(basic("viewer:d3Jvbmc="))] {
        let reasons: Vec<_> = (0..6).map(|_| reason(wrong.as_deref(), start).unwrap()).collect();
        assert!(
            reasons[..4].iter().all(|(_, retry)| retry.is_none()),
            "{reasons:?}"
        );
        assert_eq!(reasons[4..], [(RequestRefusal::AddressRate, Some(1)); 2]);
    }
    assert_eq!(right(start), None, "others with wrong secrets do not shut it out");
    assert_eq!(reason(Some(&basic("root:cm9vdA==")), start), None);
    let elsewhere = Shown {
        address: "192.0.2.1".parse().unwrap(),
        ..shown(Some(&header))
    };
    assert!(auth.may_try(&elsewhere, start.monotonic).is_ok());

    let later = Moment {
        monotonic: start.monotonic + Duration::from_secs(1),
        ..start
    };
    let held: Vec<_> = (0..3)
        .map(|_| auth.identify(&shown(Some(&header)), b"", later).unwrap())
        .collect();
    let fourth = auth.identify(&shown(Some(&header)), b"", later).unwrap_err();
    assert_eq!(fourth.reason, RequestRefusal::KeyConcurrency);
    drop(held);
    // What found no place has not used up a request of this second.
    assert_eq!(right(later), None);
    assert_eq!(right(later), None);
    assert_eq!(
        reason(Some(&header), later),
        Some((RequestRefusal::KeyRate, Some(1)))
    );
    let renewed = auth.renew(&limits, &config::Tls::default()).unwrap();
    auth.apply(renewed);
    assert_eq!(
        reason(Some(&header), later),
        Some((RequestRefusal::KeyRate, Some(1)))
    );
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_signed_request_that_came_too_often_may_come_again_as_it_is() {
    let limits = config::Auth {
        requests_per_s: 1,
        ..limits()
    };
    let auth = auth(FILE, limits);
    let header = |timestamp| {
        let asked = Shown {
            timestamp: Some(timestamp),
            ..shown(None)
        };
        format!("application switch:{}", signature("czNjcjN0", &asked, b""))
    };
    let now = moment("2026-01-02T03:04:05Z");
    let ask = |timestamp, at| {
        let header = header(timestamp);
        let asked = Shown {
            timestamp: Some(timestamp),
            ..shown(Some(&header))
        };
        auth.identify(&asked, b"", at).err().map(|denied| denied.reason)
    };
    let later = Moment {
        monotonic: now.monotonic + Duration::from_secs(1),
        ..now
    };
    assert_eq!(ask("2026-01-02T03:04:05Z", now), None);
    assert_eq!(ask("2026-01-02T03:04:06Z", now), Some(RequestRefusal::KeyRate));
    assert_eq!(ask("2026-01-02T03:04:06Z", later), None);
}

#[test]
fn a_certificate_speaks_for_its_highest_role_where_no_key_is_shown() {
    let tls = config::Tls {
        client_ca_file: Some("ca.pem".into()),
        client_roles: [
            ("look.example", "read"),
            ("switch.example", "control"),
            ("spiffe://a/b", "admin"),
        ]
        .map(|(name, role)| (name.to_owned(), role.to_owned()))
        .into(),
        ..config::Tls::default()
    };
    let auth = Auth::new(&limits(), &tls).unwrap();
    let ask = |names: &[&str], header: Option<&str>| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let shown = Shown {
            certificate: Some(&names),
            ..shown(header)
        };
        auth.identify(&shown, b"", Moment::now())
            .map(|admitted| (admitted.identity.key.clone(), admitted.identity.role))
            .map_err(|denied| denied.refusal.code)
    };
    assert_eq!(
        ask(&["look.example"], None),
        Ok(("look.example".into(), Role::Read))
    );
    assert_eq!(
        ask(&["look.example", "switch.example"], None),
        Ok(("switch.example".into(), Role::Control))
    );
    assert_eq!(
        ask(&["spiffe://a/b"], None),
        Ok(("spiffe://a/b".into(), Role::Admin))
    );
    assert_eq!(ask(&["other.example"], None), Err(40300));
    assert_eq!(ask(&[], None), Err(40300));
    // What is shown in a request goes before.
    assert_eq!(ask(&["look.example"], Some(&basic("a:YQ=="))), Err(40108));
    assert_eq!(
        auth.identify(&shown(None), b"", Moment::now())
            .unwrap_err()
            .refusal
            .code,
        40100
    );
}

#[test]
fn a_time_may_have_seven_digits_of_fraction_and_an_offset() {
    for (timestamp, is_time) in [
        ("2026-01-02T03:04:05.1234567Z", true),
        ("2026-01-02T03:04:05.123456789Z", true),
        ("2026-01-02T05:04:05+02:00", true),
        ("2026-01-02T03:04:05", false),
        ("", false),
    ] {
        let asked = Shown {
            timestamp: Some(timestamp),
            ..shown(None)
        };
        let header = format!("application switch:{}", signature("czNjcjN0", &asked, b""));
        let asked = Shown {
            authorization: Ok(Some(&header)),
            ..asked
        };
        let wall = moment("2026-01-02T03:04:05Z");
        let at = Moment {
            wall: wall.wall + 1.second(),
            ..wall
        };
        assert_eq!(
            auth(FILE, limits()).identify(&asked, b"", at).is_ok(),
            is_time,
            "{timestamp}"
        );
    }
}

#[test]
fn whoever_was_let_in_by_a_secret_that_was_replaced_is_not_known_any_more() {
    let auth = auth(FILE, limits());
    let renew = |text: &str| {
        let usages = HashMap::new();
        let renewed = Rules {
            keys: Keys::parse(text, &usages).unwrap(),
            certificates: Certificates::new(&config::Tls::default(), &usages),
            limits: limits(),
        };
        auth.apply(RenewedAuth(renewed));
    };
    let by_secret = basic("switch:czNjcjN0");
    let plain = shown(None);
    let by_signature = format!("application switch:{}", signature("czNjcjN0", &plain, b""));
    let now = moment("2026-01-02T03:04:05Z");
    let admitted = [by_secret, by_signature].map(|header| {
        let shown = shown(Some(&header));
        auth.identify(&shown, b"", now).unwrap()
    });
    for (text, is_known) in [
        ("switch:czNjcjN0:read", true),
        ("switch:b3RoZXI=\nswitch:czNjcjN0", true),
        ("switch:b3RoZXI=", false),
        ("other:czNjcjN0", false),
        ("switch:czNjcjN0", true),
    ] {
        renew(text);
        for who in &admitted {
            assert_eq!(auth.knows(who), is_known, "{text}");
        }
    }
}
