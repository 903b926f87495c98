//! Every operation with what is wrong, over HTTP and over gRPC: never a 5xx, never a status that is not documented,
//! always an error in the one form.

use mixminus::control::operation::{Described, OPERATIONS, Operation};
use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, Value as Said};
use serde_json::{Map, Value, json};
use tonic::Code;

use super::asks_for_nothing;
use super::described::{Document, ask, percent, request};
use crate::support::grpc::{Client, Refused, method};
use crate::support::http::{Reply, Served, offer, raw, send};

/// Of every type, and of sizes beyond what anything takes.
fn values() -> Vec<Value> {
    let long = "é".repeat(5_000);
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    vec![
        Value::Null,
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(u64::MAX),
        json!(1.5),
        json!(1e308),
        json!(-1e308),
        json!(""),
        json!("x"),
        json!("\u{0}"),
        json!("x".repeat(65)),
        json!("x".repeat(129)),
        json!(long),
        json!([]),
        json!(["x"]),
        json!(vec!["x"; 1_000]),
        json!([1, null]),
        json!({}),
        json!({ "surprise": 1 }),
        deep,
    ]
}

fn unary() -> impl Iterator<Item = &'static Described> {
    OPERATIONS.iter().filter(|described| !described.is_stream())
}

/// Legs that a request has made after all go again.
fn clean(served: &Served, reply: &Reply) {
    if reply.status == 201 {
        let leg = reply.json(201);
        let call = percent(leg["callId"].as_str().unwrap());
        served.delete(&format!("/v1/legs/{call}")).empty(204);
    }
}

/// Fault row C2, over HTTP.
#[test]
fn c2_a_body_with_anything_in_any_field_is_refused_as_documented() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    for described in unary().filter(|described| described.has_body()) {
        let schema = &document.operation(described)["requestBody"]["content"]["application/json"]["schema"];
        let names = schema["properties"].as_object().unwrap().keys();
        let (path, base) = request(described, &asks_for_nothing(described));
        for name in names.map(String::as_str).chain(["surprise"]) {
            for value in values() {
                let mut body = base.clone().unwrap();
                if described.operation == Operation::CreateLeg {
                    body["conferenceId"] = json!("r");
                }
                body[name] = value;
                let text = body.to_string();
                let reply = send(served.http, described.verb(), &path, &[], text.as_bytes());
                document.check(described, &text, &reply);
                if !document.allows(described, &body) {
                    assert!(reply.status >= 400, "{} {text}: {}", described.name, reply.status);
                }
                clean(&served, &reply);
            }
        }
        let mut surprised = base.clone().unwrap();
        surprised["surprise"] = json!(1);
        if described.operation == Operation::CreateLeg {
            surprised["conferenceId"] = json!("r");
        }
        let reply = send(
            served.http,
            described.verb(),
            &path,
            &[],
            surprised.to_string().as_bytes(),
        );
        match described.operation {
            Operation::CommandParticipant => drop(reply.refused(40400)),
            _ => assert!(reply.refused(40001).contains("`surprise`")),
        }
    }
    assert_eq!(served.metric("mixminus_rooms"), 0.0);
}

/// Fault row C2, over HTTP.
#[test]
fn c2_a_body_that_is_no_json_or_too_large_is_refused_by_every_operation_that_has_one() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let deep = "[".repeat(10_000);
    let deep_object = "{\"secret\":".repeat(6_000);
    let huge = format!("{{\"conferenceId\":{}}}", "9".repeat(10_000));
    let large = vec![b' '; 65_537];
    for described in unary().filter(|described| described.has_body()) {
        let (path, _) = request(described, &asks_for_nothing(described));
        for (body, code) in [
            (b"{".as_slice(), 40003),
            (b"[]", 40003),
            (b"\"secret\"", 40003),
            (b"null", 40003),
            (b"\xef\xbb\xbf{}", 40003),
            (b"{\"secret\":\"\xff\xfe\"}", 40003),
            (b"{\"secret\":\"\\ud800\"}", 40003),
            (b"{\"secret\":1,\"secret\":2}", 40003),
            (b"{\"secret\":1e999}", 40003),
            (b"{} {}", 40003),
            (deep.as_bytes(), 40003),
            (deep_object.as_bytes(), 40003),
            (&large, 41300),
        ] {
            let reply = send(served.http, described.verb(), &path, &[], body);
            document.check(
                described,
                &String::from_utf8_lossy(&body[..body.len().min(40)]),
                &reply,
            );
            let message = reply.refused(code);
            assert!(!message.contains("secret"), "{message}");
        }
        let reply = send(served.http, described.verb(), &path, &[], huge.as_bytes());
        document.check(described, "a number of 10,000 digits", &reply);
        assert!(
            reply.status == 400 || described.operation == Operation::CommandParticipant,
            "{}",
            reply.text()
        );
    }
}

