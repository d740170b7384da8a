//! Faults to be planted one at a time, which tests of the tests must find: those of this crate stand in
//! `grpc_proto::planted` beside the core's. Nothing of them exists without the feature `planted`.

/// Whether a fault is planted.
macro_rules! planted {
    ($bug:ident) => {{
        #[cfg(feature = "planted")]
        let planted = grpc_proto::planted::is(grpc_proto::planted::Bug::$bug);
        #[cfg(not(feature = "planted"))]
        let planted = false;
        planted
    }};
}
