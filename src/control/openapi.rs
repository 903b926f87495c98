//! OpenAPI 3.1 of the HTTP face, made of the table of operations and of the descriptors, so that it cannot say anything
//! else than they do.

mod schema;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use prost_reflect::{FieldDescriptor, MethodDescriptor};
use serde_json::{Map, Value, json};

use crate::control::auth::Role;
use crate::control::grpc::{comment, method, rules};
use crate::control::metrics;
use crate::control::operation::{Described, OPERATIONS, Operation, PLATFORM};
use schema::{Schemas, is_nothing};

/// The document as it is served.
pub static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

const ERROR: &str = "#/components/schemas/Error";

pub fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for described in OPERATIONS {
        let Some(method) = method(described.name) else {
            continue;
        };
        let mut add = |path: String, name: String| {
            let item = paths.entry(path).or_insert_with(|| json!({}));
            item[described.verb().to_lowercase()] = operation(described, &method, name, &mut schemas);
        };
        add(described.path().to_owned(), described.name.to_owned());
        if described.is_platforms() {
            add(
                format!("{PLATFORM}{}", described.path()),
                format!("{}OfPlatform", described.name),
            );
        }
    }
    let mut components = schemas.finish();
    components.insert("Error".to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mixminus",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The control contract of a conference mixer for telephone switches.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": { "schemas": components, "securitySchemes": security_schemes() },
        "security": [{ "basic": [] }, { "application": [] }, { "certificate": [] }],
    })
}

fn operation(described: &Described, method: &MethodDescriptor, name: String, schemas: &mut Schemas) -> Value {
    let mut operation = json!({
        "operationId": name,
        "tags": [tag(described)],
        "summary": comment(&method.parent_file(), method.path()),
        "parameters": parameters(described, method),
        "responses": responses(described, method, schemas),
    });
    match described.role {
        Some(role) => operation["description"] = format!("Takes the role `{role}`, once keys exist.").into(),
        None => operation["security"] = json!([]),
    }
    if described.has_body() {
        let ids: BTreeSet<&str> = described.ids().collect();
        let is_of_body =
            |field: &FieldDescriptor| !ids.contains(field.json_name()) && field.name() != "clear";
        let mut body = schemas.object(&method.input(), is_of_body);
        // The platform's commands ignore what they do not know.
        body["additionalProperties"] = (described.operation == Operation::CommandParticipant).into();
        operation["requestBody"] = json!({
            "required": body.get("required").is_some(),
            "content": { "application/json": { "schema": body } },
        });
    }
    operation
}

/// The noun of the path.
fn tag(described: &Described) -> &'static str {
    let mut segments = described.path().split('/').skip(1);
    match segments.next() {
        Some("v1") => segments.next().unwrap_or_default(),
        _ => "daemon",
    }
}

fn parameters(described: &Described, method: &MethodDescriptor) -> Value {
    let input = method.input();
    let said = |field: &FieldDescriptor, place: &str, is_required: bool| {
        let mut parameter = json!({
            "name": field.json_name(),
            "in": place,
            "required": is_required,
            "schema": schema::of_parameter(field),
        });
        if let Some(text) = comment(&field.parent_file(), field.path()) {
            parameter["description"] = text.into();
        }
        parameter
    };
    let in_path = described
        .ids()
        .filter_map(|id| input.get_field_by_json_name(id))
        .map(|field| said(&field, "path", true));
    let mut all: Vec<Value> = in_path.collect();
    for field in input.fields() {
        let rules = rules(&field);
        if rules.query {
            all.push(said(&field, "query", rules.required));
        }
    }
    let header = |name: &str, description: &str, schema: Value| json!({ "name": name, "in": "header", "required": false, "description": description, "schema": schema });
    if described.verb() == "POST" {
        all.push(header(
            "Idempotency-Key",
            "The same request under the same key is done once, and answered as it was for ten minutes.",
            json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        ));
    }
    match described.operation {
        Operation::StreamEvents => all.push(header(
            "Last-Event-ID",
            "What a browser says instead of `after` when it connects again.",
            json!({ "type": "string", "pattern": "^[0-9]+$" }),
        )),
        Operation::DownloadRecording => all.push(header(
            "Range",
            "One range of bytes (RFC 9110, section 14).",
            json!({ "type": "string" }),
        )),
        _ => {}
    }
    all.into()
}

