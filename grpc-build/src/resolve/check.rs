//! What any parser refuses, since descriptors may come from anywhere: names that are none.

use super::{index, path};
use crate::Error;
use crate::comments::SourceInfo;
use crate::descriptor::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

/// Finds the first name in a file that is none.
pub(super) fn names(file: &FileDescriptorProto<'_>) -> Result<(), Error> {
    let package = file.package.unwrap_or_default();
    if !package.is_empty() && !package.split('.').all(is_name) {
        let what = format!("`{package}` is no name of a package");
        return Err(SourceInfo::of(file).error(file, &[2], what));
    }
    let names = Names { file };
    for (i, declared) in file.message_type.iter().enumerate() {
        names.message(declared, &[4, index(i)])?;
    }
    for (i, declared) in file.enum_type.iter().enumerate() {
        names.r#enum(declared, &[5, index(i)])?;
    }
    for (i, service) in file.service.iter().enumerate() {
        let at = [6, index(i)];
        names.one(service.name, &at)?;
        names.all(service.method.iter().map(|method| method.name), &at, 2)?;
    }
    names.all(file.extension.iter().map(|field| field.name), &[], 7)
}

struct Names<'a> {
    file: &'a FileDescriptorProto<'a>,
}

impl Names<'_> {
    fn message(&self, message: &DescriptorProto<'_>, at: &[i32]) -> Result<(), Error> {
        // The entry type of a map `_0` is `0Entry`, which `protoc` makes and nobody writes.
        if message.options.is_none_or(|options| options.map_entry != Some(true)) {
            self.one(message.name, at)?;
        }
        self.all(message.field.iter().map(|field| field.name), at, 2)?;
        self.all(message.extension.iter().map(|field| field.name), at, 6)?;
        self.all(message.oneof_decl.iter().map(|oneof| oneof.name), at, 8)?;
        for (i, nested) in message.nested_type.iter().enumerate() {
            self.message(nested, &path(at, &[3, index(i)]))?;
        }
        for (i, nested) in message.enum_type.iter().enumerate() {
            self.r#enum(nested, &path(at, &[4, index(i)]))?;
        }
        Ok(())
    }

    fn r#enum(&self, declared: &EnumDescriptorProto<'_>, at: &[i32]) -> Result<(), Error> {
        self.one(declared.name, at)?;
        self.all(declared.value.iter().map(|value| value.name), at, 2)
    }

    /// The names of what is declared at `at` in the field `number`.
    fn all<'n>(
        &self,
        names: impl Iterator<Item = Option<&'n str>>,
        at: &[i32],
        number: i32,
    ) -> Result<(), Error> {
        for (i, name) in names.enumerate() {
            self.one(name, &path(at, &[number, index(i)]))?;
        }
        Ok(())
    }

    fn one(&self, name: Option<&str>, at: &[i32]) -> Result<(), Error> {
        let name = name.unwrap_or_default();
        if is_name(name) {
            return Ok(());
        }
        Err(SourceInfo::of(self.file).error(self.file, at, format!("`{name}` is no name")))
    }
}

/// Letters, digits and underscores, and no digit in front: all that Rust takes for an identifier, keywords aside.
fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain && name.starts_with(|first: char| !first.is_ascii_digit())
}
