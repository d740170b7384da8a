"""The clients of PyPI for health checks, reflection and errors with details: standard_client.py DESCRIPTORS ADDRESS PID

The process PID is the server, which is stopped at the end.
"""

import json
import os
import signal
import sys
import time

from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from schema import Schema, failure, run, same

import grpc

SECONDS = 20
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

schema = Schema(sys.argv[1])
channel = grpc.insecure_channel(sys.argv[2])
health = health_pb2_grpc.HealthStub(channel)
puppet = schema.stub("interop.puppet.Puppet", channel)
SetHealth = schema.message("interop.puppet.SetHealthRequest")
Fail = schema.message("interop.puppet.FailRequest")


def named(service):
    return health_pb2.HealthCheckRequest(service=service)


def health_check():
    same(health.Check(named(""), timeout=SECONDS).status, SERVING)
    same(health.Check(named("grpc.testing.TestService"), timeout=SECONDS).status, SERVING)
    error = failure(lambda: health.Check(named("absent"), timeout=SECONDS))
    same(error.code(), grpc.StatusCode.NOT_FOUND)


def health_watch():
    service = f"watched by {os.getpid()}"
    watching = health.Watch(named(service), timeout=SECONDS)
    same(next(watching).status, UNKNOWN)
    for serving, status in [(True, SERVING), (False, NOT_SERVING), (True, SERVING)]:
        puppet.SetHealth(SetHealth(service=service, serving=serving), timeout=SECONDS)
        same(next(watching).status, status)
    watching.cancel()


def health_gates_a_channel():
    """The C core watches the health of a service, and calls it only while it serves (client-side health checks, gRFC A17)."""
    service = f"gated by {os.getpid()}"
    puppet.SetHealth(SetHealth(service=service, serving=False), timeout=SECONDS)
    config = {"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": service}}
    options = [("grpc.service_config", json.dumps(config)), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(sys.argv[2], options=options) as gated:
        stub, empty = schema.stub("grpc.testing.TestService", gated), schema.message("grpc.testing.Empty")()
        same(failure(lambda: stub.EmptyCall(empty, timeout=SECONDS)).code(), grpc.StatusCode.UNAVAILABLE)
        puppet.SetHealth(SetHealth(service=service, serving=True), timeout=SECONDS)
        same(stub.EmptyCall(empty, timeout=SECONDS, wait_for_ready=True), empty)
        puppet.SetHealth(SetHealth(service=service, serving=False), timeout=SECONDS)
        # The channel hears of it soon.
        for _ in range(200):
            try:
                stub.EmptyCall(empty, timeout=SECONDS)
            except grpc.RpcError as error:
                return same(error.code(), grpc.StatusCode.UNAVAILABLE)
            time.sleep(0.01)
        raise AssertionError("calls still go out")


def reflected():
    database = ProtoReflectionDescriptorDatabase(channel)
    return database, descriptor_pool.DescriptorPool(database)


def reflection_lists():
    services = set(reflected()[0].get_services())
    expected = {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "grpc.testing.TestService",
        "interop.puppet.Puppet",
    }
    same(services, expected)


def reflection_describes():
    _, pool = reflected()
    for name in ["grpc.testing.TestService", "grpc.health.v1.Health", "interop.puppet.Puppet"]:
        described = pool.FindServiceByName(name)
        assert described.methods, name
        if name != "grpc.health.v1.Health":
            declared = schema.pool.FindServiceByName(name)
            same([method.full_name for method in described.methods], [method.full_name for method in declared.methods])
            same(described.file.serialized_pb and [f.name for f in described.file.dependencies], [f.name for f in declared.file.dependencies])
    same(pool.FindMethodByName("grpc.testing.TestService.FullDuplexCall").client_streaming, True)
    same(pool.FindMessageTypeByName("grpc.testing.SimpleRequest").fields_by_name["payload"].number, 3)


def reflection_calls():
    _, pool = reflected()
    method = pool.FindMethodByName("grpc.testing.TestService.UnaryCall")
    request = message_factory.GetMessageClass(method.input_type)(response_size=17)
    response = message_factory.GetMessageClass(method.output_type)
    call = channel.unary_unary(f"/{method.containing_service.full_name}/{method.name}", type(request).SerializeToString, response.FromString)
    same(len(call(request, timeout=SECONDS).payload.body), 17)


def reflection_misses():
    database, _ = reflected()
    for find in [
        lambda: database.FindFileByName("absent.proto"),
        lambda: database.FindFileContainingSymbol("absent.Thing"),
        lambda: database.FindFileContainingExtension("absent.Thing", 7),
    ]:
        try:
            same(find(), None)
        except KeyError:
            pass


def details_of(error):
    status = rpc_status.from_call(error)
    return [] if status is None else list(status.details)


def errors_are_read():
    violations = {"name": "must not be empty", "card.year": "has passed"}
    error = failure(lambda: puppet.Fail(Fail(code=3, message="wrong: 100 %", violations=violations), timeout=SECONDS))
    same((error.code(), error.details()), (grpc.StatusCode.INVALID_ARGUMENT, "wrong: 100 %"))
    details = details_of(error)
    same(len(details), 1)
    bad = error_details_pb2.BadRequest()
    assert details[0].Unpack(bad)
    same({violation.field: violation.description for violation in bad.field_violations}, violations)


def errors_that_are_too_large_keep_their_code():
    request = Fail(code=9, message="not now", violations={"a": "b"}, debug_bytes=100_000)
    error = failure(lambda: puppet.Fail(request, timeout=SECONDS))
    same((error.code(), error.details()), (grpc.StatusCode.FAILED_PRECONDITION, "not now"))
    same(details_of(error), [])


def health_of_a_server_that_stops():
    watching = health.Watch(named(""), timeout=SECONDS)
    same(next(watching).status, SERVING)
    os.kill(int(sys.argv[3]), signal.SIGTERM)
    same(next(watching).status, NOT_SERVING)
    same(failure(lambda: next(watching)).code(), grpc.StatusCode.UNAVAILABLE)


CASES = [
    health_check,
    health_watch,
    health_gates_a_channel,
    reflection_lists,
    reflection_describes,
    reflection_calls,
    reflection_misses,
    errors_are_read,
    errors_that_are_too_large_keep_their_code,
    health_of_a_server_that_stops,
]

sys.exit(1 if run({case.__name__: case for case in CASES}) else 0)
