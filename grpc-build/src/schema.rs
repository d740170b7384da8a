//! The front end: `.proto` files to descriptors, without `protoc` and without I/O.
//!
//! proto2, proto3 and the editions 2023 and 2024 are read. Files come from [`Sources`]; the result is what `protoc
//! --include_imports --include_source_info --descriptor_set_out` writes, but for the source information, which has the
//! places of declarations alone. The steps: `lexer`, `parser`, names and types (`pool`), `options`,
//! `features`, `checks`, and `emit`.
//!
//! Depth and size are bounded: 64 MiB a file, 31 messages within each other, 64 levels of values, 100,000 files.

mod ast;
mod bundled;
mod checks;
mod comments;
mod emit;
mod features;
mod lexer;
mod link;
mod options;
mod parser;
mod pool;
mod values;
pub(crate) mod wire;

use std::collections::HashMap;

use crate::Error;

pub use bundled::google_apis;
pub(crate) use bundled::read as carried;

/// Where files come from: a folder, an archive, memory.
pub trait Sources {
    /// The file that is imported as `name`, or `None` if there is none.
    ///
    /// # Errors
    /// When the file is there and cannot be read: says why.
    fn read(&self, name: &str) -> Result<Option<Source>, String>;
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its bytes. Outside of comments and strings they are ASCII.
    pub text: Vec<u8>,
    /// How errors call it: a path that an editor opens.
    pub path: String,
}

/// What [`compile`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// An encoded `google.protobuf.FileDescriptorSet`: the files that were asked for and all they import, each behind
    /// its imports.
    pub descriptor_set: Vec<u8>,
    /// The name and the path of each file that was read from [`Sources`], in the same order.
    pub files: Vec<(String, String)>,
}

/// What is wrong, and at which byte of a file.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pos: ast::Pos,
    what: String,
}

impl Fault {
    pub(crate) fn new(pos: ast::Pos, what: impl Into<String>) -> Self {
        Self { pos, what: what.into() }
    }
}

/// The same, with the name of the file.
#[derive(Clone, Debug)]
pub(crate) struct FileFault {
    file: String,
    fault: Fault,
}

/// The most files that are read for one set.
const MAX_FILES: usize = 100_000;

/// Reads the files `names` and all they import from `sources`. What `sources` does not have of `google/protobuf/*` is
/// taken from the files that this crate carries.
///
/// # Errors
/// The first fault, as `path:line:column: what is wrong; what to write`. Columns count characters, from 1.
pub fn compile(names: &[&str], sources: &dyn Sources) -> Result<Compiled, Error> {
    let mut loaded = Loader { sources, files: Vec::new(), states: HashMap::new() };
    for name in names {
        loaded.load(name)?;
    }
    let files = loaded.files;
    let asts = files.iter().map(|file| &file.ast).collect::<Vec<_>>();
    let hidden = match bundled::read("google/protobuf/descriptor.proto") {
        Some(text) => parser::parse("google/protobuf/descriptor.proto", text).ok(),
        None => None,
    };
    let linked = link::link(&asts, hidden.as_ref());
    let linked =
        linked.map_err(|fault| match files.iter().find(|file| file.ast.name == fault.file) {
            Some(file) => located(&file.path, &file.text, &fault.fault),
            None => Error::new(format!("{}: {}", fault.file, fault.fault.what)),
        })?;
    let mut descriptor_set = Vec::new();
    for (id, file) in files.iter().enumerate() {
        let descriptor = linked.descriptor(id, Some(&file.text));
        wire::bytes(&mut descriptor_set, 1, &descriptor);
    }
    let read = files.into_iter().filter(|file| !file.bundled);
    Ok(Compiled { descriptor_set, files: read.map(|file| (file.ast.name, file.path)).collect() })
}

struct Loaded {
    ast: ast::File,
    text: Vec<u8>,
    path: String,
    bundled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Done,
}

struct Loader<'a> {
    sources: &'a dyn Sources,
    /// Those whose imports are there too.
    files: Vec<Loaded>,
    states: HashMap<String, State>,
}

