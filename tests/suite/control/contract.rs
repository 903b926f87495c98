//! The contract: the table of operations, OpenAPI and the `.proto` name the same operations, and each keeps to what is
//! said of it over both faces, whatever is asked.

mod described;
mod life;
mod torture;

use std::collections::BTreeSet;

use mixminus::control::operation::{Described, OPERATIONS, PLATFORM, SERVICE};
use prost_reflect::prost::Message;
use serde_json::{Value, json};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use crate::support::grpc::Client;
use crate::support::http::Served;
use described::Document;

fn names() -> BTreeSet<String> {
    OPERATIONS
        .iter()
        .map(|described| described.name.to_owned())
        .collect()
}

#[test]
fn code_openapi_proto_and_reflection_have_the_same_operations() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    let mut of_document = BTreeSet::new();
    for (path, item) in document.json["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            match name.strip_suffix("OfPlatform") {
                Some(name) => assert!(path.starts_with(PLATFORM) && names().contains(name)),
                None => assert!(of_document.insert(name.to_owned())),
            }
            let path = path.strip_prefix(PLATFORM).unwrap_or(path);
            let route = format!("{} {path}", verb.to_uppercase());
            assert!(
                OPERATIONS.iter().any(|described| described.route == route),
                "{route}"
            );
        }
    }
    assert_eq!(of_document, names());

    let client = Client::new(served.grpc);
    let answer = |asked: MessageRequest| {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(asked),
        };
        let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let (reply, _) = client.send_to(path, request.encode_to_vec().into()).unwrap();
        ServerReflectionResponse::decode(reply)
            .unwrap()
            .message_response
            .unwrap()
    };
    let MessageResponse::ListServicesResponse(services) = answer(MessageRequest::ListServices(String::new()))
    else {
        panic!("no list of services");
    };
    let services: Vec<&str> = services
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert!(
        services.contains(&SERVICE) && services.contains(&"grpc.health.v1.Health"),
        "{services:?}"
    );
    let MessageResponse::FileDescriptorResponse(files) =
        answer(MessageRequest::FileContainingSymbol(SERVICE.to_owned()))
    else {
        panic!("no file");
    };
    let file =
        prost_reflect::prost_types::FileDescriptorProto::decode(&*files.file_descriptor_proto[0]).unwrap();
    let of_reflection: BTreeSet<String> = file
        .service
        .iter()
        .flat_map(|service| &service.method)
        .map(|method| method.name().to_owned())
        .collect();
    assert_eq!(of_reflection, names());
}

/// What is in the path of a route, in the query or in the body over HTTP is a field of the message, and nothing else is.
#[test]
fn requests_have_the_same_fields_over_both_faces() {
    let served = Served::start(&[]);
    let document = Document::of(&served);
    for described in OPERATIONS {
        let operation = document.operation(described);
        let parameters = operation["parameters"].as_array().unwrap().iter();
        let mut over_http: BTreeSet<&str> = parameters
            .filter(|parameter| parameter["in"] != "header")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let body = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
        over_http.extend(
            body.as_object()
                .into_iter()
                .flatten()
                .map(|(name, _)| name.as_str()),
        );
        let input = crate::support::grpc::method(described.name).input();
        let fields: Vec<_> = input.fields().collect();
        let mut over_grpc: BTreeSet<&str> = fields.iter().map(|field| field.json_name()).collect();
        over_grpc.remove("clear");
        if described.name == "DownloadRecording" {
            // Over HTTP a header says so.
            over_grpc.retain(|name| !["fromByte", "bytes"].contains(name));
        }
        assert_eq!(over_http, over_grpc, "{}", described.name);
    }
}

#[test]
fn health_follows_draining_on_both_faces() {
    use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
    let served = Served::start(&[]);
    let client = Client::new(served.grpc);
    let check = |service: &str| {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let (reply, _) = client.send_to("/grpc.health.v1.Health/Check", request.encode_to_vec().into())?;
        Ok::<_, crate::support::grpc::Refused>(HealthCheckResponse::decode(reply).unwrap().status)
    };
    assert_eq!((check("").unwrap(), check(SERVICE).unwrap()), (1, 1));
    assert_eq!(check("other").unwrap_err().code, tonic::Code::NotFound);
    served.drain();
    assert_eq!((check("").unwrap(), check(SERVICE).unwrap()), (2, 2));
    served.get("/readyz").refused(50300);
}

/// The JSON of a request that asks for nothing there is.
fn asks_for_nothing(described: &Described) -> Value {
    let mut asked = described::nothing(described);
    match described.name {
        "SendDigits" => asked["digits"] = json!("1"),
        "CommandParticipant" => asked["command"] = json!("mute"),
        "CommandRecording" | "CommandLegRecording" => asked["command"] = json!("pause"),
        "Explain" => asked = json!({ "from": "nobody", "to": "somebody" }),
        _ => {}
    }
    asked
}
