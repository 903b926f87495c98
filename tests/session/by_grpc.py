"""The gRPC face, asked by what the daemon says of itself: no file is generated, no descriptor kept."""

import base64
import math

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from .daemon import KEY, SECRET, Daemon
from .life import is_over

SERVICE = "mixminus.v1.Control"
PATIENCE_S = 20.0

# What JSON leaves to objects of its own.
FREE = {"google.protobuf.Value", "google.protobuf.Struct"}
# What a status of HTTP is called here.
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    507: "RESOURCE_EXHAUSTED",
}


class WithKey(
    grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor, grpc.StreamStreamClientInterceptor
):
    """Shows the key with every call, also with those of reflection."""

    def __init__(self, key: str) -> None:
        """`key` is `key:secret`; empty where the daemon has no keys."""
        basic = base64.b64encode(key.encode()).decode()
        self.metadata = [("authorization", f"Basic {basic}")] if key else []

    def show(self, proceed, details, request):
        return proceed(details._replace(metadata=self.metadata), request)

    intercept_unary_unary = intercept_unary_stream = intercept_stream_stream = show


def face(daemon: Daemon):
    """Asks this daemon."""
    return asking(daemon.grpc, f"{KEY}:{SECRET}")


def asking(address: str, key: str):
    """Asks whoever serves gRPC there."""
    channel = grpc.intercept_channel(grpc.insecure_channel(address), WithKey(key))
    service = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(SERVICE)

    def ask(name: str, ids: dict, body: dict | None) -> tuple[int, object]:
        method = service.methods_by_name[name]
        request = json_format.ParseDict(ids | (body or {}), GetMessageClass(method.input_type)())
        kind = channel.unary_stream if method.server_streaming else channel.unary_unary
        call = kind(
            f"/{SERVICE}/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        if method.server_streaming:
            return 200, events(call(request, timeout=PATIENCE_S))
        try:
            answer, called = call.with_call(request, timeout=PATIENCE_S)
        except grpc.RpcError as error:
            return refusal(error)
        return int(dict(called.initial_metadata())["mixminus-status"]), as_json(answer)

    return ask


def refusal(error: grpc.RpcError) -> tuple[int, object]:
    """As HTTP has it: code and reference are metadata here."""
    trailing = dict(error.trailing_metadata() or ())
    if "mixminus-error-code" not in trailing:
        # Nobody answered.
        raise error
    code = int(trailing["mixminus-error-code"])
    if error.code().name != STATUSES.get(code // 100):
        raise AssertionError(f"{code} came as {error.code()}")
    body = {"errorCode": code, "message": error.details(), "reference": trailing["mixminus-reference"]}
    return code // 100, body


def events(stream) -> list[dict]:
    """To the end of the session."""
    told = []
    for event in stream:
        told.append(as_json(event))
        if is_over(told):
            stream.cancel()
            return told
    raise AssertionError(f"the stream ended after {len(told)} events")


def as_json(message) -> dict:
    """The JSON of HTTP: 64-bit numbers are numbers, and what was not said is not there."""
    said = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        is_list = field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED
        if is_list:
            is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
            said[field.json_name] = dict(value) if is_map else [one(field, item) for item in value]
        elif not field.has_presence or message.HasField(field.name):
            said[field.json_name] = one(field, value)
    return said


def one(field, value) -> object:
    """A value of a field that is no list."""
    if field.message_type is None:
        return value
    if field.message_type.full_name in FREE:
        return whole(json_format.MessageToDict(value))
    return as_json(value)


def whole(value: object) -> object:
    """Free JSON has no integers in protobuf: 7.0 means 7."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return int(value)
    return value