#[test]
fn ids_and_queries_of_any_form_are_answered_as_documented() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let long = "x".repeat(5_000);
    let texts = [
        "",
        "x",
        "%",
        "%zz",
        "%00",
        "%FF",
        "..",
        "%2e%2e%2f",
        "a%20b",
        "-1",
        "0",
        "1e9",
        "99999999999999999999",
        &long,
    ];
    for described in unary() {
        for id in described.ids() {
            for text in texts.iter().chain(&[&*"é".repeat(65), &*"x".repeat(129)]) {
                let mut path = described.path().replace(&format!("{{{id}}}"), text);
                for other in described.ids() {
                    path = path.replace(&format!("{{{other}}}"), "nobody");
                }
                // As it is written, which is not always UTF-8 or a path of this route.
                let request = format!(
                    "{} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}",
                    described.verb()
                );
                let reply = raw(served.http, request.as_bytes());
                if text.is_empty() || text.contains("..") || !text.is_ascii() {
                    // Another path, or none: hyper answers a request line that is not HTTP by itself.
                    assert!(
                        (400..500).contains(&reply.status) || reply.status == 200,
                        "{path}: {}",
                        reply.text()
                    );
                    continue;
                }
                document.check(described, &path, &reply);
            }
        }
        let parameters = document.operation(described)["parameters"].as_array().unwrap();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().unwrap();
            for text in texts {
                let path = format!("{}?{name}={text}", described.path());
                document.check(described, &path, &served.get(&path));
                let twice = served.get(&format!("{path}&{name}=1"));
                document.check(described, &path, &twice);
                twice.refused(40001);
            }
        }
    }
}

/// Those that answer with a stream included.
#[test]
fn a_query_that_is_none_is_answered_as_documented_by_every_operation() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    for described in OPERATIONS {
        let (path, body) = request(described, &asks_for_nothing(described));
        let path = path.split('?').next().unwrap();
        let body = body.map_or(String::new(), |body| body.to_string());
        for query in ["?a&a", "?x=%ff"] {
            let reply = send(
                served.http,
                described.verb(),
                &format!("{path}{query}"),
                &[],
                body.as_bytes(),
            );
            document.check(described, query, &reply);
            assert_eq!(reply.status, 400, "{} {query}: {}", described.name, reply.text());
        }
    }
}

#[test]
fn paths_and_methods_that_are_not_there_are_refused_in_the_one_form() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    for (path, item) in document.json["paths"].as_object().unwrap() {
        let path = path.replace(['{', '}'], "");
        for verb in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
        ] {
            if item.get(verb.to_lowercase()).is_none() {
                let reply = send(served.http, verb, &path, &[], b"");
                reply.refused(40500);
                assert!(reply.header("allow").is_some(), "{verb} {path}");
            }
        }
        send(served.http, "GET", &format!("{path}/and/more/of/it"), &[], b"").refused(40400);
    }
}

/// What came of a request over gRPC keeps to the contract: a documented status, all that belongs to it in the metadata.
#[track_caller]
fn check(document: &Document, described: &Described, what: &str, outcome: &Result<(), Refused>) {
    let Err(refused) = outcome else { return };
    let name = described.name;
    let code = refused
        .error_code
        .unwrap_or_else(|| panic!("{name} {what}: no error code: {refused:?}"));
    let status = (code / 100) as u16;
    assert!(
        document.statuses(described).contains(&status),
        "{name} {what}: {refused:?}"
    );
    let expected = match status {
        400 => Code::InvalidArgument,
        408 => Code::DeadlineExceeded,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::AlreadyExists,
        413 | 429 | 507 => Code::ResourceExhausted,
        503 => Code::Unavailable,
        other => panic!("{name} {what}: {other} {refused:?}"),
    };
    assert_eq!(refused.code, expected, "{name} {what}: {refused:?}");
    assert!(
        refused.metadata.contains_key("mixminus-reference"),
        "{name} {what}: {refused:?}"
    );
}

