//! What the daemon says of itself, and whether an answer keeps to it.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use mixminus::control::operation::Described;
use serde_json::{Map, Value, json};

use crate::support::grpc::{encoded, method};
use crate::support::http::{Reply, Served, send};

/// The document at `/openapi.json`.
pub struct Document {
    pub json: Value,
    /// By name of the component.
    validators: BTreeMap<String, Validator>,
}

impl Document {
    pub fn of(served: &Served) -> Document {
        let json = served.get("/openapi.json").json(200);
        let components = json["components"]["schemas"].as_object().unwrap();
        let validators = components
            .keys()
            .map(|name| {
                (
                    name.clone(),
                    validator(&json, &format!("#/components/schemas/{name}")),
                )
            })
            .collect();
        Document { json, validators }
    }

    pub fn operation(&self, described: &Described) -> &Value {
        &self.json["paths"][described.path()][described.verb().to_lowercase()]
    }

    pub fn statuses(&self, described: &Described) -> BTreeSet<u16> {
        let responses = self.operation(described)["responses"].as_object().unwrap();
        responses.keys().map(|status| status.parse().unwrap()).collect()
    }

    /// The status is a documented one, an error has the one form, and a body is what is said of it, all of which a
    /// message can carry.
    #[track_caller]
    pub fn check(&self, described: &Described, what: &str, reply: &Reply) {
        let name = described.name;
        assert!(
            self.statuses(described).contains(&reply.status),
            "{name} {what}: {} {}",
            reply.status,
            reply.text()
        );
        if reply.status >= 400 {
            let body = reply.json(reply.status);
            self.validate("Error", &body);
            let code = body["errorCode"].as_u64().unwrap();
            assert_eq!(code / 100, u64::from(reply.status), "{name} {what}: {body}");
            return;
        }
        let response = &self.operation(described)["responses"][reply.status.to_string()];
        let Some(content) = response["content"].as_object() else {
            reply.empty(reply.status);
            return;
        };
        let kind = reply.header("content-type").unwrap();
        let said = content
            .get(kind)
            .unwrap_or_else(|| panic!("{name} {what}: {kind} is not documented"));
        if let Some(component) = said["schema"]["$ref"].as_str() {
            let body = reply.json(reply.status);
            self.validate(component.rsplit('/').next().unwrap(), &body);
            encoded(&method(name).output(), &body);
        }
    }

    #[track_caller]
    pub fn validate(&self, component: &str, body: &Value) {
        let wrong: Vec<String> = self.validators[component]
            .iter_errors(body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(wrong.is_empty(), "{component} {body}: {wrong:?}");
    }

    /// Whether the schema of the request lets this body through.
    pub fn allows(&self, described: &Described, body: &Value) -> bool {
        let verb = described.verb().to_lowercase();
        let path = described.path().replace('~', "~0").replace('/', "~1");
        let place = format!("#/paths/{path}/{verb}/requestBody/content/application~1json/schema");
        validator(&self.json, &place.replace('{', "%7B").replace('}', "%7D")).is_valid(body)
    }
}

/// For the schema at a place of the document.
fn validator(document: &Value, place: &str) -> Validator {
    let mut schema = document.clone();
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$ref"] = place.into();
    jsonschema::validator_for(&schema).unwrap()
}

/// The HTTP request that a gRPC request's JSON stands for: ids into the path, what the query has into it, the rest into
/// the body.
pub fn request(described: &Described, asked: &Value) -> (String, Option<Value>) {
    let mut fields = asked.as_object().unwrap().clone();
    let mut path = described.path().to_owned();
    for id in described.ids() {
        let value = fields.remove(id);
        let value = value.as_ref().and_then(Value::as_str).unwrap_or_default();
        path = path.replace(&format!("{{{id}}}"), &percent(value));
    }
    if described.has_body() {
        if let Some(Value::Array(names)) = fields.remove("clear") {
            fields.extend(
                names
                    .iter()
                    .map(|name| (name.as_str().unwrap().to_owned(), Value::Null)),
            );
        }
        return (path, Some(fields.into()));
    }
    (path + &query(&fields), None)
}

fn query(fields: &Map<String, Value>) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name}={}", percent(text)),
            other => format!("{name}={other}"),
        })
        .collect();
    match pairs.is_empty() {
        true => String::new(),
        false => format!("?{}", pairs.join("&")),
    }
}

/// Every byte that is not a letter or a digit as `%XX`.
pub fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// Asks over HTTP for what a gRPC request's JSON stands for.
pub fn ask(served: &Served, described: &Described, asked: &Value) -> Reply {
    let (path, body) = request(described, asked);
    let body = body.map_or(String::new(), |body| body.to_string());
    send(served.http, described.verb(), &path, &[], body.as_bytes())
}

/// An id that names nothing, for each that the path has.
pub fn nothing(described: &Described) -> Value {
    described
        .ids()
        .map(|id| (id.to_owned(), json!("nobody")))
        .collect::<Map<_, _>>()
        .into()
}
