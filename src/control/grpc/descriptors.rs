//! What the `.proto` says, as the build compiled it.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, FieldDescriptor, FileDescriptor, MethodDescriptor};
use serde::Deserialize;
use tonic::service::Routes;

use super::frames::MESSAGE_BYTES_MAX;
use crate::control::operation::SERVICE;

/// A `FileDescriptorSet`, with comments, options and all imports.
pub static DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/mixminus.bin"));

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(DESCRIPTORS).expect("the build wrote it from files that it could read")
});

pub fn pool() -> &'static DescriptorPool {
    &POOL
}

pub fn method(name: &str) -> Option<MethodDescriptor> {
    let service = POOL.get_service_by_name(SERVICE)?;
    service.methods().find(|method| method.name() == name)
}

/// Server reflection in both the forms that are in use.
pub fn reflection() -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let readable = "descriptors that the builds wrote can be read";
    let bound = MESSAGE_BYTES_MAX;
    let now = builder()
        .build_v1()
        .expect(readable)
        .max_decoding_message_size(bound);
    let before = builder()
        .build_v1alpha()
        .expect(readable)
        .max_decoding_message_size(bound);
    Routes::new(now).add_service(before)
}

/// What `rules.proto` lets be said of a field.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rules {
    pub required: bool,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub length_min: Option<u32>,
    pub length_max: Option<u32>,
    pub items_max: Option<u32>,
    pub one_of: Vec<String>,
    pub clearable: bool,
    pub query: bool,
}

pub fn rules(field: &FieldDescriptor) -> Rules {
    let options = field.options();
    let said = POOL
        .get_extension_by_name("mixminus.v1.rules")
        .filter(|extension| options.has_extension(extension))
        .and_then(|extension| options.get_extension(&extension).as_message().cloned());
    said.and_then(|said| serde_json::from_value(serde_json::to_value(said).ok()?).ok())
        .unwrap_or_default()
}

/// What stands above a declaration in its file, on one line.
pub fn comment(file: &FileDescriptor, path: &[i32]) -> Option<String> {
    let source = file.file_descriptor_proto().source_code_info.as_ref()?;
    let place = source.location.iter().find(|location| location.path == path)?;
    let text = place.leading_comments().trim();
    (!text.is_empty()).then(|| text.split_whitespace().collect::<Vec<_>>().join(" "))
}
