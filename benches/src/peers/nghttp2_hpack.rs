//! nghttp2's HPACK alone.

use std::ptr::null_mut;

use libnghttp2_sys as sys;

/// Decodes the field blocks of one direction.
pub struct Inflater(*mut sys::nghttp2_hd_inflater);

impl Inflater {
    /// A decoder with a table of 4096 bytes.
    pub fn new() -> Self {
        let mut inflater = null_mut();
        // SAFETY: the library writes the pointer before it returns.
        let code = unsafe { sys::nghttp2_hd_inflate_new(&mut inflater) };
        assert_eq!(code, 0);
        Self(inflater)
    }

    /// Decodes one whole block and hands out its fields.
    pub fn decode(&mut self, mut block: &[u8], mut field: impl FnMut(&[u8], &[u8])) {
        loop {
            let mut flags = 0;
            // SAFETY: all of its fields are pointers and integers.
            let mut nv: sys::nghttp2_nv = unsafe { std::mem::zeroed() };
            // SAFETY: the inflater is live, and the block outlives the call.
            let used = unsafe {
                sys::nghttp2_hd_inflate_hd2(
                    self.0,
                    &mut nv,
                    &mut flags,
                    block.as_ptr(),
                    block.len(),
                    1,
                )
            };
            block = &block[usize::try_from(used).expect("a valid block")..];
            if flags as u32 & sys::NGHTTP2_HD_INFLATE_EMIT != 0 {
                // SAFETY: an emitted field is valid until the next call.
                unsafe {
                    field(
                        std::slice::from_raw_parts(nv.name, nv.namelen),
                        std::slice::from_raw_parts(nv.value, nv.valuelen),
                    );
                }
            }
            if flags as u32 & sys::NGHTTP2_HD_INFLATE_FINAL != 0 {
                // SAFETY: the inflater is live.
                unsafe { sys::nghttp2_hd_inflate_end_headers(self.0) };
                return;
            }
        }
    }
}

impl Default for Inflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // SAFETY: it was made by `nghttp2_hd_inflate_new` and is dropped once.
        unsafe { sys::nghttp2_hd_inflate_del(self.0) };
    }
}

/// Fields in the library's form, which borrow from the list that they were made of.
pub struct Fields<'a> {
    list: Vec<sys::nghttp2_nv>,
    _list: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// The fields of a list.
    pub fn new(list: &'a [(Vec<u8>, Vec<u8>)]) -> Self {
        let nv = |(name, value): &(Vec<u8>, Vec<u8>)| sys::nghttp2_nv {
            name: name.as_ptr().cast_mut(),
            value: value.as_ptr().cast_mut(),
            namelen: name.len(),
            valuelen: value.len(),
            flags: sys::NGHTTP2_NV_FLAG_NONE as u8,
        };
        Self { list: list.iter().map(nv).collect(), _list: std::marker::PhantomData }
    }
}

/// Encodes the field blocks of one direction.
pub struct Deflater(*mut sys::nghttp2_hd_deflater);

impl Deflater {
    /// An encoder with a table of 4096 bytes.
    pub fn new() -> Self {
        let mut deflater = null_mut();
        // SAFETY: the library writes the pointer before it returns.
        let code = unsafe { sys::nghttp2_hd_deflate_new(&mut deflater, 4096) };
        assert_eq!(code, 0);
        Self(deflater)
    }

    /// Writes one whole block to the start of `out`, which is large enough, and returns its length.
    pub fn encode(&mut self, fields: &Fields<'_>, out: &mut [u8]) -> usize {
        // SAFETY: the deflater is live, the fields and what they borrow outlive the call, and the library does not
        // write to them.
        let len = unsafe {
            sys::nghttp2_hd_deflate_hd(
                self.0,
                out.as_mut_ptr(),
                out.len(),
                fields.list.as_ptr(),
                fields.list.len(),
            )
        };
        usize::try_from(len).expect("a block that fits")
    }
}

impl Default for Deflater {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Deflater {
    fn drop(&mut self) {
        // SAFETY: it was made by `nghttp2_hd_deflate_new` and is dropped once.
        unsafe { sys::nghttp2_hd_deflate_del(self.0) };
    }
}
