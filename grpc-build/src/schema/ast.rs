//! A file as it is written: declarations with the places of what errors point at.

/// A byte of a file's text.
pub(crate) type Pos = u32;

/// A name and where it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Name {
    pub(crate) text: String,
    pub(crate) pos: Pos,
}

/// The numbers of the editions, as `descriptor.proto` has them.
pub(crate) mod edition {
    pub(crate) const PROTO2: i32 = 998;
    pub(crate) const PROTO3: i32 = 999;
    pub(crate) const E2023: i32 = 1000;
    pub(crate) const E2024: i32 = 1001;
}

/// The numbers of field types, as `descriptor.proto` has them.
pub(crate) mod kind {
    pub(crate) const DOUBLE: i32 = 1;
    pub(crate) const FLOAT: i32 = 2;
    pub(crate) const INT64: i32 = 3;
    pub(crate) const UINT64: i32 = 4;
    pub(crate) const INT32: i32 = 5;
    pub(crate) const FIXED64: i32 = 6;
    pub(crate) const FIXED32: i32 = 7;
    pub(crate) const BOOL: i32 = 8;
    pub(crate) const STRING: i32 = 9;
    pub(crate) const GROUP: i32 = 10;
    pub(crate) const MESSAGE: i32 = 11;
    pub(crate) const BYTES: i32 = 12;
    pub(crate) const UINT32: i32 = 13;
    pub(crate) const ENUM: i32 = 14;
    pub(crate) const SFIXED32: i32 = 15;
    pub(crate) const SFIXED64: i32 = 16;
    pub(crate) const SINT32: i32 = 17;
    pub(crate) const SINT64: i32 = 18;

    /// The number of the scalar type with this name.
    pub(crate) fn scalar(name: &str) -> Option<i32> {
        Some(match name {
            "double" => DOUBLE,
            "float" => FLOAT,
            "int64" => INT64,
            "uint64" => UINT64,
            "int32" => INT32,
            "fixed64" => FIXED64,
            "fixed32" => FIXED32,
            "bool" => BOOL,
            "string" => STRING,
            "bytes" => BYTES,
            "uint32" => UINT32,
            "sfixed32" => SFIXED32,
            "sfixed64" => SFIXED64,
            "sint32" => SINT32,
            "sint64" => SINT64,
            _ => return None,
        })
    }
}

/// How often a field occurs; the numbers of `descriptor.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Optional = 1,
    Required = 2,
    Repeated = 3,
}

/// What may precede `message` and `enum` from edition 2024 on; the numbers of `descriptor.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visibility {
    Unset = 0,
    Local = 1,
    Export = 2,
}

/// What stands between `import` and the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportKind {
    Plain,
    Public,
    Weak,
    Option,
}

#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub(crate) name: Name,
    pub(crate) kind: ImportKind,
}

/// One file.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// As importers name it.
    pub(crate) name: String,
    pub(crate) edition: i32,
    pub(crate) package: Option<Name>,
    pub(crate) imports: Vec<Import>,
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    pub(crate) services: Vec<Service>,
    pub(crate) extensions: Vec<Field>,
    pub(crate) options: Options,
    pub(crate) locations: Vec<Location>,
    /// The number of [`Options`] in the file.
    pub(crate) options_len: u32,
}

impl File {
    pub(crate) fn package(&self) -> &str {
        self.package.as_ref().map_or("", |package| &package.text)
    }
}

#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: Name,
    pub(crate) fields: Vec<Field>,
    pub(crate) extensions: Vec<Field>,
    pub(crate) messages: Vec<Message>,
    pub(crate) enums: Vec<Enum>,
    pub(crate) oneofs: Vec<Oneof>,
    pub(crate) ranges: Vec<ExtensionRange>,
    pub(crate) reserved: Vec<Range>,
    pub(crate) reserved_names: Vec<Name>,
    pub(crate) visibility: Visibility,
    pub(crate) map_entry: bool,
    pub(crate) options: Options,
}

/// Numbers from `start` up to, not including, `end`; of an enum's, `end` is included.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// `max` was written for the end, whose value depends on the message.
    pub(crate) to_max: bool,
    pub(crate) pos: Pos,
}

#[derive(Debug)]
pub(crate) struct ExtensionRange {
    pub(crate) range: Range,
    pub(crate) options: Options,
}

#[derive(Debug)]
pub(crate) struct Oneof {
    pub(crate) name: Name,
    pub(crate) options: Options,
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: Name,
    pub(crate) number: i64,
    pub(crate) number_pos: Pos,
    pub(crate) label: Option<Label>,
    /// The number of the type; 0 where a name stands whose kind the linker finds.
    pub(crate) kind: i32,
    pub(crate) type_name: Name,
    pub(crate) extendee: Option<Name>,
    pub(crate) default: Option<(Value, Pos)>,
    pub(crate) json_name: Option<Name>,
    pub(crate) oneof: Option<u32>,
    pub(crate) proto3_optional: bool,
    pub(crate) options: Options,
}

#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) name: Name,
    pub(crate) values: Vec<EnumValue>,
    pub(crate) reserved: Vec<Range>,
    pub(crate) reserved_names: Vec<Name>,
    pub(crate) visibility: Visibility,
    pub(crate) options: Options,
}

#[derive(Debug)]
pub(crate) struct EnumValue {
    pub(crate) name: Name,
    pub(crate) number: i32,
    pub(crate) options: Options,
}

#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: Name,
    pub(crate) methods: Vec<Method>,
    pub(crate) options: Options,
}

#[derive(Debug)]
pub(crate) struct Method {
    pub(crate) name: Name,
    pub(crate) input: Name,
    pub(crate) output: Name,
    pub(crate) client_streaming: bool,
    pub(crate) server_streaming: bool,
    pub(crate) options: Options,
}

/// The options of one declaration, and their number in the file.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) id: u32,
    /// A method has braces for options, even if there are none: the descriptor says so.
    pub(crate) braces: bool,
    pub(crate) list: Vec<OptionDecl>,
}

/// `name = value`.
#[derive(Clone, Debug)]
pub(crate) struct OptionDecl {
    pub(crate) name: Vec<NamePart>,
    pub(crate) value: Value,
    pub(crate) pos: Pos,
    pub(crate) value_pos: Pos,
}

#[derive(Clone, Debug)]
pub(crate) struct NamePart {
    pub(crate) name: String,
    pub(crate) is_extension: bool,
    pub(crate) pos: Pos,
}

/// The value of an option or of a field within an aggregate.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Ident(String),
    /// `-inf`, `-nan` and the like.
    NegativeIdent(String),
    Int(u64),
    NegativeInt(u64),
    Float(f64),
    Str(Vec<u8>),
    Message(Vec<Entry>),
    List(Vec<(Value, Pos)>),
}

/// A field of an aggregate.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) pos: Pos,
    pub(crate) value: Value,
    pub(crate) value_pos: Pos,
}

#[derive(Clone, Debug)]
pub(crate) enum Key {
    Field(String),
    Extension(String),
    /// The prefix of a type URL with its slash, and the name of the message.
    Any(String, String),
}

/// Where a declaration is, and the comments around it.
#[derive(Debug, Default)]
pub(crate) struct Location {
    pub(crate) path: Vec<i32>,
    pub(crate) start: Pos,
    pub(crate) end: Pos,
    pub(crate) leading: Option<String>,
    pub(crate) trailing: Option<String>,
    pub(crate) detached: Vec<String>,
}