/// Fault row C2, over both faces.
#[test]
fn c2_what_both_faces_can_say_they_answer_alike() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let client = Client::new(served.grpc);
    for described in unary() {
        let input = method(described.name).input();
        for field in input.fields().filter(|field| field.name() != "clear") {
            for value in values() {
                let mut asked = asks_for_nothing(described);
                if described.operation == Operation::CreateLeg {
                    asked["conferenceId"] = json!("r");
                }
                asked[field.json_name()] = value;
                let options = prost_reflect::DeserializeOptions::new().deny_unknown_fields(true);
                let Ok(message) = DynamicMessage::deserialize_with_options(input.clone(), &asked, &options)
                else {
                    // No message can say it.
                    continue;
                };
                let text = asked.to_string();
                let outcome = client.send(described.name, message.encode_to_vec().into());
                let outcome = outcome.map(|(reply, _)| {
                    if described.operation == Operation::CreateLeg {
                        let leg = DynamicMessage::decode(method("CreateLeg").output(), reply).unwrap();
                        let call = leg
                            .get_field_by_name("call_id")
                            .unwrap()
                            .as_str()
                            .unwrap()
                            .to_owned();
                        served.delete(&format!("/v1/legs/{}", percent(&call))).empty(204);
                    }
                });
                check(&document, described, &text, &outcome);
                // In a message, what is empty or null is not there; and a path as long as a header may be is none.
                let value = &asked[field.json_name()];
                let is_alike = ![json!(""), json!([]), Value::Null].contains(value)
                    && request(described, &asked).0.len() < 8 * 1024;
                if is_alike {
                    let reply = ask(&served, described, &asked);
                    let code = outcome.err().and_then(|refused| refused.error_code);
                    let over_http = (reply.status >= 400)
                        .then(|| reply.json(reply.status)["errorCode"].as_u64().unwrap());
                    assert_eq!(code, over_http, "{} {text}: {}", described.name, reply.text());
                    clean(&served, &reply);
                }
            }
        }
    }
}

/// A value of the field's type that is as extreme as it can be.
fn extremes(field: &FieldDescriptor) -> Vec<Said> {
    let of_kind = match field.kind() {
        Kind::String => vec![
            Said::String(String::new()),
            Said::String("x".repeat(65)),
            Said::String("é".repeat(5_000)),
            Said::String("\u{202e}\0\u{85}".to_owned()),
            Said::String("x".repeat(70_000)),
        ],
        Kind::Double => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, -0.0]
            .map(Said::F64)
            .to_vec(),
        Kind::Uint64 => [0, 1, u64::MAX, 1 << 53].map(Said::U64).to_vec(),
        Kind::Uint32 => [0, u32::MAX].map(Said::U32).to_vec(),
        Kind::Bool => [true, false].map(Said::Bool).to_vec(),
        Kind::Message(message) => vec![Said::Message(DynamicMessage::new(message))],
        other => panic!("{other:?} is not asked for"),
    };
    match field.is_list() {
        true => vec![
            Said::List(vec![]),
            Said::List(of_kind.iter().cycle().take(1_000).cloned().collect()),
        ],
        false => of_kind,
    }
}

/// Fault row C2, over gRPC.
#[test]
fn c2_a_message_with_extremes_in_any_field_is_refused_as_documented() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let client = Client::new(served.grpc);
    for described in unary() {
        let input = method(described.name).input();
        for field in input.fields() {
            for value in extremes(&field) {
                let asked = asks_for_nothing(described);
                let mut message =
                    DynamicMessage::decode(input.clone(), crate::support::grpc::encoded(&input, &asked))
                        .unwrap();
                message.set_field(&field, value);
                let outcome = client
                    .send(described.name, message.encode_to_vec().into())
                    .map(drop);
                check(&document, described, field.name(), &outcome);
            }
        }
    }
}

