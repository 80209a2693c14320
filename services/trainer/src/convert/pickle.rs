//! Reads the pickles of PyTorch's state dicts as data. Pickle is a program that makes objects; this machine knows only the
//! instructions that plain values, dictionaries and tensors are written with, and calls nothing: whatever a file names and is
//! not listed here is refused.
//!
//! Instructions: Python's `pickletools`; protocols 0 to 2, which `torch.save` writes.

use std::collections::HashMap;

/// What a pickle may hold here.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// What nobody looks at: `None`, booleans, floats.
    Other,
    Integer(i64),
    /// Larger than 64 bits: the magic number of old files.
    Long(Vec<u8>),
    Text(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    /// In the order of the file.
    Dict(Vec<(Value, Value)>),
    /// A known name, `module.name`.
    Known(&'static str),
    /// A reference to a storage: what `persistent_id` gave.
    Storage(Box<Value>),
    Tensor(Box<TensorRef>),
    /// A place on the stack.
    Mark,
}

/// A tensor as it is pickled: a view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorRef {
    /// Which storage, as [`Value::Storage`] holds it.
    pub storage: Value,
    /// In elements.
    pub offset: i64,
    pub shape: Vec<i64>,
    /// In elements.
    pub stride: Vec<i64>,
}

/// Names that a state dict needs. Only the first three are called, by this module itself.
const KNOWN: [&str; 13] = [
    ORDERED_DICT,
    REBUILD_TENSOR,
    REBUILD_PARAMETER,
    "torch.FloatStorage",
    "torch.DoubleStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "torch.IntStorage",
    "torch.ShortStorage",
    "torch.CharStorage",
    "torch.ByteStorage",
    "torch.BoolStorage",
];
const ORDERED_DICT: &str = "collections.OrderedDict";
const REBUILD_TENSOR: &str = "torch._utils._rebuild_tensor_v2";
const REBUILD_PARAMETER: &str = "torch._utils._rebuild_parameter";
/// More is an attack on memory: the largest known state dict has a few thousand values.
const MAX_VALUES: usize = 1 << 20;

/// Reads one pickle from the beginning of `bytes`: the value, and how many bytes it took.
pub(super) fn read(bytes: &[u8]) -> Result<(Value, usize), String> {
    let mut machine = Machine { bytes, position: 0, stack: Vec::new(), memo: HashMap::new(), values: 0 };
    while !machine.step()? {}
    let value = machine.pop()?;
    Ok((value, machine.position))
}

struct Machine<'a> {
    bytes: &'a [u8],
    position: usize,
    stack: Vec<Value>,
    memo: HashMap<u32, Value>,
    values: usize,
}

