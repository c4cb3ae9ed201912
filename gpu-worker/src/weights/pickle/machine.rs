//! The stack machine behind a pickle, without what makes pickles dangerous: a name is never looked up, nothing is called.
//!
//! Values lie in one list and refer to each other by index, so that whatever a file builds (cycles, a million nested lists)
//! costs what its bytes cost and is dropped at once.

use std::collections::HashMap;

use super::{
    opcodes::{Opcode, Reader},
    tensors::Dtype,
    values::{Id, Name, StorageValue, TensorValue, Value, Values},
};

/// More values than this are refused; a checkpoint has some twenty per tensor. Each takes 32 bytes here.
const MAX_VALUES: usize = 4 << 20;
/// Copies of items and texts that a file may ask for: one large value that is used a million times must not cost a million times.
const MAX_COPIES: usize = 16 << 20;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PickleError {
    #[error("it is cut off")]
    Truncated,
    #[error("it holds a text that is not UTF-8")]
    Text,
    #[error("protocol {version} is unknown")]
    Protocol { version: u64 },
    #[error("instruction {code:#04x} describes no tensor")]
    Instruction { code: u8 },
    #[error("it asks for {name}, which no description of tensors needs")]
    Name { name: String },
    #[error("an instruction finds nothing to work on")]
    Stack,
    #[error("it refers to value {index}, which it never kept")]
    Memo { index: u32 },
    #[error("a value is used as something that it isn't: expected {expected}")]
    Value { expected: &'static str },
    #[error("it describes too many values")]
    TooManyValues,
}

/// Reads a pickle.
pub(super) fn run(bytes: &[u8]) -> Result<Values, PickleError> {
    run_prefix(bytes).map(|(values, _)| values)
}

/// Reads the pickle that bytes begin with; answers its length too.
pub(super) fn run_prefix(bytes: &[u8]) -> Result<(Values, usize), PickleError> {
    let mut reader = Reader::new(bytes);
    let mut machine = Machine::default();
    loop {
        match reader.next()? {
            Opcode::Stop => {
                let root = machine.pop()?;
                let length = bytes.len() - reader.left();
                return Ok((Values::new(machine.values, root), length));
            }
            opcode => machine.step(opcode)?,
        }
    }
}

#[derive(Default)]
struct Machine {
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    /// Of [`MAX_COPIES`].
    copies: usize,
}

impl Machine {
    fn step(&mut self, opcode: Opcode<'_>) -> Result<(), PickleError> {
        match opcode {
            Opcode::Stop | Opcode::Skip => Ok(()),
            Opcode::Mark => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            Opcode::Pop => self.pop().map(drop),
            Opcode::PopMark => self.pop_mark().map(drop),
            Opcode::Dup => {
                let top = self.top()?;
                self.stack.push(top);
                Ok(())
            }
            Opcode::None | Opcode::Number | Opcode::Bytes => self.push(Value::Other),
            Opcode::Bool(value) => self.push(Value::Bool(value)),
            Opcode::Int(value) => self.push(Value::Int(value)),
            Opcode::Text(text) => self.push(Value::Text(text.to_owned())),
            Opcode::EmptyList => self.push(Value::List(Vec::new())),
            Opcode::EmptyTuple => self.push(Value::Tuple(Vec::new())),
            Opcode::EmptyDict => self.push(Value::Dict(Vec::new())),
            Opcode::Tuple(None) => {
                let items = self.pop_mark()?;
                self.push(Value::Tuple(items))
            }
            Opcode::Tuple(Some(count)) => {
                let items = self.pop_last(count)?;
                self.push(Value::Tuple(items))
            }
            Opcode::List => {
                let items = self.pop_mark()?;
                self.push(Value::List(items))
            }
            Opcode::Dict => {
                let items = pairs(&self.pop_mark()?)?;
                self.push(Value::Dict(items))
            }
            Opcode::Append => {
                let item = self.pop_last(1)?;
                self.extend_list(item)
            }
            Opcode::Appends => {
                let items = self.pop_mark()?;
                self.extend_list(items)
            }
            Opcode::SetItem => {
                let item = self.pop_last(2)?;
                self.extend_dict(&item)
            }
            Opcode::SetItems => {
                let items = self.pop_mark()?;
                self.extend_dict(&items)
            }
            Opcode::Global(module, attribute) => self.name(module, attribute),
            Opcode::StackGlobal => {
                let attribute = self.pop()?;
                let module = self.pop()?;
                let (module, attribute) = (self.text(module)?, self.text(attribute)?);
                self.name(&module, &attribute)
            }
            Opcode::Reduce | Opcode::NewObject => self.make(),
            // State of a dictionary or a tensor (hooks, metadata): no part of the description.
            Opcode::Build => {
                self.pop()?;
                self.top().map(drop)
            }
            Opcode::PersistentId => self.storage(),
            Opcode::Put(index) => {
                let top = self.top()?;
                self.memo.insert(index, top);
                Ok(())
            }
            Opcode::Memoize => {
                let top = self.top()?;
                let index = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.memo.insert(index, top);
                Ok(())
            }
            Opcode::Get(index) => {
                let id = *self.memo.get(&index).ok_or(PickleError::Memo { index })?;
                self.stack.push(id);
                Ok(())
            }
        }
    }

    fn push(&mut self, value: Value) -> Result<(), PickleError> {
        if self.values.len() >= MAX_VALUES {
            return Err(PickleError::TooManyValues);
        }
        self.stack.push(self.values.len());
        self.values.push(value);
        Ok(())
    }

    /// The lowest height to which values may be taken off.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, PickleError> {
        self.stack[self.floor()..].last().copied().ok_or(PickleError::Stack)
    }

    fn pop(&mut self) -> Result<Id, PickleError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_last(&mut self, count: usize) -> Result<Vec<Id>, PickleError> {
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= self.floor());
        Ok(self.stack.split_off(start.ok_or(PickleError::Stack)?))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let mark = self.marks.pop().ok_or(PickleError::Stack)?;
        Ok(self.stack.split_off(mark))
    }

    fn extend_list(&mut self, items: Vec<Id>) -> Result<(), PickleError> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::List(known) => {
                known.extend(items);
                Ok(())
            }
            _ => Err(PickleError::Value { expected: "a list" }),
        }
    }

    fn extend_dict(&mut self, items: &[Id]) -> Result<(), PickleError> {
        let dict = self.top()?;
        let items = pairs(items)?;
        match &mut self.values[dict] {
            Value::Dict(known) => {
                known.extend(items);
                Ok(())
            }
            _ => Err(PickleError::Value { expected: "a dictionary" }),
        }
    }

    fn name(&mut self, module: &str, attribute: &str) -> Result<(), PickleError> {
        let name = Name::find(module, attribute).ok_or_else(|| {
            let name = format!("{module}.{attribute}").chars().take(120).collect();
            PickleError::Name { name }
        })?;
        self.push(Value::Name(name))
    }

    /// What a known name makes of its arguments.
    fn make(&mut self) -> Result<(), PickleError> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let Value::Name(name) = self.values[callee] else {
            return Err(PickleError::Value { expected: "a name" });
        };
        let arguments = self.tuple(arguments)?;
        match name {
            Name::OrderedDict => match arguments.as_slice() {
                [] => self.push(Value::Dict(Vec::new())),
                &[items] => {
                    let items = self.tuple(items)?;
                    let mut entries = Vec::new();
                    for item in items {
                        entries.extend(pairs(&self.tuple(item)?)?);
                    }
                    self.push(Value::Dict(entries))
                }
                _ => Err(PickleError::Value { expected: "a dictionary's items" }),
            },
            Name::Size => {
                let &[items] = arguments.as_slice() else {
                    return Err(PickleError::Value { expected: "a size" });
                };
                let items = self.tuple(items)?;
                self.push(Value::Tuple(items))
            }
            Name::RebuildTensor => self.tensor(&arguments, None),
            Name::RebuildTensorOfDtype => {
                let dtype = match arguments.get(6).map(|&id| &self.values[id]) {
                    Some(Value::Name(Name::Dtype(dtype))) => *dtype,
                    _ => return Err(PickleError::Value { expected: "a data type" }),
                };
                self.tensor(&arguments, Some(dtype))
            }
            Name::RebuildParameter => {
                let tensor =
                    *arguments.first().ok_or(PickleError::Value { expected: "a tensor" })?;
                self.stack.push(tensor);
                Ok(())
            }
            Name::TypedStorage(_) | Name::UntypedStorage | Name::Dtype(_) => {
                Err(PickleError::Value { expected: "something that is made of arguments" })
            }
        }
    }

    fn tensor(&mut self, arguments: &[Id], dtype: Option<Dtype>) -> Result<(), PickleError> {
        let &[storage, offset, shape, strides, ..] = arguments else {
            return Err(PickleError::Value {
                expected: "a tensor's storage, offset, shape and strides",
            });
        };
        let Value::Storage(of_storage) = &self.values[storage] else {
            return Err(PickleError::Value { expected: "a storage" });
        };
        let dtype =
            dtype.or(of_storage.dtype).ok_or(PickleError::Value { expected: "a data type" })?;
        let offset = self.count(offset)?;
        let (shape, strides) = (self.counts(shape)?, self.counts(strides)?);
        let tensor = TensorValue { storage, dtype, offset, shape, strides };
        self.push(Value::Tensor(Box::new(tensor)))
    }

    /// Turns the persistent id on the stack into the storage that it names.
    fn storage(&mut self) -> Result<(), PickleError> {
        let id = self.pop()?;
        let parts = self.tuple(id)?;
        let &[kind, class, key, _location, elements, ref rest @ ..] = parts.as_slice() else {
            return Err(PickleError::Value { expected: "a storage's description" });
        };
        // A sixth part says that it is a piece of another one, as versions before 0.4 wrote it.
        if rest.iter().any(|&id| self.values[id] != Value::Other) {
            return Err(PickleError::Value { expected: "a storage that is no part of another" });
        }
        if self.text(kind)? != "storage" {
            return Err(PickleError::Value { expected: "a storage" });
        }
        let dtype = match &self.values[class] {
            Value::Name(Name::TypedStorage(dtype)) => Some(*dtype),
            Value::Name(Name::UntypedStorage) => None,
            _ => return Err(PickleError::Value { expected: "a storage's class" }),
        };
        let (key, elements) = (self.text(key)?, self.count(elements)?);
        self.push(Value::Storage(Box::new(StorageValue { dtype, key, elements })))
    }

    fn text(&mut self, id: Id) -> Result<String, PickleError> {
        match &self.values[id] {
            Value::Text(text) => {
                self.copies = spend(self.copies, text.len())?;
                Ok(text.clone())
            }
            _ => Err(PickleError::Value { expected: "a text" }),
        }
    }

    fn tuple(&mut self, id: Id) -> Result<Vec<Id>, PickleError> {
        match &self.values[id] {
            Value::Tuple(items) | Value::List(items) => {
                self.copies = spend(self.copies, items.len())?;
                Ok(items.clone())
            }
            _ => Err(PickleError::Value { expected: "a tuple" }),
        }
    }

    fn count(&self, id: Id) -> Result<u64, PickleError> {
        match self.values[id] {
            Value::Int(value) => {
                u64::try_from(value).map_err(|_| PickleError::Value { expected: "a count" })
            }
            _ => Err(PickleError::Value { expected: "a count" }),
        }
    }

    fn counts(&mut self, id: Id) -> Result<Vec<u64>, PickleError> {
        self.tuple(id)?.iter().map(|&id| self.count(id)).collect()
    }
}

fn spend(copies: usize, more: usize) -> Result<usize, PickleError> {
    Some(copies + more).filter(|&copies| copies <= MAX_COPIES).ok_or(PickleError::TooManyValues)
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
    if items.len() % 2 == 1 {
        return Err(PickleError::Value { expected: "keys with values" });
    }
    Ok(items.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}
