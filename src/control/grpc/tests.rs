use prost_reflect::prost::Message;
use prost_reflect::{DynamicMessage, Value as Said};
use serde_json::json;

use super::descriptors::{method, pool, rules};
use super::messages::{asked, of_json};
use super::*;
use crate::control::digits::SendDigits;
use crate::control::fields::Fields;
use crate::control::operation::Asked;
use crate::control::requests::{
    ChangeConference, ChangeLeg, CreateLeg, RecordingCommand, RecordingOptions, platform_command,
};
use crate::record::Rules;

fn ask_with(operation: Operation, message: Vec<u8>) -> Result<Asked, Refusal> {
    let method = method(operation.described().name).unwrap();
    asked(operation, &method, message.into(), Identity::nobody(), None)
}

fn ask_for(operation: Operation, json: &serde_json::Value) -> Result<Asked, Refusal> {
    let method = method(operation.described().name).unwrap();
    let message = of_json(method.input(), &json.to_string()).unwrap();
    ask_with(operation, message.to_vec())
}

/// What becomes of the fields of a request before anything is done.
fn parsed(operation: Operation, fields: Fields) -> Result<(), Refusal> {
    match operation {
        Operation::CreateLeg => CreateLeg::parse(fields, &Rules::default()).map(drop),
        Operation::ChangeLeg => ChangeLeg::parse(fields).map(drop),
        Operation::SendDigits => SendDigits::parse(fields).map(drop),
        Operation::ChangeConference => ChangeConference::parse(fields).map(drop),
        Operation::StartRecording | Operation::StartLegRecording => {
            RecordingOptions::parse(fields, &Rules::default()).map(drop)
        }
        Operation::CommandRecording | Operation::CommandLegRecording => {
            RecordingCommand::parse(fields).map(drop)
        }
        Operation::CommandParticipant => platform_command(fields).map(drop),
        _ => Ok(()),
    }
}

#[test]
fn ids_queries_and_fields_of_a_message_are_those_of_the_http_request() {
    let change =
        json!({ "callId": "a", "conferenceId": "r", "gainDb": 3.0, "clear": ["moh", "mediaTimeoutS"] });
    let asked = ask_for(Operation::ChangeLeg, &change).unwrap();
    assert_eq!(
        asked.ids.into_iter().collect::<Vec<_>>(),
        [("callId".to_owned(), "a".to_owned())]
    );
    assert_eq!(
        asked.fields.as_json(),
        r#"{"conferenceId":"r","gainDb":3,"mediaTimeoutS":null,"moh":null}"#
    );
    let list = ask_for(Operation::ListLegs, &json!({ "page": 2, "pageSize": 7 })).unwrap();
    assert_eq!(
        (list.query["page"].as_str(), list.query["pageSize"].as_str()),
        ("2", "7")
    );
    assert!(list.ids.is_empty());
    let most = ask_for(Operation::ListLegs, &json!({ "page": u64::MAX })).unwrap();
    assert_eq!(most.query["page"], u64::MAX.to_string());
}

#[test]
fn what_cannot_be_cleared_is_not() {
    for clear in [
        json!(["muted"]),
        json!(["clear"]),
        json!(["nothing"]),
        json!([""]),
    ] {
        let asked = ask_for(Operation::ChangeLeg, &json!({ "callId": "a", "clear": clear }));
        assert_eq!(asked.unwrap_err().code, 40001, "{clear}");
    }
    let twice = json!({ "callId": "a", "clear": ["moh", "moh"] });
    assert!(ask_for(Operation::ChangeLeg, &twice).is_ok());
}

/// Names that a client may not know apart: in the JSON of one message no two are the same, and every rule is of a field
/// that can keep it.
#[test]
fn rules_suit_their_fields() {
    let file = pool().get_file_by_name("mixminus/v1/mixminus.proto").unwrap();
    for message in file.messages() {
        for field in message.fields() {
            let rules = rules(&field);
            let is_text = field.kind() == prost_reflect::Kind::String;
            let name = field.full_name();
            assert!(
                is_text || (rules.one_of.is_empty() && rules.length_max.is_none()),
                "{name}"
            );
            assert!(!is_text || (rules.min.is_none() && rules.max.is_none()), "{name}");
            assert!(field.is_list() || rules.items_max.is_none(), "{name}");
            assert!(!(rules.clearable && rules.required), "{name}");
            assert!(!rules.clearable || field.supports_presence(), "{name}");
        }
    }
}

/// Fault row C2: random changes of right messages are parsed or refused, and a refusal never says again what was sent.
#[test]
fn c2_random_messages_are_parsed_or_refused_without_an_echo() {
    let seed = std::env::var("MIXMINUS_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    println!("MIXMINUS_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut outcomes = [0u32; 2];
    for _ in 0..20_000 {
        let described = &OPERATIONS[random.usize(..OPERATIONS.len())];
        let mut bytes = random_message(&mut random, described.name).encode_to_vec();
        for _ in 0..random.usize(..3) {
            match random.u8(..4) {
                0 => bytes.truncate(random.usize(..=bytes.len())),
                1 => bytes.insert(random.usize(..=bytes.len()), random.u8(..)),
                _ if bytes.is_empty() => {}
                _ => {
                    let at = random.usize(..bytes.len());
                    bytes[at] ^= 1 << random.u8(..8);
                }
            }
        }
        let outcome =
            ask_with(described.operation, bytes).and_then(|asked| parsed(described.operation, asked.fields));
        if let Err(refusal) = &outcome {
            assert_eq!(refusal.status(), 400, "{refusal}");
            assert!(!refusal.message.contains("canary"), "{refusal}");
        }
        outcomes[usize::from(outcome.is_ok())] += 1;
    }
    assert!(outcomes.iter().all(|count| *count > 1_000), "{outcomes:?}");
}

/// Some of the fields of a method's request, with values that may be right.
fn random_message(random: &mut fastrand::Rng, name: &str) -> DynamicMessage {
    let mut message = DynamicMessage::new(method(name).unwrap().input());
    fill(random, &mut message, 0);
    message
}

fn fill(random: &mut fastrand::Rng, message: &mut DynamicMessage, depth: usize) {
    use prost_reflect::{Kind, ReflectMessage};
    let fields: Vec<_> = message.descriptor().fields().collect();
    for field in fields {
        if field.is_map() || random.u8(..3) == 0 {
            continue;
        }
        let words = rules(&field).one_of;
        let value = match field.kind() {
            Kind::String if !words.is_empty() => Said::String(random.choice(words).unwrap_or_default()),
            // Of names, a refusal may say the beginning.
            Kind::String => {
                Said::String(["", "x", &format!("{}canary", "x".repeat(40))][random.usize(..3)].to_owned())
            }
            Kind::Bool => Said::Bool(random.bool()),
            Kind::Double => Said::F64(f64::from(random.i8(..))),
            Kind::Uint64 => Said::U64(random.u64(..) >> random.u8(..64)),
            Kind::Message(inner) if depth < 4 => {
                let mut inner = DynamicMessage::new(inner);
                fill(random, &mut inner, depth + 1);
                Said::Message(inner)
            }
            _ => continue,
        };
        let value = if field.is_list() {
            Said::List(vec![value])
        } else {
            value
        };
        message.set_field(&field, value);
    }
}
