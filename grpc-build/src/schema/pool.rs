//! All declarations of a set of files by their full names, with the types of fields found.

use std::collections::{HashMap, HashSet};

use super::ast::{
    Enum, Field, File, ImportKind, Label, Message, Method, Name, Options, Pos, Range, Service,
    Value, kind,
};
use super::features::Features;
use super::values::Dyn;
use super::{Fault, FileFault};

pub(crate) type FileId = usize;
pub(crate) type MessageId = usize;
pub(crate) type EnumId = usize;
pub(crate) type FieldId = usize;

/// The greatest number of a field.
pub(crate) const MAX_FIELD: i64 = (1 << 29) - 1;

/// What a full name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol {
    Package,
    Message(MessageId),
    Enum(EnumId),
    Value,
    Field(FieldId),
    Oneof,
    Service,
    Method,
}

impl Symbol {
    fn is_type(self) -> bool {
        matches!(self, Self::Message(_) | Self::Enum(_))
    }

    /// Whether names can lie within.
    fn is_scope(self) -> bool {
        matches!(self, Self::Package | Self::Message(_) | Self::Enum(_) | Self::Service)
    }
}

/// A file and what it sees.
pub(crate) struct FileInfo<'a> {
    pub(crate) ast: &'a File,
    /// The files it imports, in order.
    pub(crate) imports: Vec<FileId>,
    /// The files whose symbols it may use: itself, its imports, and what these import publicly.
    visible: HashSet<FileId>,
    /// Further files that its options may come from.
    visible_to_options: HashSet<FileId>,
    /// The packages of those files, and all packages around them.
    packages: HashSet<&'a str>,
    pub(crate) features: Features,
    /// The options of the file's declarations, by [`Options::id`].
    pub(crate) options: Vec<Option<Dyn>>,
    /// Only there for the options that every file has.
    pub(crate) hidden: bool,
}

pub(crate) struct MessageInfo<'a> {
    pub(crate) ast: &'a Message,
    pub(crate) full_name: String,
    pub(crate) file: FileId,
    pub(crate) parent: Option<MessageId>,
    pub(crate) fields: Vec<FieldId>,
    pub(crate) by_name: HashMap<&'a str, FieldId>,
    pub(crate) features: Features,
    pub(crate) message_set: bool,
}

pub(crate) struct EnumInfo<'a> {
    pub(crate) ast: &'a Enum,
    pub(crate) full_name: String,
    pub(crate) file: FileId,
    pub(crate) parent: Option<MessageId>,
    pub(crate) features: Features,
}

/// The type of a field, where it has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    None,
    Message(MessageId),
    Enum(EnumId),
}

pub(crate) struct FieldInfo<'a> {
    pub(crate) ast: &'a Field,
    pub(crate) full_name: String,
    pub(crate) file: FileId,
    /// The message whose field it is; an extension's is where it is declared.
    pub(crate) parent: Option<MessageId>,
    pub(crate) extendee: Option<MessageId>,
    pub(crate) kind: i32,
    pub(crate) target: Target,
    pub(crate) features: Features,
}

impl FieldInfo<'_> {
    pub(crate) fn is_repeated(&self) -> bool {
        self.ast.label == Some(Label::Repeated)
    }

    pub(crate) fn is_extension(&self) -> bool {
        self.ast.extendee.is_some()
    }
}

/// A method with its types.
pub(crate) struct MethodTypes {
    pub(crate) input: MessageId,
    pub(crate) output: MessageId,
}

#[derive(Default)]
pub(crate) struct Pool<'a> {
    pub(crate) files: Vec<FileInfo<'a>>,
    pub(crate) messages: Vec<MessageInfo<'a>>,
    pub(crate) enums: Vec<EnumInfo<'a>>,
    pub(crate) fields: Vec<FieldInfo<'a>>,
    symbols: HashMap<String, (Symbol, FileId)>,
    pub(crate) extensions: HashMap<(MessageId, i64), FieldId>,
    /// The types of methods: by file, service and method.
    pub(crate) methods: HashMap<(FileId, usize, usize), MethodTypes>,
}

/// What looking up a name came to.
pub(crate) enum Lookup {
    Found(Symbol, FileId),
    /// There is such a symbol, but in this file, which is not imported.
    NotImported(FileId),
    /// The innermost scope that has the first part of the name, as this, has not the rest.
    NotWithin(String),
    Missing,
}

/// Which symbols count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    Types,
    Any,
}

type Result<T, E = FileFault> = std::result::Result<T, E>;

impl<'a> Pool<'a> {
    pub(crate) fn fault<T>(&self, file: FileId, pos: Pos, what: impl Into<String>) -> Result<T> {
        Err(FileFault { file: self.files[file].ast.name.clone(), fault: Fault::new(pos, what) })
    }