impl Loader<'_> {
    /// Reads a file and its imports, each behind its own; without recursion, since chains of imports may be long.
    fn load(&mut self, name: &str) -> Result<(), Error> {
        if self.states.contains_key(name) {
            return Ok(());
        }
        let first = self.open(name)?.ok_or_else(|| {
            Error::new(format!(
                "{name}: there is no such file; look at its name and the include folders"
            ))
        })?;
        let mut open = vec![(first, 0)];
        while let Some((file, next)) = open.last_mut() {
            let Some(import) = file.ast.imports.get(*next) else {
                if let Some((file, _)) = open.pop() {
                    self.states.insert(file.ast.name.clone(), State::Done);
                    self.files.push(file);
                }
                continue;
            };
            *next += 1;
            let import = import.name.clone();
            match self.states.get(&import.text) {
                Some(State::Done) => {}
                Some(State::Open) => {
                    let chain = open.iter().map(|(file, _)| file.ast.name.as_str());
                    let chain = chain
                        .skip_while(|name| *name != import.text)
                        .collect::<Vec<_>>()
                        .join(" -> ");
                    let what = format!(
                        "the files import each other: {chain} -> {}; remove one of the imports",
                        import.text
                    );
                    let Some((file, _)) = open.last() else { continue };
                    return Err(located(&file.path, &file.text, &Fault::new(import.pos, what)));
                }
                None => match self.open(&import.text)? {
                    Some(file) => open.push((file, 0)),
                    None => {
                        let what = format!(
                            "\"{}\" is not found; look at the name and the include folders",
                            import.text
                        );
                        let Some((file, _)) = open.last() else { continue };
                        return Err(located(&file.path, &file.text, &Fault::new(import.pos, what)));
                    }
                },
            }
        }
        Ok(())
    }

    fn open(&mut self, name: &str) -> Result<Option<Loaded>, Error> {
        if self.states.len() >= MAX_FILES {
            return Err(Error::new(format!(
                "more than {MAX_FILES} files are imported; compile fewer at once"
            )));
        }
        let found =
            self.sources.read(name).map_err(|error| Error::new(format!("{name}: {error}")))?;
        let bundled = found.is_none();
        let source = match found {
            Some(source) => source,
            None => match bundled::read(name) {
                Some(text) => Source { text: text.to_vec(), path: name.to_owned() },
                None => return Ok(None),
            },
        };
        let ast = parser::parse(name, &source.text)
            .map_err(|fault| located(&source.path, &source.text, &fault))?;
        self.states.insert(name.to_owned(), State::Open);
        Ok(Some(Loaded { ast, text: source.text, path: source.path, bundled }))
    }
}

fn located(path: &str, text: &[u8], fault: &Fault) -> Error {
    let (line, column) = Lines::new(text).shown(fault.pos);
    Error::at_column(path, line, column, &fault.what)
}

/// The lines of a text, to find the places of bytes.
pub(crate) struct Lines<'a> {
    text: &'a [u8],
    starts: Vec<u32>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Self {
        let ends = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(end, _)| end as u32 + 1)).collect();
        Self { text, starts }
    }

    /// Line and column of a byte, from 0, as descriptors have them: a tab goes on to the next multiple of eight.
    pub(crate) fn place(&self, pos: ast::Pos) -> (u32, u32) {
        let (line, before) = self.before(pos);
        let column = before.iter().fold(0, |column, byte| match byte {
            b'\t' => column / 8 * 8 + 8,
            _ => column + 1,
        });
        (line, column)
    }

    /// Line and column of a byte, from 1, as editors have them: a character is one column.
    fn shown(&self, pos: ast::Pos) -> (u32, u32) {
        let (line, before) = self.before(pos);
        (line + 1, String::from_utf8_lossy(before).chars().count() as u32 + 1)
    }

    fn before(&self, pos: ast::Pos) -> (u32, &'a [u8]) {
        let line = self.starts.partition_point(|start| *start <= pos).saturating_sub(1);
        let start = self.starts.get(line).copied().unwrap_or(0) as usize;
        let mut before = self.text.get(start..pos as usize).unwrap_or_default();
        if line == 0 {
            before = before.strip_prefix(b"\xef\xbb\xbf").unwrap_or(before);
        }
        (line as u32, before)
    }
}
