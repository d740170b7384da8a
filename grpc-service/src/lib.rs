//! Handlers, stubs and channels for gRPC, independent of any runtime.
