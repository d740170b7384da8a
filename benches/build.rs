//! Generates our own services, and our messages of the public data sets where they are present; and the peers' code with the feature `peers`
//! alone: it needs `protoc`, which nothing else of this workspace does.

use std::path::{Path, PathBuf};

const ECHO: &str = "proto/echo.proto";
const STREAMS: &str = "proto/streams.proto";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=proto");
    grpc_build::Config::new()
        .out_dir(out("echo"))
        .compile_protos(&[ECHO, STREAMS], &["proto"])
        .expect("our own services");
    println!("cargo::rustc-check-cfg=cfg(protobuf_benchmarks)");
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/protobuf-benchmarks");
    println!("cargo::rerun-if-changed={}", data.display());
    let files = ["benchmarks", "benchmark_message1_proto3", "benchmark_message2", "bench_messages"]
        .map(|name| data.join(name).with_extension("proto"));
    let present = data.is_dir();
    if present {
        println!("cargo::rustc-cfg=protobuf_benchmarks");
        grpc_build::Config::new()
            .out_dir(out("ours"))
            .include_file("mod.rs")
            .compile_protos(&files, &[&data])
            .expect("messages of our own");
    } else {
        println!("cargo::warning=the data of the codec benchmark is absent: it will be skipped");
    }
    #[cfg(feature = "peers")]
    peers::generate(present.then_some((&files[..], data.as_path())));
}

fn out(name: &str) -> PathBuf {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join(name);
    std::fs::create_dir_all(&folder).expect("OUT_DIR is writable");
    folder
}

#[cfg(feature = "peers")]
mod peers {
    use std::path::{Path, PathBuf};

    use super::{ECHO, STREAMS, out};

    pub(super) fn generate(data: Option<(&[PathBuf], &Path)>) {
        tonic_prost_build::configure()
            .out_dir(out("tonic"))
            .compile_protos(&[ECHO, STREAMS], &["proto"])
            .expect("services for tonic");
        prost_013_build::Config::new()
            .out_dir(out("pajamax"))
            .service_generator(Box::new(pajamax_build::PajamaxGen::Local))
            .compile_protos(&[ECHO], &["proto"])
            .expect("echo for pajamax");

        let Some((files, data)) = data else { return };
        let includes = [data];
        prost_build::Config::new()
            .out_dir(out("prost"))
            .compile_protos(files, &includes)
            .expect("messages for prost");
        buffa_build::Config::new()
            .files(files)
            .includes(&includes)
            .out_dir(out("buffa"))
            .include_file("mod.rs")
            .compile()
            .expect("messages for buffa");
    }
}
