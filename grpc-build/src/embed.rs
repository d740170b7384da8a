//! The descriptors that code for servers carries, for reflection.

use std::collections::{HashMap, HashSet};

use grpc_arena::Encode;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

use crate::descriptor::{FileDescriptorProto, FileDescriptorSet};
use crate::model::Package;
use crate::schema::wire;

/// The name of the file with the descriptors of a package.
pub(crate) fn file_name(package: &str) -> String {
    if package.is_empty() {
        "_.descriptors.bin".to_owned()
    } else {
        format!("{package}.descriptors.bin")
    }
}

/// The constant that holds them. Nothing else at the root of a package is likely to be called so; if something is, it
/// keeps its name.
fn constant(package: &Package) -> Ident {
    let mut name = format_ident!("FILE_DESCRIPTOR_SET");
    let messages = package.messages.iter().map(|it| it.rust.ident().to_string());
    let enums = package.enums.iter().map(|it| it.rust.ident().to_string());
    let taken: HashSet<String> = messages.chain(enums).collect();
    while taken.contains(&name.to_string()) {
        name = format_ident!("{name}_");
    }
    name
}

/// The item that a package's file has for them.
pub(crate) fn item(package: &Package) -> TokenStream {
    let (name, file) = (constant(package), file_name(&package.name));
    quote! {
        /// The descriptors of this package's services and of all that they import, as an encoded
        /// `google.protobuf.FileDescriptorSet` without comments: for server reflection.
        #[allow(dead_code)]
        pub const #name: &[u8] = ::core::include_bytes!(#file);
    }
}

/// The files of `package` with services and all that they import, without the places and comments of declarations; each
/// file behind its imports if they are so in `set`.
pub(crate) fn descriptors(set: &FileDescriptorSet<'_>, package: &str) -> Vec<u8> {
    let declares = |file: &&FileDescriptorProto<'_>| {
        file.package.unwrap_or_default() == package && !file.service.is_empty()
    };
    let mut needed: HashSet<&str> =
        set.file.iter().filter(declares).filter_map(|file| file.name).collect();
    let mut open: Vec<&str> = needed.iter().copied().collect();
    let by_name: HashMap<&str, &FileDescriptorProto<'_>> =
        set.file.iter().rev().filter_map(|file| Some((file.name?, file))).collect();
    while let Some(name) = open.pop() {
        let imports = by_name.get(name).map_or(&[][..], |file| file.dependency);
        open.extend(imports.iter().filter(|name| needed.insert(name)));
    }
    let mut out = Vec::new();
    for file in set.file.iter() {
        // Of several files with one name the first counts.
        if file.name.is_some_and(|name| needed.remove(name)) {
            let bare = FileDescriptorProto { source_code_info: None, ..*file };
            wire::bytes(&mut out, 1, &bare.encode_to_vec());
        }
    }
    out
}
