//! The testee of the protobuf conformance suite: reads requests from standard input and answers them on standard
//! output, each behind its length, until the runner closes the pipe.

#![deny(warnings, missing_docs)]

use std::io::{Read, Write};

use grpc_arena::{Arena, DecodeLimits, Encode, Schema, SizeCache};

/// The suite's messages.
mod proto {
    include!(concat!(env!("OUT_DIR"), "/all.rs"));
}

use proto::conformance::{
    ConformanceRequest, ConformanceResponse, FailureSet, WireFormat, conformance_request::Payload,
    conformance_response::Result as Outcome,
};
use proto::protobuf_test_messages as messages;

fn main() -> std::io::Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    let (mut arena, mut cache) = (Arena::new(), SizeCache::new());
    let mut len = [0; 4];
    while input.read_exact(&mut len).is_ok() {
        request.resize(u32::from_le_bytes(len) as usize, 0);
        input.read_exact(&mut request)?;
        reply.clear();
        answer(&request, &arena, &mut cache, &mut reply);
        arena.reset();
        output.write_all(&u32::try_from(reply.len()).expect("a reply is small").to_le_bytes())?;
        output.write_all(&reply)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(request: &[u8], arena: &Arena, cache: &mut SizeCache, reply: &mut Vec<u8>) {
    let mut encoded = Vec::new();
    let result = match <ConformanceRequest<'static> as Schema>::decode(
        request,
        arena,
        &DecodeLimits::DEFAULT,
    ) {
        Ok(request) => round_trip(&request, arena, cache, &mut encoded),
        Err(error) => Outcome::RuntimeError(arena.alloc_str(&error.to_string())),
    };
    let result = match result {
        // What was encoded outlives the reply's message only here.
        Outcome::ProtobufPayload(_) => Outcome::ProtobufPayload(&encoded),
        other => other,
    };
    let response = ConformanceResponse { result: Some(result), ..ConformanceResponse::EMPTY };
    response.encoded_len(cache);
    response.encode(cache, reply);
}

fn round_trip<'a>(
    request: &ConformanceRequest<'a>,
    arena: &'a Arena,
    cache: &mut SizeCache,
    out: &mut Vec<u8>,
) -> Outcome<'a> {
    let payload = match request.payload {
        Some(Payload::ProtobufPayload(payload))
            if request.requested_output_format == WireFormat::PROTOBUF =>
        {
            payload
        }
        _ => return Outcome::Skipped("only the binary format is spoken"),
    };
    let result = match request.message_type {
        "conformance.FailureSet" => recode::<FailureSet<'static>>(payload, arena, cache, out),
        "protobuf_test_messages.proto2.TestAllTypesProto2" => {
            recode::<messages::proto2::TestAllTypesProto2<'static>>(payload, arena, cache, out)
        }
        "protobuf_test_messages.proto3.TestAllTypesProto3" => {
            recode::<messages::proto3::TestAllTypesProto3<'static>>(payload, arena, cache, out)
        }
        "protobuf_test_messages.editions.TestAllTypesEdition2023" => {
            recode::<messages::editions::TestAllTypesEdition2023<'static>>(
                payload, arena, cache, out,
            )
        }
        "protobuf_test_messages.editions.proto2.TestAllTypesProto2" => {
            recode::<messages::editions::proto2::TestAllTypesProto2<'static>>(
                payload, arena, cache, out,
            )
        }
        "protobuf_test_messages.editions.proto3.TestAllTypesProto3" => {
            recode::<messages::editions::proto3::TestAllTypesProto3<'static>>(
                payload, arena, cache, out,
            )
        }
        other => return Outcome::Skipped(arena.alloc_str(&format!("{other} is not known"))),
    };
    match result {
        Ok(()) => Outcome::ProtobufPayload(&[]),
        Err(error) => Outcome::ParseError(arena.alloc_str(&error.to_string())),
    }
}

fn recode<M: Schema>(
    payload: &[u8],
    arena: &Arena,
    cache: &mut SizeCache,
    out: &mut Vec<u8>,
) -> Result<(), grpc_arena::DecodeError> {
    let message = M::decode(payload, arena, &DecodeLimits::DEFAULT)?;
    let len = message.encoded_len(cache);
    message.encode(cache, out);
    assert_eq!(out.len(), len);
    Ok(())
}