/// Fault row C2, over gRPC.
#[test]
fn c2_bytes_that_are_no_message_are_refused_and_not_repeated() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let client = Client::new(served.grpc);
    for described in unary().filter(|described| method(described.name).input().fields().len() > 0) {
        for (what, bytes) in [
            // A tag and nothing behind it; a length beyond the end; one of 100 MB; a varint without end; group ends.
            ("cut short", b"\x0a".to_vec()),
            ("a length beyond the end", b"\x0a\x06secret"[..5].to_vec()),
            ("a length of 100 MB", b"\x0a\x80\xc2\xd7\x2f".to_vec()),
            ("a number without end", vec![0xff; 20]),
            ("the end of a group", b"\x0c".to_vec()),
            ("no UTF-8", b"\x0a\x02\xff\xfe".to_vec()),
            ("tag 0", b"\x00\x01".to_vec()),
        ] {
            let refused = client.send(described.name, bytes.into()).unwrap_err();
            assert!(!refused.message.contains("secret"), "{refused:?}");
            let is_number = what == "no UTF-8" && described.name.starts_with("List");
            let code = if is_number {
                refused.error_code
            } else {
                Some(40003)
            };
            assert_eq!(
                (refused.code, refused.error_code),
                (Code::InvalidArgument, code),
                "{} {what}: {refused:?}",
                described.name
            );
        }
        // Field 1000 is of no message, at the top or in one.
        let unknown = b"\xc2\x3e\x06secret".to_vec();
        let refused = client.send(described.name, unknown.into()).unwrap_err();
        check(&document, described, "an unknown tag", &Err(refused));
    }
    let refused = client
        .send("CreateLeg", b"\x0a\x01r\xc0\x3e\x01".as_slice().into())
        .unwrap_err();
    assert!(refused.message.contains("1000"), "{refused:?}");
    // As deep as it may be, in a list of legs too.
    let deep = (0..16).fold(json!("x"), |inner, _| json!({ "a": inner }));
    let leg = json!({ "conferenceId": "r", "callId": "deep", "custom": deep });
    assert_eq!(client.call("CreateLeg", &leg).unwrap()["custom"], deep);
    assert_eq!(
        client.call("ListLegs", &json!({})).unwrap()["legs"][0]["custom"],
        deep
    );
    client.call("EndLeg", &json!({ "callId": "deep" })).unwrap();
    // `offer` with a field that it does not have.
    let refused = client
        .send(
            "CreateLeg",
            b"\x0a\x01r\x9a\x01\x03\xc0\x3e\x01".as_slice().into(),
        )
        .unwrap_err();
    assert!(refused.message.contains("1000"), "{refused:?}");
    // Lists of lists of … in `custom`: deeper than anyone looks.
    let mut nested = Vec::new();
    for _ in 0..2_000 {
        let mut outer = Vec::new();
        for tag in [0x0au8, 0x32] {
            outer = vec![tag];
            prost_reflect::prost::encode_length_delimiter(nested.len(), &mut outer).unwrap();
            outer.append(&mut nested);
            nested = outer.clone();
        }
        nested = outer;
        if nested.len() > 60_000 {
            break;
        }
    }
    let mut message = b"\x0a\x01r\xaa\x01".to_vec();
    prost_reflect::prost::encode_length_delimiter(nested.len(), &mut message).unwrap();
    message.append(&mut nested);
    let refused = client.send("CreateLeg", message.into()).unwrap_err();
    assert_eq!(
        (refused.code, refused.error_code),
        (Code::InvalidArgument, Some(40003)),
        "{refused:?}"
    );
    assert_eq!(served.metric("mixminus_rooms"), 0.0);
}

