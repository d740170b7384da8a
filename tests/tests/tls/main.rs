//! TLS over real sockets: who is who, what is refused, and certificates that are replaced.
//!
//! `MONOIO_FORCE_LEGACY_DRIVER=1` in the environment runs the tests of monoio on epoll.

mod on_monoio {
    use grpc_monoio as adapter;
    use grpc_monoio::MonoioHost as AdapterHost;

    include!("cases.rs");
    include!("reload.rs");
    include!("storm.rs");
}

mod on_tokio {
    use grpc_tokio as adapter;
    use grpc_tokio::TokioHost as AdapterHost;

    include!("cases.rs");
    include!("reload.rs");
    include!("storm.rs");
}
