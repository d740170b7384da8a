"""Messages, stubs and handlers of a descriptor set, without generated code: its package `grpc.testing` would lie in grpcio's own."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import grpc


class Schema:
    def __init__(self, path: str):
        self.pool = descriptor_pool.DescriptorPool()
        with open(path, "rb") as file:
            for declared in descriptor_pb2.FileDescriptorSet.FromString(file.read()).file:
                self.pool.Add(declared)

    def message(self, name: str):
        return message_factory.GetMessageClass(self.pool.FindMessageTypeByName(name))

    def methods(self, service: str):
        """The methods of a service: descriptor, class of requests, class of responses."""
        for method in self.pool.FindServiceByName(service).methods:
            request = message_factory.GetMessageClass(method.input_type)
            response = message_factory.GetMessageClass(method.output_type)
            yield method, request, response

    def stub(self, service: str, channel: grpc.Channel):
        return Stub(self, service, channel)

    def handlers(self, service: str, servicer):
        """Handlers for the methods that `servicer` has."""
        handlers = {}
        for method, request, response in self.methods(service):
            serve = getattr(servicer, method.name, None)
            if serve is None:
                continue
            sides = "stream" if method.client_streaming else "unary"
            sides += "_stream" if method.server_streaming else "_unary"
            make = getattr(grpc, f"{sides}_rpc_method_handler")
            handlers[method.name] = make(serve, request.FromString, response.SerializeToString)
        return grpc.method_handlers_generic_handler(service, handlers)


class Stub:
    def __init__(self, schema: Schema, service: str, channel: grpc.Channel):
        for method, request, response in schema.methods(service):
            sides = "stream" if method.client_streaming else "unary"
            sides += "_stream" if method.server_streaming else "_unary"
            path = f"/{service}/{method.name}"
            make = getattr(channel, sides)
            setattr(self, method.name, make(path, request.SerializeToString, response.FromString))


def run(cases, skipped=()):
    """Runs the functions of a table of names; prints a line for each. Returns how many failed."""
    failures = 0
    for name, case in cases.items():
        try:
            case()
            print(f"PASS {name}", flush=True)
        except Exception as error:  # pylint: disable=broad-except
            failures += 1
            print(f"FAIL {name}: {type(error).__name__} {str(error)[:500]!r}", flush=True)
    for name, why in dict(skipped).items():
        print(f"SKIP {name}: {why}", flush=True)
    return failures


def failure(call):
    """The error that a call ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call succeeded")


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"
