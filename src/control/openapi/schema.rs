//! JSON schemas (2020-12) of messages, as their canonical JSON is.

use std::collections::BTreeMap;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use crate::control::grpc::{Rules, comment, rules};

/// The schemas that were referred to, each once.
#[derive(Default)]
pub struct Schemas {
    /// `None` while it is being made: messages may hold each other.
    made: BTreeMap<String, Option<Value>>,
}

impl Schemas {
    pub fn finish(self) -> Map<String, Value> {
        let made = self.made.into_iter();
        made.map(|(name, schema)| (name, schema.unwrap_or_default()))
            .collect()
    }

    /// A reference to the schema of a message.
    pub fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.name().to_owned();
        if !self.made.contains_key(&name) {
            self.made.insert(name.clone(), None);
            let mut schema = self.object(message, |_| true);
            schema["additionalProperties"] = false.into();
            self.made.insert(name.clone(), Some(schema));
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// An object with those fields of a message.
    pub fn object(&mut self, message: &MessageDescriptor, has: impl Fn(&FieldDescriptor) -> bool) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in message.fields().filter(has) {
            if rules(&field).required {
                required.push(field.json_name().to_owned());
            }
            properties.insert(field.json_name().to_owned(), self.property(&field));
        }
        let mut object = json!({ "type": "object", "properties": properties });
        if let Some(text) = comment(&message.parent_file(), message.path()) {
            object["description"] = text.into();
        }
        if !required.is_empty() {
            object["required"] = required.into();
        }
        object
    }

    fn property(&mut self, field: &FieldDescriptor) -> Value {
        let rules = rules(field);
        let mut schema = match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                json!({ "type": "object", "additionalProperties": scalar(&entry.map_entry_value_field().kind()) })
            }
            Kind::Message(message) => match message.full_name() {
                // Any JSON.
                "google.protobuf.Value" => json!({}),
                "google.protobuf.Struct" => json!({ "type": "object" }),
                _ => self.reference(&message),
            },
            kind => bounded(scalar(&kind), &rules),
        };
        if field.is_list() {
            schema = json!({ "type": "array", "items": schema });
            if let Some(max) = rules.items_max {
                schema["maxItems"] = max.into();
            }
        }
        // What need not be there may as well be null.
        let is_nullable = (field.supports_presence() || field.is_list()) && !rules.required;
        if is_nullable {
            schema = nullable(schema);
        }
        if let Some(text) = comment(&field.parent_file(), field.path()) {
            schema["description"] = text.into();
        }
        schema
    }
}

/// A message that says nothing has no body over HTTP.
pub fn is_nothing(message: &MessageDescriptor) -> bool {
    message.fields().len() == 0
}

pub fn of_parameter(field: &FieldDescriptor) -> Value {
    bounded(scalar(&field.kind()), &rules(field))
}

fn nullable(schema: Value) -> Value {
    let Value::Object(mut map) = schema else {
        return schema;
    };
    match map.get("type").cloned() {
        Some(kind) => {
            map.insert("type".to_owned(), json!([kind, "null"]));
            if let Some(Value::Array(words)) = map.get_mut("enum") {
                words.push(Value::Null);
            }
            map.into()
        }
        None if map.is_empty() => map.into(),
        None => json!({ "anyOf": [map, { "type": "null" }] }),
    }
}

fn scalar(kind: &Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Double | Kind::Float => json!({ "type": "number" }),
        Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64 => {
            json!({ "type": "integer", "minimum": 0 })
        }
        Kind::String | Kind::Bytes | Kind::Enum(_) => json!({ "type": "string" }),
        Kind::Message(_) => json!({ "type": "object" }),
        _ => json!({ "type": "integer" }),
    }
}

fn bounded(mut schema: Value, rules: &Rules) -> Value {
    let is_whole = schema["type"] == "integer";
    let number = |value: f64| {
        if is_whole {
            json!(value as i64)
        } else {
            json!(value)
        }
    };
    if let Some(min) = rules.min {
        schema["minimum"] = number(min);
    }
    if let Some(max) = rules.max {
        schema["maximum"] = number(max);
    }
    if let Some(min) = rules.length_min {
        schema["minLength"] = min.into();
    }
    if let Some(max) = rules.length_max {
        schema["maxLength"] = max.into();
    }
    if !rules.one_of.is_empty() {
        schema["enum"] = json!(rules.one_of);
    }
    schema
}
