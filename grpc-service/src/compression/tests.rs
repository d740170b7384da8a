use super::*;

const LIMIT: usize = 1 << 20;

fn codecs() -> Codecs {
    Codecs::new(Compression::none().accept_all())
}

fn pack(codecs: &Codecs, encoding: Encoding, plain: &[u8]) -> Vec<u8> {
    let mut state = codecs.state.borrow_mut();
    state.plain = plain.to_vec();
    state.compress(encoding, None);
    state.packed.clone()
}

fn unpack(
    codecs: &Codecs,
    encoding: Encoding,
    bytes: &[u8],
    limit: usize,
) -> Result<Vec<u8>, Code> {
    let arena = Arena::new();
    let plain = codecs.decompress(encoding, bytes, &arena, limit);
    plain.map(<[u8]>::to_vec).map_err(|status| status.code())
}

/// Bytes that shrink a little.
fn text(len: usize) -> Vec<u8> {
    let mut seed = 7u32;
    let mut byte = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + (seed >> 24) as u8 % 16
    };
    (0..len).map(|_| byte()).collect()
}

#[test]
fn every_length_comes_back_in_every_encoding_from_contexts_that_are_used_again() {
    let codecs = codecs();
    for len in [0, 1, 2, 100, 4095, 4096, 4097, 65_536, 300_000, LIMIT] {
        for &encoding in Encoding::ALL {
            let plain = text(len);
            let packed = pack(&codecs, encoding, &plain);
            assert!(packed.len() < len || len < 100, "{encoding} {len}");
            assert_eq!(unpack(&codecs, encoding, &packed, LIMIT), Ok(plain), "{encoding} {len}");
        }
    }
}

#[test]
fn one_byte_above_the_limit_is_too_much() {
    let codecs = codecs();
    for &encoding in Encoding::ALL {
        for limit in [0, 1, 1000, 4096, 100_000] {
            let fits = pack(&codecs, encoding, &text(limit));
            assert_eq!(unpack(&codecs, encoding, &fits, limit), Ok(text(limit)), "{encoding}");
            let exceeds = pack(&codecs, encoding, &text(limit + 1));
            let refused = Err(Code::ResourceExhausted);
            assert_eq!(unpack(&codecs, encoding, &exceeds, limit), refused, "{encoding} {limit}");
        }
    }
}

#[test]
fn a_message_cut_anywhere_is_corrupt_and_the_next_one_is_read() {
    let codecs = codecs();
    let plain = text(3000);
    for &encoding in Encoding::ALL {
        let packed = pack(&codecs, encoding, &plain);
        for len in 0..packed.len() {
            let cut = unpack(&codecs, encoding, &packed[..len], LIMIT);
            assert_eq!(cut, Err(Code::Internal), "{encoding} {len} of {}", packed.len());
        }
        assert_eq!(unpack(&codecs, encoding, &packed, LIMIT).as_ref(), Ok(&plain));
    }
}

#[test]
fn what_is_not_in_the_encoding_never_passes_for_the_message() {
    let codecs = codecs();
    let plain = text(2000);
    for &encoding in Encoding::ALL {
        let packed = pack(&codecs, encoding, &plain);
        for place in 0..packed.len() {
            let mut broken = packed.clone();
            broken[place] ^= 0x55;
            // Zstandard's frames carry no checksum by default, and some fields of gzip's head mean nothing here.
            match unpack(&codecs, encoding, &broken, LIMIT) {
                Err(code) => assert!(matches!(code, Code::Internal | Code::ResourceExhausted)),
                Ok(other) => match encoding {
                    Encoding::Zstd => assert!(other.len() <= LIMIT),
                    _ => assert_eq!(other, plain, "{encoding} {place}"),
                },
            }
        }
        let mut followed = packed.clone();
        followed.push(0);
        assert_eq!(unpack(&codecs, encoding, &followed, LIMIT), Err(Code::Internal), "{encoding}");
    }
}

#[test]
fn members_of_gzip_and_frames_of_zstandard_may_follow_one_another() {
    let codecs = codecs();
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let mut packed = pack(&codecs, encoding, b"one, ");
        packed.extend(pack(&codecs, encoding, b"two"));
        assert_eq!(unpack(&codecs, encoding, &packed, LIMIT), Ok(b"one, two".to_vec()));
        assert_eq!(unpack(&codecs, encoding, &packed, 7), Err(Code::ResourceExhausted));
    }
}

#[test]
fn every_optional_field_of_a_gzip_head_is_skipped() {
    let codecs = codecs();
    let packed = pack(&codecs, Encoding::Gzip, b"body");
    for flags in 0..32u8 {
        let mut head = packed[..10].to_vec();
        head[3] = flags;
        if flags & 4 != 0 {
            head.extend([3, 0, 1, 0, 2]);
        }
        if flags & 8 != 0 {
            head.extend(b"name\0");
        }
        if flags & 16 != 0 {
            head.extend(b"\0");
        }
        if flags & 2 != 0 {
            head.extend((gzip::crc32(&head) as u16).to_le_bytes());
        }
        head.extend(&packed[10..]);
        assert_eq!(unpack(&codecs, Encoding::Gzip, &head, LIMIT), Ok(b"body".to_vec()), "{flags}");
    }
    for reserved in [32, 64, 128] {
        let mut head = packed.clone();
        head[3] = reserved;
        assert_eq!(unpack(&codecs, Encoding::Gzip, &head, LIMIT), Err(Code::Internal));
    }
}

#[test]
fn names_are_those_of_the_wire() {
    for (name, encoding) in
        [("gzip", Encoding::Gzip), ("deflate", Encoding::Deflate), ("zstd", Encoding::Zstd)]
    {
        assert_eq!((encoding.name(), Encoding::from_name(name)), (name, Some(encoding)));
    }
    assert_eq!(Encoding::from_name("identity"), None);
    assert_eq!(Codecs::new(Compression::none()).accepted(), None);
    assert_eq!(codecs().accepted(), Some("identity,gzip,deflate,zstd"));
}
