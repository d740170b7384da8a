"""The server of the interop tests, health checks and the puppet, on grpcio: grpcio_server.py DESCRIPTORS PORT

Prints `listening on ADDRESS`, and stops on SIGTERM.
"""

import signal
import sys
import threading
import time
from concurrent import futures

from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from schema import Schema

import grpc

INITIAL = "x-grpc-test-echo-initial"
TRAILING = "x-grpc-test-echo-trailing-bin"
CODES = {code.value[0]: code for code in grpc.StatusCode}

schema = Schema(sys.argv[1])
SimpleResponse = schema.message("grpc.testing.SimpleResponse")
OutputResponse = schema.message("grpc.testing.StreamingOutputCallResponse")
InputResponse = schema.message("grpc.testing.StreamingInputCallResponse")
Empty = schema.message("grpc.testing.Empty")
Payload = schema.message("grpc.testing.Payload")
Done = schema.message("interop.puppet.Done")


def echo_metadata(context):
    sent = dict(context.invocation_metadata())
    if INITIAL in sent:
        context.send_initial_metadata([(INITIAL, sent[INITIAL])])
    if TRAILING in sent:
        context.set_trailing_metadata([(TRAILING, sent[TRAILING])])


def echo_status(request, context):
    status = request.response_status
    if status.code:
        context.abort(CODES[status.code], status.message)


def payload(size):
    return Payload(body=bytes(size))


class Tested:
    """`UnimplementedCall` is left out."""

    def EmptyCall(self, request, context):
        return Empty()

    def UnaryCall(self, request, context):
        echo_metadata(context)
        echo_status(request, context)
        if request.response_compressed.value:
            context.set_compression(grpc.Compression.Gzip)
        return SimpleResponse(payload=payload(request.response_size))

    def StreamingOutputCall(self, request, context):
        echo_metadata(context)
        echo_status(request, context)
        if any(wanted.compressed.value for wanted in request.response_parameters):
            context.set_compression(grpc.Compression.Gzip)
        yield from self.responses(request, context)

    def StreamingInputCall(self, requests, context):
        return InputResponse(aggregated_payload_size=sum(len(request.payload.body) for request in requests))

    def FullDuplexCall(self, requests, context):
        echo_metadata(context)
        for request in requests:
            echo_status(request, context)
            yield from self.responses(request, context)

    def HalfDuplexCall(self, requests, context):
        for request in list(requests):
            yield from self.responses(request, context)

    def responses(self, request, context):
        for wanted in request.response_parameters:
            if wanted.interval_us:
                time.sleep(wanted.interval_us / 1e6)
            if not wanted.compressed.value:
                context.disable_next_message_compression()
            yield OutputResponse(payload=payload(wanted.size))


class Puppet:
    def __init__(self, servicer):
        self.servicer = servicer

    def SetHealth(self, request, context):
        serving = health_pb2.HealthCheckResponse.SERVING
        status = serving if request.serving else health_pb2.HealthCheckResponse.NOT_SERVING
        self.servicer.set(request.service, status)
        return Done()

    def Fail(self, request, context):
        bad = error_details_pb2.BadRequest()
        for field, description in sorted(request.violations.items()):
            bad.field_violations.add(field=field, description=description)
        details = [any_pb2.Any(), any_pb2.Any()]
        details[0].Pack(bad)
        details[1].Pack(error_details_pb2.DebugInfo(detail="x" * request.debug_bytes))
        status = status_pb2.Status(code=request.code, message=request.message, details=details)
        context.abort_with_status(rpc_status.to_status(status))


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    server.add_generic_rpc_handlers(
        (schema.handlers("grpc.testing.TestService", Tested()), schema.handlers("interop.puppet.Puppet", Puppet(servicer)))
    )
    port = server.add_insecure_port(f"127.0.0.1:{sys.argv[2]}")
    server.start()
    print(f"listening on 127.0.0.1:{port}", flush=True)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    server.stop(0).wait()


main()