    pub(crate) fn symbol(&self, full_name: &str) -> Option<Symbol> {
        self.symbols.get(full_name).map(|(symbol, _)| *symbol)
    }

    pub(crate) fn message_named(&self, full_name: &str) -> Option<MessageId> {
        match self.symbol(full_name)? {
            Symbol::Message(id) => Some(id),
            _ => None,
        }
    }

    /// The options of a declaration, once interpreted.
    pub(crate) fn options(&self, file: FileId, options: &Options) -> Option<&Dyn> {
        self.files[file].options.get(options.id as usize)?.as_ref()
    }

    pub(crate) fn options_of_field(&self, field: FieldId) -> Option<&Dyn> {
        let field = &self.fields[field];
        self.options(field.file, &field.ast.options)
    }

    /// Adds a file, whose imports have been added.
    pub(crate) fn add(
        &mut self,
        ast: &'a File,
        imports: Vec<FileId>,
        hidden: bool,
    ) -> Result<FileId> {
        let id = self.files.len();
        let mut visible = HashSet::from([id]);
        let mut visible_to_options = HashSet::new();
        for (import, &file) in ast.imports.iter().zip(&imports) {
            let set = match import.kind {
                ImportKind::Option => &mut visible_to_options,
                _ => &mut visible,
            };
            self.add_public(file, set);
        }
        let mut packages = HashSet::new();
        let files = visible.iter().chain(&visible_to_options);
        for package in
            files.map(|&file| if file == id { ast } else { self.files[file].ast }.package())
        {
            let ends = package.match_indices('.').map(|(end, _)| end).chain([package.len()]);
            packages.extend(ends.map(|end| &package[..end]));
        }
        self.files.push(FileInfo {
            ast,
            imports,
            visible,
            visible_to_options,
            packages,
            features: Features::of_edition(ast.edition),
            options: (0..ast.options_len).map(|_| None).collect(),
            hidden,
        });
        if let Some(package) = &ast.package {
            for end in
                package.text.match_indices('.').map(|(end, _)| end).chain([package.text.len()])
            {
                self.package(id, &package.text[..end], package.pos)?;
            }
        }
        let scope = ast.package();
        for message in &ast.messages {
            self.add_message(id, scope, message, None)?;
        }
        for declared in &ast.enums {
            self.add_enum(id, scope, declared, None)?;
        }
        for service in &ast.services {
            self.add_service(id, scope, service)?;
        }
        for field in &ast.extensions {
            self.add_field(id, scope, field, None)?;
        }
        Ok(id)
    }

    fn add_public(&self, file: FileId, out: &mut HashSet<FileId>) {
        let mut left = vec![file];
        while let Some(file) = left.pop() {
            if out.insert(file) {
                let info = &self.files[file];
                let pairs = info.ast.imports.iter().zip(&info.imports);
                left.extend(
                    pairs
                        .filter(|(import, _)| import.kind == ImportKind::Public)
                        .map(|(_, &id)| id),
                );
            }
        }
    }

    fn package(&mut self, file: FileId, name: &str, pos: Pos) -> Result<()> {
        match self.symbols.get(name) {
            None => {
                self.symbols.insert(name.to_owned(), (Symbol::Package, file));
                Ok(())
            }
            Some((Symbol::Package, _)) => Ok(()),
            Some(&(_, other)) => {
                let other = &self.files[other].ast.name;
                let what = format!(
                    "`{name}` is no package, it is declared in \"{other}\" as something else; rename one of the two"
                );
                self.fault(file, pos, what)
            }
        }
    }

    fn declare(
        &mut self,
        file: FileId,
        full_name: &str,
        name: &Name,
        symbol: Symbol,
    ) -> Result<()> {
        if let Some(&(was, other)) = self.symbols.get(full_name) {
            if self.files[file].hidden {
                return Ok(());
            }
            let place = if other == file {
                String::new()
            } else {
                format!(" in \"{}\"", self.files[other].ast.name)
            };
            let what = match was {
                Symbol::Package => format!(
                    "`{full_name}` is the name of a package{place} as well; rename one of the two"
                ),
                Symbol::Value if symbol == Symbol::Value => format!(
                    "`{full_name}` is declared already{place}: values of an enum are names beside the enum, not within; rename one of the two"
                ),
                _ => format!("`{full_name}` is declared already{place}; rename one of the two"),
            };
            return self.fault(file, name.pos, what);
        }
        self.symbols.insert(full_name.to_owned(), (symbol, file));
        Ok(())
    }

