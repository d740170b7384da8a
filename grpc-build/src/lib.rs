//! Code generation from .proto files.
