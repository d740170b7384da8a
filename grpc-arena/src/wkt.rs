//! The well-known types of `google.protobuf`, with conversions to what Rust has for them.

include!("wkt/google.protobuf.rs");

mod any;
mod time;
mod values;
mod wrappers;

pub use time::OutOfRange;

impl FieldMask<'_> {
    /// Whether the mask names the field at `path` or one around it: `a.b` covers `a.b.c`.
    pub fn covers(&self, path: &str) -> bool {
        self.paths.iter().any(|mask| {
            path.strip_prefix(mask).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_covers_what_it_names_and_all_within() {
        let mask = FieldMask { paths: &["a.b", "c"], ..FieldMask::EMPTY };
        assert!(mask.covers("a.b") && mask.covers("a.b.c") && mask.covers("c.d"));
        assert!(!mask.covers("a") && !mask.covers("a.bc"));
    }
}
