//! What `build.rs` says.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use grpc_arena::{Arena, DecodeLimits, Schema};

use crate::descriptor::{FileDescriptorProto, FileDescriptorSet};
use crate::folders::{self, Folders, name_to_protoc};
use crate::generate::{Attributes, Sides};
use crate::{Error, choose, embed, generate, resolve, schema, utf8};

/// Generates code for `protos`, all they declare and the imported files whose types they use, into `OUT_DIR`. Files are
/// looked up in `includes`.
///
/// # Errors
/// Says in which file and line the schema is wrong, or what could not be read or written.
pub fn compile_protos(
    protos: &[impl AsRef<Path>],
    includes: &[impl AsRef<Path>],
) -> Result<(), Error> {
    Config::new().compile_protos(protos, includes)
}

/// The file that includes those of all packages, where there are several and no name was asked for.
const ALL: &str = "_all";

/// What is generated, and where to.
#[derive(Clone, Debug, Default)]
pub struct Config {
    out_dir: Option<PathBuf>,
    include_file: Option<PathBuf>,
    descriptor_set: Option<PathBuf>,
    protoc: Option<PathBuf>,
    externals: Vec<(String, String)>,
    attributes: Vec<(String, String)>,
    only: Vec<String>,
    without_services: bool,
    without_descriptors: bool,
    sides: Sides,
    keep_enum_prefixes: bool,
    google_apis: bool,
}

impl Config {
    /// The defaults: code into `OUT_DIR`, one file for each package.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes to this folder instead of `OUT_DIR`.
    pub fn out_dir(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.out_dir = Some(path.into());
        self
    }

    /// Also writes a file of this name that includes those of all packages, each in a module for each part of its name, so
    /// that packages find the types of each other. By default that is `_all.rs`, and written where there are several.
    pub fn include_file(&mut self, name: impl Into<PathBuf>) -> &mut Self {
        self.include_file = Some(name.into());
        self
    }

    /// Also writes the descriptors of all files, encoded, to this file: for server reflection.
    pub fn file_descriptor_set(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.descriptor_set = Some(path.into());
        self
    }

    /// Takes this `protoc` to read the schema, as the environment variable `PROTOC` does, instead of the front end of this
    /// crate ([`schema`]).
    pub fn protoc(&mut self, path: impl Into<PathBuf>) -> &mut Self {
        self.protoc = Some(path.into());
        self
    }

    /// Whether imports of `google/api/*` and `google/rpc/*` that no include folder has are taken from the files that this
    /// crate carries; not by default. Those of `google/protobuf/*` always are. With `protoc` this has no effect.
    pub fn google_apis(&mut self, carried: bool) -> &mut Self {
        self.google_apis = carried;
        self
    }

    /// Takes the Rust path `rust` for the package or type `proto`, as `.google.type` and `::common::google::r#type`,
    /// instead of generating it. The most specific one counts.
    ///
    /// The path of a package is one of code that grpc-build generated. It has hidden names, as `__in_Money` for the module
    /// of what `Money` declares, which do not depend on what else its crate compiles. The path of a type may be one written
    /// by hand: what `::common::Money` declares lies in `::common::money`. Messages that hold a message of such a path do
    /// not derive `Eq` and `Hash`; an enum of such a path must be both.
    ///
    /// Without one, the well-known types of `google.protobuf` are those of `grpc_arena::wkt`, unless their files are
    /// compiled too. Extensions of messages that no type stands for, as of `google.protobuf.FieldOptions`, are left out.
    pub fn extern_path(&mut self, proto: impl Into<String>, rust: impl Into<String>) -> &mut Self {
        self.externals.push((proto.into(), rust.into()));
        self
    }

    /// Puts an attribute, as `#[must_use]`, on what has exactly the name `proto`: a type, a field or an enum's value, as
    /// `.a.b.Person`, `.a.b.Person.name`; not on what is declared within. The name of a package stands for all types of
    /// the package: messages, enums, oneofs and extensions, nested ones too, but none of a package within; `.` stands
    /// for those of all packages. A name of nothing that is generated is an error.
    ///
    /// `.a.b.Person.unknown` stands for the unknown fields of a message, unless it has a field of that name.
    ///
    /// Messages and oneofs derive `Clone`, `Copy`, `Debug` and `PartialEq` by themselves, and `Eq` and `Hash` where no
    /// floating-point number lies within; enums also `PartialOrd` and `Ord`.
    pub fn attribute(
        &mut self,
        proto: impl Into<String>,
        attribute: impl Into<String>,
    ) -> &mut Self {
        self.attributes.push((proto.into(), attribute.into()));
        self
    }

    /// Whether handlers and stubs are generated for services, as they are by default. Without, the code needs
    /// `grpc_arena` alone; with, `grpc_service` too.
    pub fn services(&mut self, generate: bool) -> &mut Self {
        self.without_services = !generate;
        self
    }