fn responses(described: &Described, method: &MethodDescriptor, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    for status in described.done {
        responses.insert(status.to_string(), done(described, method, *status, schemas));
    }
    for status in described.refusals() {
        responses.insert(status.to_string(), refused(status));
    }
    responses.into()
}

fn done(described: &Described, method: &MethodDescriptor, status: u16, schemas: &mut Schemas) -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let content = match described.operation {
        Operation::StreamEvents => {
            let event = schemas.reference(&method.output());
            let description = "Server-sent events: each `data:` is the JSON of an `Event`.";
            json!({ "text/event-stream": { "schema": { "type": "string", "description": description }, "x-data": event } })
        }
        Operation::DownloadRecording => json!({ "audio/wav": {}, "audio/ogg": {}, "audio/flac": {} }),
        Operation::GetMetrics => json!({ metrics::CONTENT_TYPE: text }),
        Operation::GetOpenApi => json!({ "application/json": { "schema": { "type": "object" } } }),
        _ if status == 204 || is_nothing(&method.output()) => {
            return json!({ "description": "Done; without a body." });
        }
        _ => json!({ "application/json": { "schema": schemas.reference(&method.output()) } }),
    };
    let mut response = json!({ "description": meaning(status), "content": content });
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    if described.verb() == "POST" {
        response["headers"] = json!({ "Idempotency-Replayed": header("`true`: it was answered so before.") });
    }
    if described.operation == Operation::DownloadRecording {
        response["headers"] =
            json!({ "Accept-Ranges": header("`bytes`"), "Content-Range": header("Of a part.") });
    }
    response
}

fn refused(status: u16) -> Value {
    let mut response = json!({
        "description": meaning(status),
        "content": { "application/json": { "schema": { "$ref": ERROR } } },
    });
    let header = |name: &str, description: &str, kind: &str| json!({ name: { "description": description, "schema": { "type": kind } } });
    match status {
        429 | 503 => {
            response["headers"] = header(
                "Retry-After",
                "When it is worth asking again, in seconds.",
                "integer",
            );
        }
        401 => response["headers"] = header("WWW-Authenticate", "What is asked for.", "string"),
        416 => response["headers"] = header("Content-Range", "How long the whole is.", "string"),
        _ => {}
    }
    response
}

fn meaning(status: u16) -> &'static str {
    match status {
        200 => "Done.",
        201 => "Made.",
        202 => "Accepted.",
        206 => "The part that was asked for.",
        400 => {
            "A field, an id or the form of the request is wrong; the message says which and what is allowed."
        }
        401 => "Who asks is not known.",
        403 => "The key has not the role.",
        404 => "There is no such thing.",
        408 => "The body did not arrive in time.",
        409 => "It contradicts what is.",
        413 => "The body is larger than 65,536 bytes.",
        416 => "The range lies behind the end.",
        429 => "Too much in a short time.",
        503 => "Not now: the daemon protects what it has, or drains.",
        507 => "There is no room for a recording.",
        _ => "Other.",
    }
}

fn error() -> Value {
    json!({
        "type": "object",
        "description": "The one form of everything that goes wrong.",
        "properties": {
            "errorCode": {
                "type": "integer",
                "minimum": 40000,
                "maximum": 59999,
                "description": "The first three digits are the status.",
            },
            "message": { "type": "string" },
            "reference": { "type": "string", "description": "Stands beside it in the log." },
        },
        "required": ["errorCode", "message", "reference"],
        "additionalProperties": false,
    })
}

fn security_schemes() -> Value {
    let roles = [Role::Read, Role::Control, Role::Admin]
        .map(|role| role.to_string())
        .join(", ");
    json!({
        "basic": {
            "type": "http",
            "scheme": "basic",
            "description": format!("`key:secret` of the keys file. Roles, each with those before it: {roles}."),
        },
        "application": {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Application key:signature`, with `x-timestamp`: the request signed with the key's secret.",
        },
        "certificate": { "type": "mutualTLS", "description": "A certificate that the daemon trusts." },
    })
}