    fn add_message(
        &mut self,
        file: FileId,
        scope: &str,
        ast: &'a Message,
        parent: Option<MessageId>,
    ) -> Result<()> {
        let id = self.messages.len();
        let full_name = join(scope, &ast.name.text);
        self.declare(file, &full_name, &ast.name, Symbol::Message(id))?;
        let features = self.files[file].features;
        self.messages.push(MessageInfo {
            ast,
            full_name: full_name.clone(),
            file,
            parent,
            fields: Vec::new(),
            by_name: HashMap::new(),
            features,
            message_set: ast.options.list.iter().any(|option| {
                option.name[0].name == "message_set_wire_format"
                    && matches!(&option.value, Value::Ident(value) if value == "true")
            }),
        });
        for field in &ast.fields {
            let field_id = self.add_field(file, &full_name, field, Some(id))?;
            let message = &mut self.messages[id];
            message.fields.push(field_id);
            message.by_name.insert(&field.name.text, field_id);
        }
        for oneof in &ast.oneofs {
            self.declare(file, &join(&full_name, &oneof.name.text), &oneof.name, Symbol::Oneof)?;
        }
        for nested in &ast.messages {
            self.add_message(file, &full_name, nested, Some(id))?;
        }
        for nested in &ast.enums {
            self.add_enum(file, &full_name, nested, Some(id))?;
        }
        for field in &ast.extensions {
            self.add_field(file, &full_name, field, Some(id))?;
        }
        Ok(())
    }

    fn add_enum(
        &mut self,
        file: FileId,
        scope: &str,
        ast: &'a Enum,
        parent: Option<MessageId>,
    ) -> Result<()> {
        let id = self.enums.len();
        let full_name = join(scope, &ast.name.text);
        self.declare(file, &full_name, &ast.name, Symbol::Enum(id))?;
        for value in &ast.values {
            self.declare(file, &join(scope, &value.name.text), &value.name, Symbol::Value)?;
        }
        let features = self.files[file].features;
        self.enums.push(EnumInfo { ast, full_name, file, parent, features });
        Ok(())
    }

    fn add_field(
        &mut self,
        file: FileId,
        scope: &str,
        ast: &'a Field,
        parent: Option<MessageId>,
    ) -> Result<FieldId> {
        let id = self.fields.len();
        let full_name = join(scope, &ast.name.text);
        self.declare(file, &full_name, &ast.name, Symbol::Field(id))?;
        let features = self.files[file].features;
        self.fields.push(FieldInfo {
            ast,
            full_name,
            file,
            parent,
            extendee: None,
            kind: ast.kind,
            target: Target::None,
            features,
        });
        Ok(id)
    }

    fn add_service(&mut self, file: FileId, scope: &str, ast: &'a Service) -> Result<()> {
        let full_name = join(scope, &ast.name.text);
        self.declare(file, &full_name, &ast.name, Symbol::Service)?;
        for method in &ast.methods {
            self.declare(file, &join(&full_name, &method.name.text), &method.name, Symbol::Method)?;
        }
        Ok(())
    }

    /// The symbol of exactly this name, if `file` may use it.
    fn find(
        &self,
        file: FileId,
        full_name: &str,
        for_option: bool,
        hidden_in: &mut Option<FileId>,
    ) -> Option<(Symbol, FileId)> {
        let &(symbol, home) = self.symbols.get(full_name)?;
        let info = &self.files[file];
        let seen = match symbol {
            Symbol::Package => info.packages.contains(full_name),
            _ => {
                info.visible.contains(&home)
                    || for_option && info.visible_to_options.contains(&home)
            }
        };
        if seen {
            return Some((symbol, home));
        }
        if symbol != Symbol::Package {
            *hidden_in = Some(home);
        }
        None
    }

    /// What `name` means within the declaration `scope` of `file`: the innermost scope counts that has the name's first
    /// part.
    pub(crate) fn lookup(
        &self,
        file: FileId,
        scope: &str,
        name: &str,
        want: Want,
        for_option: bool,
    ) -> Lookup {
        let mut hidden = None;
        let missing = |hidden: Option<FileId>| hidden.map_or(Lookup::Missing, Lookup::NotImported);
        if let Some(name) = name.strip_prefix('.') {
            return match self.find(file, name, for_option, &mut hidden) {
                Some((symbol, home)) => Lookup::Found(symbol, home),
                None => missing(hidden),
            };
        }
        let first = name.split('.').next().unwrap_or_default();
        let compound = first.len() < name.len();
        let mut scope = scope;
        loop {
            scope = scope.rfind('.').map_or("", |end| &scope[..end]);
            if scope.is_empty() {
                return match self.find(file, name, for_option, &mut hidden) {
                    Some((symbol, home)) => Lookup::Found(symbol, home),
                    None => missing(hidden),
                };
            }
            let outer = join(scope, first);
            match self.find(file, &outer, for_option, &mut hidden) {
                Some((symbol, _)) if compound && symbol.is_scope() => {
                    let full = join(scope, name);
                    return match self.find(file, &full, for_option, &mut hidden) {
                        Some((symbol, home)) => Lookup::Found(symbol, home),
                        None if hidden.is_some() => missing(hidden),
                        None => Lookup::NotWithin(full),
                    };
                }
                Some((symbol, home)) if !compound && (want == Want::Any || symbol.is_type()) => {
                    return Lookup::Found(symbol, home);
                }
                _ => {}
            }
        }
    }