    /// Whether code for servers carries the descriptors of its schema, as it does by default: a package with services has
    /// a constant `FILE_DESCRIPTOR_SET`, whose bytes lie in a file beside its code, `a.b.descriptors.bin`. They are what
    /// server reflection answers from; a program that does not use them does not contain them.
    ///
    /// Not with the plugin, because `protoc` takes only text from it.
    pub fn descriptors(&mut self, embed: bool) -> &mut Self {
        self.without_descriptors = !embed;
        self
    }

    /// Generates only what has this name, as `.a.b.Person`, `.a.b.Greeter`, `.a.b.Greeter.SayHello`, or all that lies in
    /// the package `.a.b` and packages within; and the types that it needs. May be called for several names. A name of nothing is an error.
    ///
    /// What is declared in a message that is needed, and is needed by nothing itself, is left out.
    pub fn only(&mut self, proto: impl Into<String>) -> &mut Self {
        self.only.push(proto.into());
        self
    }

    /// Whether client stubs are generated, as they are by default.
    pub fn clients(&mut self, generate: bool) -> &mut Self {
        self.sides.clients = generate;
        self
    }

    /// Whether handler traits are generated, as they are by default.
    pub fn servers(&mut self, generate: bool) -> &mut Self {
        self.sides.servers = generate;
        self
    }

    /// Whether values of enums keep the name of their enum in front, `STATUS_CODE_OK` of `StatusCode`; by default that is
    /// left out.
    pub fn keep_enum_prefixes(&mut self, keep: bool) -> &mut Self {
        self.keep_enum_prefixes = keep;
        self
    }

    /// Generates code for `protos` and all they declare, with imports looked up in `includes`. Imported files whose types
    /// are used are generated too, as if they were listed, but for what [`extern_path`](Self::extern_path) names.
    ///
    /// # Errors
    /// Says in which file and line the schema is wrong, or what could not be read or written.
    pub fn compile_protos(
        &self,
        protos: &[impl AsRef<Path>],
        includes: &[impl AsRef<Path>],
    ) -> Result<(), Error> {
        let protoc = self.protoc.clone().or_else(|| std::env::var_os("PROTOC").map(PathBuf::from));
        println!("cargo:rerun-if-env-changed=PROTOC");
        let protos = protos.iter().map(AsRef::as_ref).collect::<Vec<_>>();
        let includes = includes.iter().map(AsRef::as_ref).collect::<Vec<_>>();
        let (bytes, wanted) = match protoc {
            Some(protoc) => run_protoc(&protoc, &protos, &includes)?,
            None => parse(&protos, &includes, self.google_apis)?,
        };
        let result = self.compile_bytes(&bytes, Some(wanted), &includes);
        result.map_err(|error| folders::located(error, &includes))
    }

    /// Generates code from an encoded `FileDescriptorSet`, as `protoc --descriptor_set_out --include_imports` writes
    /// it; of all files in it whose types are not external. Those of `google.protobuf` count only when the set holds no
    /// others: among others they are imports. Of several files with one name the first counts.
    ///
    /// # Errors
    /// Says in which file and line the schema is wrong, or what could not be written.
    pub fn compile_descriptor_set(&self, bytes: &[u8]) -> Result<(), Error> {
        self.compile_bytes(bytes, None, &[])
    }

