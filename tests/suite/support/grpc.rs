//! A gRPC client that knows no message but by its descriptor: a method's name and JSON in, JSON or a status out.

use std::net::SocketAddr;

use bytes::{Buf, BufMut, Bytes};
use mixminus::control::grpc::pool;
use mixminus::control::operation::SERVICE;
use prost_reflect::prost::Message;
use prost_reflect::{
    DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions,
};
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

use super::logs;

pub struct Client {
    channel: Channel,
    runtime: Runtime,
    metadata: Vec<(String, String)>,
}

/// What came back: the message as JSON without what is absent, and the metadata.
#[derive(Debug)]
pub struct Answer {
    pub json: Value,
    pub metadata: MetadataMap,
}

impl Answer {
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name)?.to_str().ok()
    }
}

/// A refusal.
#[derive(Debug)]
pub struct Refused {
    pub code: Code,
    pub message: String,
    /// The `errorCode` of HTTP; absent where the status is not the daemon's.
    pub error_code: Option<u64>,
    pub metadata: Box<MetadataMap>,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Refused {
        let metadata = Box::new(status.metadata().clone());
        let number = metadata.get("mixminus-error-code");
        Refused {
            code: status.code(),
            message: status.message().to_owned(),
            error_code: number.map(|number| number.to_str().unwrap().parse().unwrap()),
            metadata,
        }
    }
}

impl Client {
    pub fn new(to: SocketAddr) -> Client {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let endpoint = Endpoint::from_shared(format!("http://{to}")).unwrap();
        let channel = {
            let _within = runtime.enter();
            endpoint.connect_lazy()
        };
        Client {
            channel,
            runtime,
            metadata: Vec::new(),
        }
    }

    /// Says this with every call from here on.
    pub fn with(mut self, name: &str, value: &str) -> Client {
        logs::learn(&format!("{name}: {value}"));
        self.metadata.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn call(&self, method: &str, json: &Value) -> Result<Value, Refused> {
        Ok(self.ask(method, json)?.json)
    }

    pub fn ask(&self, name: &str, json: &Value) -> Result<Answer, Refused> {
        let method = method(name);
        logs::learn(&format!("\n{json}"));
        let (message, metadata) = self.send(name, encoded(&method.input(), json))?;
        let json = decoded(&method.output(), message);
        logs::learn(&format!("\n{json}"));
        Ok(Answer { json, metadata })
    }

    /// Sends a message as it is, to a method of the service.
    pub fn send(&self, method: &str, message: Bytes) -> Result<(Bytes, MetadataMap), Refused> {
        self.send_to(&format!("/{SERVICE}/{method}"), message)
    }

    /// Sends a message as it is, to the path of any service's method.
    pub fn send_to(&self, path: &str, message: Bytes) -> Result<(Bytes, MetadataMap), Refused> {
        let request = self.request(message);
        let path = path.parse().unwrap();
        self.runtime.block_on(async {
            let mut client = tonic::client::Grpc::new(self.channel.clone());
            client
                .ready()
                .await
                .map_err(|error| Status::unknown(error.to_string()))?;
            let response = client.unary(request, path, AsItIs).await?;
            let metadata = response.metadata().clone();
            Ok((response.into_inner(), metadata))
        })
    }

    /// Opens a stream of messages.
    pub fn stream(&self, name: &str, json: &Value) -> Result<Messages<'_>, Refused> {
        let method = method(name);
        let request = self.request(encoded(&method.input(), json));
        let path = format!("/{SERVICE}/{name}").parse().unwrap();
        let stream = self.runtime.block_on(async {
            let mut client = tonic::client::Grpc::new(self.channel.clone());
            client
                .ready()
                .await
                .map_err(|error| Status::unknown(error.to_string()))?;
            client.server_streaming(request, path, AsItIs).await
        })?;
        Ok(Messages {
            runtime: &self.runtime,
            message: method.output(),
            stream: stream.into_inner(),
        })
    }

    fn request(&self, message: Bytes) -> Request<Bytes> {
        let mut request = Request::new(message);
        for (name, value) in &self.metadata {
            let name: MetadataKey<Ascii> = name.parse().unwrap();
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        request
    }
}

/// The messages of a stream, waited for one by one.
pub struct Messages<'a> {
    runtime: &'a Runtime,
    message: MessageDescriptor,
    stream: Streaming<Bytes>,
}

impl Messages<'_> {
    /// The next; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Value>, Refused> {
        let next = self.runtime.block_on(self.stream.message())?;
        Ok(next.map(|message| decoded(&self.message, message)))
    }

    /// Reads on until an event of this type.
    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().unwrap().expect("the stream goes on");
            if event["type"] == kind {
                return event;
            }
        }
    }
}

pub fn method(name: &str) -> MethodDescriptor {
    let service = pool().get_service_by_name(SERVICE).unwrap();
    service
        .methods()
        .find(|method| method.name() == name)
        .unwrap_or_else(|| panic!("{name} is no method"))
}

/// A message of that JSON, every field of which the message must have.
#[track_caller]
pub fn encoded(message: &MessageDescriptor, json: &Value) -> Bytes {
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    DynamicMessage::deserialize_with_options(message.clone(), json, &options)
        .unwrap_or_else(|error| panic!("{} is not {json}: {error}", message.name()))
        .encode_to_vec()
        .into()
}

pub fn decoded(message: &MessageDescriptor, bytes: Bytes) -> Value {
    let options = SerializeOptions::new()
        .stringify_64_bit_integers(false)
        .skip_default_fields(false);
    DynamicMessage::decode(message.clone(), bytes)
        .unwrap()
        .serialize_with_options(serde_json::value::Serializer, &options)
        .unwrap()
}

#[derive(Default)]
struct AsItIs;

impl Codec for AsItIs {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = AsItIs;
    type Decoder = AsItIs;

    fn encoder(&mut self) -> AsItIs {
        AsItIs
    }

    fn decoder(&mut self) -> AsItIs {
        AsItIs
    }
}

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