    /// The symbol of a name, or an error that says why there is none.
    pub(crate) fn resolve(
        &self,
        file: FileId,
        scope: &str,
        name: &Name,
        want: Want,
        for_option: bool,
    ) -> Result<(Symbol, FileId)> {
        let text = &name.text;
        match self.lookup(file, scope, text, want, for_option) {
            Lookup::Found(symbol, home) => Ok((symbol, home)),
            Lookup::NotImported(home) => {
                let home = &self.files[home].ast.name;
                self.fault(file, name.pos, format!("`{text}` is declared in \"{home}\", which is not imported; write `import \"{home}\";`"))
            }
            Lookup::NotWithin(full) => {
                let what = format!(
                    "`{text}` means `{full}` here, which is not declared; write `.{text}` if the outermost one is meant"
                );
                self.fault(file, name.pos, what)
            }
            Lookup::Missing => self.fault(
                file,
                name.pos,
                format!("`{text}` is not declared; declare it, or import the file that does"),
            ),
        }
    }

    /// Finds the types of all fields and methods of a file.
    pub(crate) fn resolve_types(
        &mut self,
        file: FileId,
        fields: std::ops::Range<FieldId>,
    ) -> Result<()> {
        for id in fields {
            self.resolve_field(file, id)?;
        }
        let ast = self.files[file].ast;
        for (s, service) in ast.services.iter().enumerate() {
            for (m, method) in service.methods.iter().enumerate() {
                let scope = join(&join(ast.package(), &service.name.text), &method.name.text);
                let types = self.method_types(file, &scope, method)?;
                self.methods.insert((file, s, m), types);
            }
        }
        Ok(())
    }

    fn method_types(&self, file: FileId, scope: &str, method: &Method) -> Result<MethodTypes> {
        let message = |name: &Name| match self.resolve(file, scope, name, Want::Any, false)?.0 {
            Symbol::Message(id) => Ok(id),
            _ => self.fault(
                file,
                name.pos,
                format!("`{}` is no message; methods take and return messages", name.text),
            ),
        };
        Ok(MethodTypes { input: message(&method.input)?, output: message(&method.output)? })
    }

    fn resolve_field(&mut self, file: FileId, id: FieldId) -> Result<()> {
        let ast = self.fields[id].ast;
        let scope = self.fields[id].full_name.clone();
        if let Some(extendee) = &ast.extendee {
            match self.resolve(file, &scope, extendee, Want::Any, false)?.0 {
                Symbol::Message(message) => self.fields[id].extendee = Some(message),
                _ => {
                    let what =
                        format!("`{}` is no message; only messages are extended", extendee.text);
                    return self.fault(file, extendee.pos, what);
                }
            }
        }
        if ast.type_name.text.is_empty() {
            return Ok(());
        }
        let (symbol, _) = self.resolve(file, &scope, &ast.type_name, Want::Types, false)?;
        match symbol {
            Symbol::Message(message) => {
                self.fields[id].target = Target::Message(message);
                if ast.kind == 0 {
                    self.fields[id].kind = kind::MESSAGE;
                }
            }
            Symbol::Enum(declared) => {
                self.fields[id].target = Target::Enum(declared);
                self.fields[id].kind = kind::ENUM;
            }
            _ => {
                let what = format!(
                    "`{}` is no type; a field has a scalar, a message or an enum",
                    ast.type_name.text
                );
                return self.fault(file, ast.type_name.pos, what);
            }
        }
        Ok(())
    }

    /// Whether the field is of a map, and the fields of its entries' keys and values.
    pub(crate) fn map_entry(&self, field: FieldId) -> Option<(FieldId, FieldId)> {
        let Target::Message(message) = self.fields[field].target else { return None };
        let message = &self.messages[message];
        (message.ast.map_entry && self.fields[field].is_repeated())
            .then(|| (message.fields[0], message.fields[1]))
    }

    /// The first number behind a range; `max` stands for more in a MessageSet.
    pub(crate) fn range_end(&self, file: FileId, message: &Message, range: &Range) -> i64 {
        if !range.to_max {
            return range.end;
        }
        let options = self.options(file, &message.options);
        if options.is_some_and(|options| options.flag(1)) {
            i64::from(i32::MAX)
        } else {
            MAX_FIELD + 1
        }
    }
}

/// `scope.name`, or `name` alone.
pub(crate) fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}