    fn compile_bytes(
        &self,
        bytes: &[u8],
        wanted: Option<HashSet<String>>,
        includes: &[&Path],
    ) -> Result<(), Error> {
        let arena = Arena::new();
        // Schemas come from their own authors: no need to be sparing.
        let limits =
            DecodeLimits::DEFAULT.with_arena_bytes(usize::MAX).with_unknown_fields(u32::MAX);
        let decode = |bytes| <FileDescriptorSet<'static> as Schema>::decode(bytes, &arena, &limits);
        // protoc passes comments on as they are, whatever their encoding.
        let repaired;
        let (bytes, decoded) = match decode(bytes) {
            Err(error) => {
                repaired = utf8::repaired_set(bytes);
                match &repaired {
                    Some(repaired) => (&repaired[..], decode(repaired)),
                    None => (bytes, Err(error)),
                }
            }
            decoded => (bytes, decoded),
        };
        let set = decoded
            .map_err(|error| Error::new(format!("the descriptor set does not decode: {error}")))?;
        for name in set.file.iter().filter_map(|file| file.name) {
            for path in
                includes.iter().map(|include| include.join(name)).filter(|path| path.exists())
            {
                println!("cargo:rerun-if-changed={}", path.display());
            }
        }
        let wanted = match wanted {
            Some(listed) => {
                resolve::with_used(&set, listed, &self.externals, !self.without_services)?
            }
            None => all_but_google(&set),
        };
        let out_dir = match &self.out_dir {
            Some(path) => path.clone(),
            None => std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| {
                Error::new("OUT_DIR is not set outside of a build script; see Config::out_dir")
            })?,
        };
        if let Some(path) = &self.descriptor_set {
            write(path, bytes)?;
        }
        let embeds = !self.without_descriptors;
        let Generated { sources: mut files, descriptors } = self.generate(&set, &wanted, embeds)?;
        if self.include_file.is_none() && files.len() > 1 {
            let names = files.iter().filter_map(|(file, _)| file.strip_suffix(".rs"));
            let names = names.map(|name| if name == "_" { "" } else { name }).collect::<Vec<_>>();
            // A package may be called as the file, however odd that is; then its own file is worth more.
            if !names.contains(&ALL) {
                files.push((format!("{ALL}.rs"), generate::include_file(&names)));
            }
        }
        for (name, bytes) in descriptors {
            write(&out_dir.join(name), &bytes)?;
        }
        for (name, text) in files {
            write(&out_dir.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// The names and contents of the files; those with descriptors if `embeds` and nothing speaks against it.
    pub(crate) fn generate(
        &self,
        set: &FileDescriptorSet<'_>,
        wanted: &HashSet<String>,
        embeds: bool,
    ) -> Result<Generated, Error> {
        let attributes = Attributes::new(&self.attributes)?;
        let (services, prefixes) = (!self.without_services, self.keep_enum_prefixes);
        let mut packages = resolve::resolve(set, wanted, &self.externals, services, prefixes)?;
        if !self.only.is_empty() {
            choose::prune(&mut packages, set, &self.only)?;
        }
        let (mut files, mut descriptors) = (Vec::new(), Vec::new());
        for package in &packages {
            let embeds = embeds && self.sides.servers && !package.services.is_empty();
            files.push((
                generate::file_name(&package.name),
                generate::package(package, &attributes, self.sides, embeds)?,
            ));
            if embeds {
                let bytes = embed::descriptors(set, &package.name);
                descriptors.push((embed::file_name(&package.name), bytes));
            }
        }
        attributes.check_used()?;
        if let Some(name) = &self.include_file {
            let names = packages.iter().map(|package| package.name.as_str()).collect::<Vec<_>>();
            files.push((name.display().to_string(), generate::include_file(&names)));
        }
        Ok(Generated { sources: files, descriptors })
    }
}

/// Files by name.
pub(crate) struct Generated {
    pub(crate) sources: Vec<(String, String)>,
    descriptors: Vec<(String, Vec<u8>)>,
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    // A file that did not change keeps its time, so that nothing is built again for it.
    if std::fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|error| Error::new(format!("{}: {error}", folder.display())))?;
    }
    std::fs::write(path, bytes).map_err(|error| Error::new(format!("{}: {error}", path.display())))
}

/// The names of the files of a set, without those of `google.protobuf` unless there are no others.
fn all_but_google(set: &FileDescriptorSet<'_>) -> HashSet<String> {
    let google =
        |file: &&FileDescriptorProto<'_>| resolve::is_google(file.package.unwrap_or_default());
    let alone = set.file.iter().all(|file| google(&file));
    let files = set.file.iter().filter(|file| alone || !google(file));
    files.filter_map(|file| file.name).map(str::to_owned).collect()
}

/// The encoded descriptors and the names of the files that were asked for, from the front end of this crate.
fn parse(
    protos: &[&Path],
    includes: &[&Path],
    google_apis: bool,
) -> Result<(Vec<u8>, HashSet<String>), Error> {
    let folders = Folders { includes, google_apis };
    let names =
        protos.iter().map(|proto| folders.name_of(proto)).collect::<Result<Vec<_>, Error>>()?;
    let listed = names.iter().map(String::as_str).collect::<Vec<_>>();
    let compiled = schema::compile(&listed, &folders)?;
    Ok((compiled.descriptor_set, names.into_iter().collect()))
}

/// The same from `protoc`, whose complaints are passed on as they are: `file:line:column: message`.
fn run_protoc(
    protoc: &Path,
    protos: &[&Path],
    includes: &[&Path],
) -> Result<(Vec<u8>, HashSet<String>), Error> {
    let folder = std::env::var_os("OUT_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    // Several threads of one build script may come by at once.
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    let out = folder.join(format!("descriptors-{}-{call}.bin", std::process::id()));
    let mut command = Command::new(protoc);
    command
        .arg("--include_imports")
        .arg("--include_source_info")
        .arg("--descriptor_set_out")
        .arg(&out);
    for include in includes {
        let mut arg = OsString::from("-I");
        arg.push(include);
        command.arg(arg);
    }
    let output = command
        .args(protos)
        .output()
        .map_err(|error| Error::new(format!("{} cannot be run: {error}", protoc.display())))?;
    if !output.status.success() {
        return Err(Error::new(String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let bytes =
        std::fs::read(&out).map_err(|error| Error::new(format!("{}: {error}", out.display())))?;
    // Nobody reads it again; should it stay, it does no harm.
    let _ = std::fs::remove_file(&out);
    Ok((bytes, protos.iter().map(|proto| name_to_protoc(proto, includes)).collect()))
}