impl Machine<'_> {
    /// Follows one instruction; whether it was the last.
    fn step(&mut self) -> Result<bool, String> {
        match self.byte()? {
            b'.' => return Ok(true),
            0x80 => drop(self.take(1)?),
            b'(' => self.push(Value::Mark)?,
            b'0' => drop(self.pop()?),
            b'N' | 0x88 | 0x89 => self.push(Value::Other)?,
            b'G' => self.take(8).map(drop).and_then(|()| self.push(Value::Other))?,
            b'J' | b'K' | b'M' | b'\x8a' | b'I' | b'L' => self.number()?,
            b'X' | b'U' | b'T' | b'V' => self.text()?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b']' => self.push(Value::List(Vec::new()))?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            b't' => self.take_to_mark().map(Value::Tuple).and_then(|value| self.push(value))?,
            b'l' => self.take_to_mark().map(Value::List).and_then(|value| self.push(value))?,
            count @ 0x85..=0x87 => self.tuple(usize::from(count) - 0x84)?,
            b'a' | b'e' | b's' | b'u' | b'd' => self.collect()?,
            b'q' | b'r' | b'p' | b'h' | b'j' | b'g' => self.remember()?,
            b'c' => self.global()?,
            b'R' => self.call()?,
            // `BUILD` hangs attributes on an object: a state dict's `_metadata`, which says nothing of its tensors.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                self.push(Value::Storage(Box::new(id)))?;
            }
            other => return Err(self.refuse(&format!("uses instruction {:?}", char::from(other)))),
        }
        Ok(false)
    }

    fn number(&mut self) -> Result<(), String> {
        let value = match self.bytes[self.position - 1] {
            b'J' => Value::Integer(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Value::Integer(i64::from(self.byte()?)),
            b'M' => Value::Integer(i64::from(u16::from_le_bytes(self.array()?))),
            b'\x8a' => {
                let count = usize::from(self.byte()?);
                long(self.take(count)?)
            }
            // Protocol 0: decimal digits on a line of their own.
            _ => {
                let line = self.line()?;
                let digits = line.trim_end_matches('L');
                Value::Integer(digits.parse().map_err(|_| self.refuse(&format!("has a number {line:?}")))?)
            }
        };
        self.push(value)
    }

    fn text(&mut self) -> Result<(), String> {
        let text = match self.bytes[self.position - 1] {
            b'V' => self.line()?,
            kind => {
                let count =
                    if kind == b'U' { u32::from(self.byte()?) } else { u32::from_le_bytes(self.array()?) } as usize;
                let text = self.take(count)?.to_vec();
                String::from_utf8(text).map_err(|_| self.refuse("has a text that is none"))?
            }
        };
        self.push(Value::Text(text))
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let first = self.stack.len().checked_sub(count).ok_or_else(|| self.refuse("lacks values"))?;
        let values = self.stack.split_off(first);
        self.push(Value::Tuple(values))
    }

    /// Adds what lies above the collection to it.
    fn collect(&mut self) -> Result<(), String> {
        let instruction = self.bytes[self.position - 1];
        let added = match instruction {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.take_to_mark()?,
        };
        if instruction == b'd' {
            self.push(Value::Dict(Vec::new()))?;
        }
        let refused = self.refuse("collects into what is no collection");
        match self.stack.last_mut() {
            Some(Value::List(list)) => list.extend(added),
            Some(Value::Dict(dict)) => {
                dict.extend(added.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())));
            }
            _ => return Err(refused),
        }
        Ok(())
    }

    /// Values that are named again later. A collection is kept as it is now: PyTorch never refers to one that it still fills.
    fn remember(&mut self) -> Result<(), String> {
        let instruction = self.bytes[self.position - 1];
        let index = match instruction {
            b'q' | b'h' => u32::from(self.byte()?),
            b'r' | b'j' => u32::from_le_bytes(self.array()?),
            _ => self.line()?.parse().map_err(|_| self.refuse("remembers under no number"))?,
        };
        if matches!(instruction, b'h' | b'j' | b'g') {
            let value = self.memo.get(&index).cloned().ok_or_else(|| self.refuse("asks for what it never had"))?;
            return self.push(value);
        }
        let value = self.stack.last().cloned().ok_or_else(|| self.refuse("lacks values"))?;
        // Only what is small is ever asked for again.
        if !matches!(value, Value::Dict(_) | Value::List(_)) {
            self.memo.insert(index, value);
        }
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let name = format!("{}.{}", self.line()?, self.line()?);
        let known = KNOWN.iter().find(|known| **known == name);
        let known = known.ok_or_else(|| self.refuse(&format!("names {name}, which no state dict needs")))?;
        self.push(Value::Known(known))
    }

    /// What is called becomes what it would have made.
    fn call(&mut self) -> Result<(), String> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let made = match (function, arguments) {
            (Value::Known(ORDERED_DICT), Value::Tuple(none)) if none.is_empty() => Some(Value::Dict(Vec::new())),
            (Value::Known(REBUILD_TENSOR), Value::Tuple(arguments)) => tensor(arguments),
            (Value::Known(REBUILD_PARAMETER), Value::Tuple(arguments)) => arguments.into_iter().next(),
            _ => None,
        };
        let made = made.ok_or_else(|| self.refuse("calls what no state dict calls"))?;
        self.push(made)
    }

    fn take_to_mark(&mut self) -> Result<Vec<Value>, String> {
        let mark = self.stack.iter().rposition(|value| *value == Value::Mark);
        let mark = mark.ok_or_else(|| self.refuse("lacks a mark"))?;
        let above = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(above)
    }

    fn push(&mut self, value: Value) -> Result<(), String> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.refuse("holds too many values"));
        }
        self.stack.push(value);
        Ok(())
    }

    fn pop(&mut self) -> Result<Value, String> {
        self.stack.pop().ok_or_else(|| self.refuse("lacks values"))
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.position.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| self.refuse("ends too early"))?;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| self.refuse("ends too early"))?;
        let line = String::from_utf8_lossy(&rest[..length]).trim_end_matches('\r').to_owned();
        self.position += length + 1;
        Ok(line)
    }

    fn refuse(&self, what: &str) -> String {
        format!("its pickle {what} (byte {}); it is no plain state dict", self.position)
    }
}

