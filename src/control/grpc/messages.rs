//! Messages and their JSON, by descriptor: what is asked on the way in, what was done on the way out.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost_reflect::prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions, Value as Said,
};
use serde_json::{Map, Value, json};

use crate::control::auth::Identity;
use crate::control::fields::Fields;
use crate::control::operation::{Asked, Body, Operation};
use crate::control::refusal::{INTERNAL, INVALID_REQUEST, Refusal};

/// Names the fields that are to be null in the JSON.
const CLEAR: &str = "clear";

/// The request that a message is. Numbers of fields that are not known are refused, as unknown names are; the
/// platform's own routes know no such thing as an unknown field.
pub fn asked(
    operation: Operation,
    method: &MethodDescriptor,
    message: Bytes,
    identity: Identity,
    idempotency_key: Option<String>,
) -> Result<Asked, Refusal> {
    let input = method.input();
    let invalid = || {
        Refusal::new(
            INVALID_REQUEST,
            format!("The message is not a valid {}.", input.name()),
        )
    };
    let message = DynamicMessage::decode(input.clone(), message).map_err(|_| invalid())?;
    if operation != Operation::CommandParticipant
        && let Some(number) = unknown(&message)
    {
        return Err(Refusal::bad(format!(
            "{number} is not the number of a field of this request."
        )));
    }
    let options = SerializeOptions::new().stringify_64_bit_integers(false);
    let Ok(Value::Object(mut map)) = message.serialize_with_options(serde_json::value::Serializer, &options)
    else {
        return Err(invalid());
    };
    clear(&input, &mut map)?;
    let described = operation.described();
    let ids = described
        .ids()
        .map(|name| (name.to_owned(), map.remove(name).map(text).unwrap_or_default()))
        .collect();
    let (query, fields) = match described.has_body() {
        true => (BTreeMap::new(), map),
        false => (
            map.into_iter().map(|(name, value)| (name, text(value))).collect(),
            Map::new(),
        ),
    };
    Ok(Asked {
        operation,
        identity,
        ids,
        query,
        fields: Fields::new(
            fields
                .into_iter()
                .map(|(name, value)| (name, whole(value)))
                .collect(),
        ),
        idempotency_key,
    })
}

/// The number of a field that the message or one in it has and its descriptor does not.
fn unknown(message: &DynamicMessage) -> Option<u32> {
    fn within(value: &Said) -> Option<u32> {
        match value {
            Said::Message(message) => unknown(message),
            Said::List(items) => items.iter().find_map(within),
            Said::Map(entries) => entries.values().find_map(within),
            _ => None,
        }
    }
    let here = message.unknown_fields().map(|field| field.number()).next();
    here.or_else(|| message.fields().find_map(|(_, value)| within(value)))
}

/// Turns the names of fields to be cleared into fields that are null.
fn clear(input: &MessageDescriptor, map: &mut Map<String, Value>) -> Result<(), Refusal> {
    if input.get_field_by_name(CLEAR).is_none() {
        return Ok(());
    }
    let Some(Value::Array(names)) = map.remove(CLEAR) else {
        return Ok(());
    };
    for name in names {
        let name = name.as_str().unwrap_or_default();
        let field = input
            .get_field_by_name(name)
            .or_else(|| input.get_field_by_json_name(name))
            .filter(|field| super::descriptors::rules(field).clearable)
            .ok_or_else(|| Refusal::bad("`clear` must have the names of fields that can be cleared."))?;
        if map
            .insert(field.json_name().to_owned(), Value::Null)
            .is_some_and(|value| !value.is_null())
        {
            return Err(Refusal::bad(format!(
                "`{}` must not be set and cleared at once.",
                field.json_name()
            )));
        }
    }
    Ok(())
}

/// As it stands in a path or a query.
fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// A number of protobuf's JSON has no other form than 1.0 for 1: JSON in general does.
fn whole(value: Value) -> Value {
    const EXACT: f64 = (1u64 << 53) as f64;
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
                json!(float as i64)
            }
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(whole).collect(),
        Value::Object(map) => map
            .into_iter()
            .map(|(name, value)| (name, whole(value)))
            .collect(),
        other => other,
    }
}

/// The message that an answer is.
pub fn written(method: &MethodDescriptor, body: &Body) -> Result<Bytes, Refusal> {
    match body {
        Body::Empty => Ok(Bytes::new()),
        Body::Json(text) => of_json(method.output(), text),
        Body::Metrics(text) => of_json(method.output(), &json!({ "text": text }).to_string()),
        Body::OpenApi(text) => of_json(method.output(), &json!({ "text": text }).to_string()),
    }
}

/// The message that a JSON object is.
pub fn of_json(message: MessageDescriptor, text: &str) -> Result<Bytes, Refusal> {
    // What tests let pass has every field; what has slipped through them is better said in part than not at all.
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut json = serde_json::Deserializer::from_str(text);
    match DynamicMessage::deserialize_with_options(message, &mut json, &options) {
        Ok(message) => Ok(message.encode_to_vec().into()),
        Err(error) => {
            tracing::error!(%error, "an answer is no message");
            Err(Refusal::new(INTERNAL, "The answer could not be written."))
        }
    }
}
