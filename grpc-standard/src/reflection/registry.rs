//! All files of a server, to be found by their names and by what they declare.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use grpc_arena::{Arena, DecodeError};

use super::index::{self, Found};
use super::v1;

/// The descriptors of `v1alpha`, whose messages are those of `v1`.
const V1ALPHA: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/v1alpha/grpc.reflection.v1alpha.descriptors.bin"));

/// The schema of a server, for all its threads. A clone is the same registry.
///
/// It holds the encoded files, and about a hundred bytes for each name that they declare.
#[derive(Clone)]
pub struct Registry {
    index: Arc<Index>,
}

#[derive(Default)]
struct Index {
    files: Vec<File>,
    by_name: HashMap<Box<str>, u32>,
    symbols: HashMap<Box<str>, Symbol>,
    /// By the extended message and the number.
    extensions: BTreeMap<Box<str>, BTreeMap<i32, u32>>,
}

struct File {
    name: Box<str>,
    bytes: Box<[u8]>,
    imports: Box<[u32]>,
}

#[derive(Clone, Copy)]
struct Symbol {
    file: u32,
    is_message: bool,
}

impl Registry {
    /// A registry of the files of these encoded `google.protobuf.FileDescriptorSet`s, and of reflection itself.
    ///
    /// Sets may share files: of several with one name the first counts. Each import of a file has to be in one of them, as
    /// it is in the sets that the generator embeds and in those of `protoc --include_imports`.
    ///
    /// # Errors
    /// A set does not decode, a file lacks its name or an import, or two files declare the same name.
    pub fn new<S: AsRef<[u8]>>(sets: impl IntoIterator<Item = S>) -> Result<Self, RegistryError> {
        let mut index = Index::default();
        for set in sets {
            index.add(set.as_ref())?;
        }
        index.add(v1::FILE_DESCRIPTOR_SET)?;
        index.add(V1ALPHA)?;
        index.link()?;
        Ok(Self { index: Arc::new(index) })
    }

    /// The number of files.
    pub(super) fn len(&self) -> usize {
        self.index.files.len()
    }

    /// The encoded descriptor of a file.
    pub(super) fn bytes(&self, file: u32) -> &[u8] {
        &self.index.files[file as usize].bytes
    }

    /// The files that a file imports.
    pub(super) fn imports(&self, file: u32) -> &[u32] {
        &self.index.files[file as usize].imports
    }

    /// The file of this name.
    pub(super) fn by_name(&self, name: &str) -> Option<u32> {
        self.index.by_name.get(name).copied()
    }

    /// The file that declares this full name.
    pub(super) fn by_symbol(&self, name: &str) -> Option<u32> {
        self.index.symbols.get(name).map(|symbol| symbol.file)
    }

    /// The file that declares an extension.
    pub(super) fn by_extension(&self, message: &str, number: i32) -> Option<u32> {
        self.index.extensions.get(message)?.get(&number).copied()
    }

    /// The numbers of the extensions of a message in ascending order; `None` if there is no such message.
    pub(super) fn extension_numbers(
        &self,
        message: &str,
    ) -> Option<impl ExactSizeIterator<Item = i32>> {
        static NONE: BTreeMap<i32, u32> = BTreeMap::new();
        let known = self.index.symbols.get(message).is_some_and(|symbol| symbol.is_message);
        let extensions = self.index.extensions.get(message);
        known.then(|| extensions.unwrap_or(&NONE).keys().copied())
    }
}

impl Index {
    /// Adds the files of a set that are not there yet.
    fn add(&mut self, set: &[u8]) -> Result<(), RegistryError> {
        let mut arena = Arena::new();
        let list = Arena::new();
        for bytes in index::files(set, &list).map_err(RegistryError::Decode)? {
            arena.reset();
            let file = index::file(bytes, &arena).map_err(RegistryError::Decode)?;
            if file.name().is_empty() {
                return Err(RegistryError::Unnamed);
            }
            if self.by_name.contains_key(file.name()) {
                continue;
            }
            let number = self.files.len() as u32;
            self.by_name.insert(file.name().into(), number);
            let mut twice = None;
            index::walk(&file, &mut |found| {
                if let Err(name) = self.declare(number, &found) {
                    twice.get_or_insert(name);
                }
            });
            self.files.push(File {
                name: file.name().into(),
                bytes: Box::from(*bytes),
                imports: Box::default(),
            });
            if let Some((name, first)) = twice {
                let first = self.files[first as usize].name.to_string();
                return Err(RegistryError::Twice { name, first, second: file.name().to_owned() });
            }
        }
        Ok(())
    }

    /// Adds a name; an error is the name and the file that has declared it.
    fn declare(&mut self, file: u32, found: &Found<'_>) -> Result<(), (String, u32)> {
        let (name, is_message) = match *found {
            Found::Symbol(name) => (name, false),
            Found::Message(name) => (name, true),
            Found::Extension(message, number) => {
                let numbers = match self.extensions.get_mut(message) {
                    Some(numbers) => numbers,
                    None => self.extensions.entry(message.into()).or_default(),
                };
                return match numbers.entry(number) {
                    Entry::Vacant(place) => {
                        place.insert(file);
                        Ok(())
                    }
                    Entry::Occupied(first) => {
                        Err((format!("extension {number} of {message}"), *first.get()))
                    }
                };
            }
        };
        match self.symbols.insert(name.into(), Symbol { file, is_message }) {
            None => Ok(()),
            Some(first) => Err((name.to_owned(), first.file)),
        }
    }

    /// Finds the imports of all files.
    fn link(&mut self) -> Result<(), RegistryError> {
        let mut arena = Arena::new();
        for number in 0..self.files.len() {
            arena.reset();
            let file = index::file(&self.files[number].bytes, &arena);
            let file = file.map_err(RegistryError::Decode)?;
            let imports = file.dependency.iter().map(|import| {
                self.by_name.get(*import).copied().ok_or_else(|| RegistryError::Missing {
                    file: file.name().to_owned(),
                    import: (*import).to_owned(),
                })
            });
            let imports = imports.collect::<Result<Box<[u32]>, RegistryError>>()?;
            self.files[number].imports = imports;
        }
        Ok(())
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.index.files.iter().map(|file| &file.name)).finish()
    }
}

/// Why files make no registry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryError {
    /// The bytes are no `google.protobuf.FileDescriptorSet`.
    Decode(DecodeError),
    /// A file has no name.
    Unnamed,
    /// A file imports one that is in no set.
    Missing {
        /// The name of the file that imports.
        file: String,
        /// The name of the file that is missing.
        import: String,
    },
    /// Two files declare the same name.
    Twice {
        /// The full name, or which extension.
        name: String,
        /// The name of the file that came first.
        first: String,
        /// The name of the other file.
        second: String,
    },
}

impl fmt::Display for RegistryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RegistryError::Decode(error) => write!(
                f,
                "a set of descriptors does not decode: {error}; pass an encoded google.protobuf.FileDescriptorSet"
            ),
            RegistryError::Unnamed => f.write_str(
                "a file of a set of descriptors has no name; pass a set that protoc or grpc-build has made",
            ),
            RegistryError::Missing { file, import } => write!(
                f,
                "{file} imports {import}, which is in no set; add a set that contains it (protoc --include_imports)"
            ),
            RegistryError::Twice { name, first, second } => {
                write!(f, "{first} and {second} both declare {name}; leave out one of the files")
            }
        }
    }
}

impl std::error::Error for RegistryError {}