/// Fault row C2, over gRPC: what a frame's head announces is believed at once, whatever follows.
#[test]
fn c2_a_message_announced_too_long_is_refused_before_it_comes() {
    let served = Served::start(&[]);
    let client = Client::new(served.grpc);
    let refused = client.send("CreateLeg", vec![0; 65_537].into()).unwrap_err();
    assert_eq!(
        (refused.code, refused.error_code),
        (Code::ResourceExhausted, Some(41300))
    );
    // Over HTTP/1.1, where frames can be written by hand.
    let path = "/mixminus.v1.Control/CreateLeg";
    let send_frame = |kind: &str, frame: &[u8], length: usize| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        raw(served.grpc, &[head.as_bytes(), frame].concat())
    };
    for (frame, length, status, code) in [
        // 100 MB of which not one byte comes.
        (b"\x00\x05\xf5\xe1\x00".as_slice(), 100_000_005, "8", "41300"),
        (b"\x00\xff\xff\xff\xff", 5, "8", "41300"),
        (b"\x01\x00\x00\x00\x01x", 6, "12", "41500"),
        (b"\x00\x00\x00", 3, "3", "40003"),
        (b"\x00\x00\x00\x00\x05x", 6, "3", "40003"),
        (b"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 10, "3", "40003"),
        (b"", 0, "3", "40003"),
    ] {
        let reply = send_frame("application/grpc", frame, length);
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(
            (reply.header("grpc-status"), reply.header("mixminus-error-code")),
            (Some(status), Some(code))
        );
    }
    send_frame("application/json", b"{}", 2).refused(41500);
    let counted = |reason: &str| served.metric(&format!("mixminus_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!((counted("too_large"), counted("unsupported")), (3.0, 2.0));
}

/// Fault row C1, over both faces.
#[test]
fn c1_a_conference_id_is_the_same_text_over_both_faces() {
    let served = Served::start(&[]);
    let client = Client::new(served.grpc);
    let sixty_four = "😀".repeat(64);
    let good = [
        "a",
        "/",
        ".",
        "..",
        "%",
        "%2e%2e%2f",
        "%00",
        "é",
        "e\u{301}",
        "\u{202e}مرحبا",
        "👩‍👩‍👧",
        " ",
        &"x".repeat(64),
        &sixty_four,
    ];
    for (index, id) in good.iter().enumerate() {
        let leg = json!({ "conferenceId": id, "callId": format!("c{index}"), "sdp": offer(5004) });
        assert_eq!(client.call("CreateLeg", &leg).unwrap()["conferenceId"], *id);
        let over_http = served
            .get(&format!("/v1/conferences/id/{}", percent(id)))
            .json(200);
        let over_grpc = client
            .call("GetConference", &json!({ "conferenceId": id }))
            .unwrap();
        for conference in [over_http, over_grpc] {
            assert_eq!(conference["conferenceId"], *id);
            assert_eq!(conference["participants"].as_array().unwrap().len(), 1, "{id}");
        }
    }
    assert_eq!(served.get("/v1/conferences").json(200)["total"], good.len());
    for bad in ["", &"x".repeat(65), &"😀".repeat(65), "\0", "a\nb", "\u{85}"] {
        let by_body = served
            .post("/v1/legs", &json!({ "conferenceId": bad }))
            .refused(40001);
        let by_path = served
            .get(&format!("/v1/conferences/id/{}", percent(bad)))
            .refused(40001);
        for (method, asked) in [
            ("CreateLeg", json!({ "conferenceId": bad })),
            ("GetConference", json!({ "conferenceId": bad })),
            ("EndConference", json!({ "conferenceId": bad })),
        ] {
            let refused = client.call(method, &asked).unwrap_err();
            assert_eq!(
                (refused.code, refused.error_code),
                (Code::InvalidArgument, Some(40001))
            );
            assert_eq!((&refused.message, &refused.message), (&by_body, &by_path));
        }
    }
}

/// Without more than names and lists: what a request would have to say to be allowed is in the document.
#[test]
fn what_the_document_refuses_is_refused() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let described = Operation::CreateLeg.described();
    for body in [
        json!({}),
        json!({ "conferenceId": 1 }),
        json!({ "conferenceId": "r", "extra": 1 }),
    ] {
        assert!(!document.allows(described, &body));
    }
    let fields: Map<String, Value> = Map::from_iter([("conferenceId".to_owned(), json!("r"))]);
    assert!(document.allows(described, &fields.into()));
}
