//! The conversation with `protoc`.

use std::collections::HashSet;

use grpc_arena::{Arena, DecodeLimits, Encode, Schema, SizeCache};

use crate::descriptor::FileDescriptorSet;
use crate::descriptor::google::protobuf::compiler::{
    CodeGeneratorRequest, CodeGeneratorResponse, code_generator_response::Feature,
    code_generator_response::File,
};
use crate::{Config, Error, utf8};

/// Editions 2023 and 2024.
const EDITIONS: (i32, i32) = (1000, 1001);

/// Answers an encoded `CodeGeneratorRequest` with an encoded `CodeGeneratorResponse`.
///
/// A schema or an option that is wrong is part of the answer, which `protoc` prints.
///
/// # Errors
/// When the request does not decode.
pub fn run_plugin(request: &[u8]) -> Result<Vec<u8>, Error> {
    let arena = Arena::new();
    let limits = DecodeLimits::DEFAULT.with_arena_bytes(usize::MAX).with_unknown_fields(u32::MAX);
    let decode = |bytes| <CodeGeneratorRequest<'static> as Schema>::decode(bytes, &arena, &limits);
    let mut decoded = decode(request);
    // protoc passes comments on as they are, whatever their encoding.
    let repaired = if decoded.is_err() { utf8::repaired_request(request) } else { None };
    if let Some(repaired) = &repaired {
        decoded = decode(repaired);
    }
    let request =
        decoded.map_err(|error| Error::new(format!("the request does not decode: {error}")))?;
    let generated = generate(&request);
    let (files, message) = match &generated {
        Ok(files) => (files.as_slice(), None),
        Err(error) => (&[][..], Some(error.to_string())),
    };
    let files = files
        .iter()
        .map(|(name, content)| File { name: Some(name), content: Some(content), ..File::EMPTY })
        .collect::<Vec<_>>();
    let features = Feature::Proto3Optional as u64 | Feature::SupportsEditions as u64;
    let response = CodeGeneratorResponse {
        error: message.as_deref(),
        supported_features: Some(features),
        minimum_edition: Some(EDITIONS.0),
        maximum_edition: Some(EDITIONS.1),
        file: &files,
        ..CodeGeneratorResponse::EMPTY
    };
    let (mut cache, mut out) = (SizeCache::new(), Vec::new());
    response.encoded_len(&mut cache);
    response.encode(&mut cache, &mut out);
    Ok(out)
}

fn generate(request: &CodeGeneratorRequest<'_>) -> Result<Vec<(String, String)>, Error> {
    let mut config = Config::new();
    for option in request.parameter().split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("include_file", name)) => config.include_file(name),
            Some(("services", "true" | "false")) => config.services(option.ends_with("true")),
            Some(("clients", "true" | "false")) => config.clients(option.ends_with("true")),
            Some(("servers", "true" | "false")) => config.servers(option.ends_with("true")),
            Some(("keep_enum_prefixes", "true" | "false")) => {
                config.keep_enum_prefixes(option.ends_with("true"))
            }
            Some(("only", name)) => config.only(name),
            Some(("extern_path", pair)) => match pair.split_once('=') {
                Some((proto, rust)) => config.extern_path(proto, rust),
                None => {
                    return Err(Error::new(format!(
                        "`{option}` lacks the Rust path: extern_path=.name=::path"
                    )));
                }
            },
            _ => return Err(Error::new(format!("the option `{option}` is not known"))),
        };
    }
    let wanted =
        request.file_to_generate.iter().map(|name| (*name).to_owned()).collect::<HashSet<_>>();
    let set = FileDescriptorSet { file: request.proto_file, ..FileDescriptorSet::EMPTY };
    // Descriptors would be a file of bytes, which `protoc` does not take.
    Ok(config.generate(&set, &wanted, false)?.sources)
}
