#!/usr/bin/env python3
"""Writes the declarations of .proto files again, from their descriptors: what grpc-build carries in `bundled/`.

    bundle.py PROTOC OUT INCLUDE[,INCLUDE] NAME..

Comments and layout of the originals are not kept; the descriptors are the same but for source information, which
`run.sh` checks.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

F = descriptor_pb2.FieldDescriptorProto
SCALARS = {number: name[5:].lower() for name, number in F.Type.items()}


class Writer:
    def __init__(self, pool, file):
        self.pool, self.file, self.out, self.depth = pool, file, [], 0
        self.package = file.package

    def line(self, text):
        self.out.append("  " * self.depth + text if text else "")

    def block(self, head, write):
        self.line(head + " {")
        self.depth += 1
        write()
        self.depth -= 1
        self.line("}")

    def known(self, options):
        """The options in a class that knows all extensions of the set."""
        kind = self.pool.FindMessageTypeByName(options.DESCRIPTOR.full_name)
        return message_factory.GetMessageClass(kind).FromString(options.SerializeToString())

    def options(self, options):
        for field, value in self.known(options).ListFields():
            name = f"({field.full_name})" if field.is_extension else field.name
            for one in value if field.is_repeated else [value]:
                yield f"{name} = {self.value(field, one)}"

    def value(self, field, value):
        if field.message_type:
            return "{ " + text_format.MessageToString(value, as_one_line=True) + " }"
        if field.enum_type:
            return field.enum_type.values_by_number[value].name
        if field.type == field.TYPE_BOOL:
            return "true" if value else "false"
        if field.type == field.TYPE_STRING:
            return '"' + text_format.text_encoding.CEscape(value, as_utf8=True) + '"'
        return str(value)

    def statements(self, options):
        for option in self.options(options):
            self.line(f"option {option};")

    def brackets(self, parts):
        parts = list(parts)
        return " [" + ", ".join(parts) + "]" if parts else ""

    def write(self):
        file = self.file
        if file.syntax == "editions":
            self.line(f'edition = "{descriptor_pb2.Edition.Name(file.edition)[8:]}";')
        else:
            self.line(f'syntax = "{file.syntax or "proto2"}";')
        if file.package:
            self.line(f"package {file.package};")
        for i, name in enumerate(file.dependency):
            kind = "public " if i in file.public_dependency else "weak " if i in file.weak_dependency else ""
            self.line(f'import {kind}"{name}";')
        for name in file.option_dependency:
            self.line(f'import option "{name}";')
        self.statements(file.options)
        self.extensions(file.extension)
        for message in file.message_type:
            self.message(message)
        for enum in file.enum_type:
            self.enum(enum)
        for service in file.service:
            self.block(f"service {service.name}", lambda: self.service(service))
        return "\n".join(self.out) + "\n"

    def visibility(self, declared):
        return ["", "local ", "export "][declared.visibility]

    def message(self, message):
        self.block(f"{self.visibility(message)}message {message.name}", lambda: self.body(message))

    def body(self, message):
        self.statements(message.options)
        entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
        done = set()
        for field in message.field:
            oneof = field.oneof_index if field.HasField("oneof_index") and not field.proto3_optional else None
            if oneof is None:
                self.field(field, entries)
            elif oneof not in done:
                done.add(oneof)
                members = [f for f in message.field if f.HasField("oneof_index") and f.oneof_index == oneof]
                declared = message.oneof_decl[oneof]

                def inner():
                    self.statements(declared.options)
                    for member in members:
                        self.field(member, entries, in_oneof=True)

                self.block(f"oneof {declared.name}", inner)
        for nested in message.nested_type:
            if nested.name not in entries:
                self.message(nested)
        for enum in message.enum_type:
            self.enum(enum)
        for span in message.extension_range:
            last = "max" if span.end >= 536870912 else span.end - 1
            numbers = f"{span.start}" if last == span.start else f"{span.start} to {last}"
            self.line(f"extensions {numbers}{self.brackets(self.options(span.options))};")
        for span in message.reserved_range:
            last = "max" if span.end >= 536870912 else span.end - 1
            self.line(f"reserved {span.start}{'' if last == span.start else f' to {last}'};")
        self.reserved_names(message.reserved_name)
        self.extensions(message.extension)

    def reserved_names(self, names):
        for name in names:
            self.line(f"reserved {name};" if self.file.syntax == "editions" else f'reserved "{name}";')

    def extensions(self, fields):
        for field in fields:
            self.block(f"extend {field.extendee}", lambda: self.field(field, {}))

    def type(self, field):
        return field.type_name or SCALARS[field.type]

    def field(self, field, entries, in_oneof=False):
        parts = []
        if field.HasField("default_value"):
            text = field.default_value
            if field.type == F.TYPE_STRING:
                text = '"' + text_format.text_encoding.CEscape(text, as_utf8=True) + '"'
            elif field.type == F.TYPE_BYTES:
                text = f'"{text}"'
            parts.append(f"default = {text}")
        made = "".join(p if i == 0 else p[:1].upper() + p[1:] for i, p in enumerate(field.name.split("_")))
        if not field.HasField("extendee") and field.json_name != made:
            parts.append(f'json_name = "{field.json_name}"')
        parts += self.options(field.options)
        tail = f"{field.name} = {field.number}{self.brackets(parts)};"
        entry = entries.get(field.type_name.rsplit(".", 1)[-1]) if field.label == F.LABEL_REPEATED else None
        if entry:
            self.line(f"map<{self.type(entry.field[0])}, {self.type(entry.field[1])}> {tail}")
            return
        label = {F.LABEL_OPTIONAL: "optional ", F.LABEL_REQUIRED: "required ", F.LABEL_REPEATED: "repeated "}[field.label]
        plain = self.file.syntax == "proto3" and not field.proto3_optional or self.file.syntax == "editions"
        if in_oneof or field.label == F.LABEL_OPTIONAL and plain:
            label = ""
        self.line(f"{label}{self.type(field)} {tail}")

    def enum(self, enum):
        def inner():
            self.statements(enum.options)
            for value in enum.value:
                self.line(f"{value.name} = {value.number}{self.brackets(self.options(value.options))};")
            for span in enum.reserved_range:
                last = "max" if span.end == 2147483647 else span.end
                self.line(f"reserved {span.start}{'' if last == span.start else f' to {last}'};")
            self.reserved_names(enum.reserved_name)

        self.block(f"{self.visibility(enum)}enum {enum.name}", inner)

    def service(self, service):
        self.statements(service.options)
        for method in service.method:
            asks = ("stream " if method.client_streaming else "") + method.input_type
            answers = ("stream " if method.server_streaming else "") + method.output_type
            head = f"rpc {method.name}({asks}) returns ({answers})"
            if method.HasField("options"):
                self.block(head, lambda: self.statements(method.options))
            else:
                self.line(head + ";")


def main():
    protoc, out, includes, *names = sys.argv[1:]
    with tempfile.NamedTemporaryFile() as made:
        subprocess.run(
            [protoc, "--include_imports", "--retain_options", f"--descriptor_set_out={made.name}"]
            + [f"-I{include}" for include in includes.split(",")] + names + ["google/protobuf/descriptor.proto"],
            check=True,
        )
        bundle = descriptor_pb2.FileDescriptorSet.FromString(Path(made.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for file in bundle.file:
        pool.Add(file)
    for file in bundle.file:
        if file.name in names:
            path = Path(out) / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Writer(pool, file).write())


main()