/// Little-endian two's complement.
fn long(bytes: &[u8]) -> Value {
    if bytes.len() > 8 {
        return Value::Long(bytes.to_vec());
    }
    let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
    let mut whole = [if negative { 0xff } else { 0 }; 8];
    whole[..bytes.len()].copy_from_slice(bytes);
    Value::Integer(i64::from_le_bytes(whole))
}

/// `_rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks)`.
fn tensor(arguments: Vec<Value>) -> Option<Value> {
    let integers = |value: Value| match value {
        Value::Tuple(values) => values.into_iter().map(|value| value.integer()).collect::<Option<Vec<i64>>>(),
        _ => None,
    };
    let mut arguments = arguments.into_iter();
    let storage = arguments.next().filter(|storage| matches!(storage, Value::Storage(_)))?;
    let offset = arguments.next()?.integer()?;
    let (shape, stride) = (integers(arguments.next()?)?, integers(arguments.next()?)?);
    Some(Value::Tensor(Box::new(TensorRef { storage, offset, shape, stride })))
}

impl Value {
    pub(super) fn integer(&self) -> Option<i64> {
        if let Self::Integer(value) = self { Some(*value) } else { None }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_read_whatever_their_spelling() {
        // pickle.dumps({"a": [1, 300, -2], "b": (7, None)}, protocol=2)
        let bytes = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01M,\x01J\xfe\xff\xff\xffeX\x01\x00\x00\x00bq\x03K\x07N\x86q\x04u.rest";
        let (value, read_bytes) = read(bytes).unwrap();
        let list = Value::List([1, 300, -2].map(Value::Integer).to_vec());
        let tuple = Value::Tuple(vec![Value::Integer(7), Value::Other]);
        assert_eq!(value, Value::Dict(vec![(Value::Text("a".into()), list), (Value::Text("b".into()), tuple)]));
        assert_eq!(&bytes[read_bytes..], b"rest");
        assert_eq!(long(&[0xfe]), Value::Integer(-2));
        assert_eq!(long(&[0x2c, 0x01]), Value::Integer(300));
    }

    #[test]
    fn what_would_run_code_is_refused_by_name() {
        // The classic: os.system("true").
        let error = read(b"cos\nsystem\n(S'true'\ntR.").unwrap_err();
        assert!(error.contains("names os.system"), "{error}");
        let error = read(b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R.").unwrap_err();
        assert!(error.contains("__builtin__.eval"), "{error}");
        // A known name that is called as what it is not.
        assert!(read(b"ctorch\nFloatStorage\n)R.").unwrap_err().contains("calls"));
        assert!(read(b"\x80\x04\x95").unwrap_err().contains("instruction"));
    }

    #[test]
    fn broken_pickles_are_errors() {
        for bytes in [&b""[..], b"(", b"t.", b"u.", b"X\xff\xff\xff\xffa", b"h\x09.", b"K\x01K\x02s.", b"."] {
            assert!(read(bytes).is_err(), "{bytes:?}");
        }
    }
}
