//! The two containers of `torch.save`: a zip archive (since PyTorch 1.6), and the row of pickles before it, in which
//! torchvision still publishes weights.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use safetensors::tensor::Dtype;
use zip::ZipArchive;

use super::pickle::{self, TensorRef, Value};

/// 0x1950a86a20f9469cfc6c, little-endian: how old files begin.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only protocol of old files.
const PROTOCOL: i64 = 1001;

/// A tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredTensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

/// Storages by key.
type Storages = HashMap<String, Vec<u8>>;

/// Reads a state dict; the error says what the file is instead.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<StoredTensor>, String> {
    let (state, storages) = if bytes.starts_with(b"PK") { read_zip(bytes)? } else { read_legacy(bytes)? };
    let Value::Dict(entries) = state else {
        return Err("it holds no dictionary; save `model.state_dict()`".into());
    };
    let tensor = |(name, value): (Value, Value)| match (name.text(), &value) {
        (Some(name), Value::Tensor(tensor)) => view(name, tensor, &storages),
        (Some(name), _) => Err(format!("{name:?} in it is no tensor; save `model.state_dict()` alone")),
        _ => Err("a key of it is no text; save `model.state_dict()`".into()),
    };
    entries.into_iter().map(tensor).collect()
}

fn read_zip(bytes: &[u8]) -> Result<(Value, Storages), String> {
    let unreadable = |error: zip::result::ZipError| format!("its archive cannot be read: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(unreadable)?;
    let pickled = archive.file_names().flatten().find_map(|name| name.strip_suffix("data.pkl").map(ToOwned::to_owned));
    let root = pickled.ok_or("it is an archive without a data.pkl: nothing that torch.save wrote")?;
    let mut entry = |name: &str| -> Result<Vec<u8>, String> {
        let mut file = archive.by_name(&format!("{root}{name}")).map_err(unreadable)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(|error| format!("{name} in it cannot be read: {error}"))?;
        Ok(content)
    };
    if entry("byteorder").is_ok_and(|order| order != b"little") {
        return Err("it was written on a big-endian machine; save it on another one".into());
    }
    let (state, _) = pickle::read(&entry("data.pkl")?)?;
    let mut storages = Storages::new();
    for storage in storages_of(&state)? {
        if !storages.contains_key(storage.key) {
            storages.insert(storage.key.to_owned(), entry(&format!("data/{}", storage.key))?);
        }
    }
    Ok((state, storages))
}

/// Magic number, protocol, machine, the state dict, the keys of its storages, then each with its number of elements.
fn read_legacy(bytes: &[u8]) -> Result<(Value, Storages), String> {
    let mut rest = bytes;
    let mut next = || -> Result<Value, String> {
        let (value, length) = pickle::read(rest)?;
        rest = &rest[length..];
        Ok(value)
    };
    let begins = matches!((next(), next()), (Ok(Value::Long(magic)), Ok(Value::Integer(PROTOCOL))) if magic == MAGIC);
    if !begins {
        return Err("it is no file of torch.save".into());
    }
    let _machine = next()?;
    let (state, keys) = (next()?, next()?);
    let mut sizes = HashMap::new();
    for storage in storages_of(&state)? {
        sizes.insert(storage.key.to_owned(), element(storage.dtype));
    }
    let Value::List(keys) = keys else { return Err("its list of storages is missing".into()) };
    let mut storages = Storages::new();
    for key in keys.iter().filter_map(Value::text) {
        let size = sizes.get(key).ok_or_else(|| format!("no tensor uses its storage {key}"))?;
        let early = || format!("it ends within storage {key}");
        let (count, after) = rest.split_first_chunk::<8>().ok_or_else(early)?;
        let length = usize::try_from(i64::from_le_bytes(*count)).ok().and_then(|count| count.checked_mul(*size));
        let (data, after) = length.and_then(|length| after.split_at_checked(length)).ok_or_else(early)?;
        storages.insert(key.to_owned(), data.to_vec());
        rest = after;
    }
    Ok((state, storages))
}

/// What a persistent id says of a storage.
struct Storage<'a> {
    key: &'a str,
    dtype: Dtype,
}

fn storages_of(state: &Value) -> Result<Vec<Storage<'_>>, String> {
    let Value::Dict(entries) = state else { return Ok(Vec::new()) };
    let tensors = entries.iter().filter_map(|(_, value)| match value {
        Value::Tensor(tensor) => Some(storage_of(tensor)),
        _ => None,
    });
    tensors.collect()
}

/// `("storage", torch.FloatStorage, key, location, elements)`, in old files with a sixth member.
fn storage_of(tensor: &TensorRef) -> Result<Storage<'_>, String> {
    let broken = || "a tensor of it has no storage".to_owned();
    let Value::Storage(id) = &tensor.storage else { return Err(broken()) };
    let Value::Tuple(id) = id.as_ref() else { return Err(broken()) };
    let (Some(Value::Known(kind)), Some(key)) = (id.get(1), id.get(2).and_then(Value::text)) else {
        return Err(broken());
    };
    Ok(Storage { key, dtype: dtype(kind).ok_or_else(broken)? })
}

fn dtype(storage: &str) -> Option<Dtype> {
    Some(match storage {
        "torch.FloatStorage" => Dtype::F32,
        "torch.DoubleStorage" => Dtype::F64,
        "torch.HalfStorage" => Dtype::F16,
        "torch.BFloat16Storage" => Dtype::BF16,
        "torch.LongStorage" => Dtype::I64,
        "torch.IntStorage" => Dtype::I32,
        "torch.ShortStorage" => Dtype::I16,
        "torch.CharStorage" => Dtype::I8,
        "torch.ByteStorage" => Dtype::U8,
        "torch.BoolStorage" => Dtype::BOOL,
        _ => return None,
    })
}

/// Bytes of an element; none of the types above is smaller than one.
fn element(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// The elements that a tensor shows of its storage.
fn view(name: &str, tensor: &TensorRef, storages: &Storages) -> Result<StoredTensor, String> {
    let storage = storage_of(tensor)?;
    let size = element(storage.dtype);
    let data = storages.get(storage.key).ok_or_else(|| format!("the storage of {name:?} is missing"))?;
    let outside = || format!("{name:?} reaches beyond its storage");
    let sides = |values: &[i64]| values.iter().map(|&side| usize::try_from(side).ok()).collect::<Option<Vec<usize>>>();
    let (shape, stride) = (sides(&tensor.shape).ok_or_else(outside)?, sides(&tensor.stride).ok_or_else(outside)?);
    let count = shape.iter().try_fold(1_usize, |count, &side| count.checked_mul(side)).ok_or_else(outside)?;
    if shape.len() != stride.len() || count > data.len() / size {
        return Err(outside());
    }
    let start = usize::try_from(tensor.offset).map_err(|_| outside())?;
    let mut shown = Vec::with_capacity(count * size);
    for index in 0..count {
        let place = places(index, &shape, &stride).and_then(|place| place.checked_add(start)?.checked_mul(size));
        let element = place.and_then(|place| data.get(place..place.checked_add(size)?)).ok_or_else(outside)?;
        shown.extend_from_slice(element);
    }
    Ok(StoredTensor { name: name.to_owned(), dtype: storage.dtype, shape, data: shown })
}

/// Where the element is that comes `index`-th in row-major order.
fn places(mut index: usize, shape: &[usize], stride: &[usize]) -> Option<usize> {
    shape.iter().zip(stride).rev().try_fold(0_usize, |place, (&side, &step)| {
        let here = (index % side).checked_mul(step)?;
        index /= side;
        place.checked_add(here)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"weight": arange(6).view(2, 3).float(), "turned": the same .t(), "half": ones(2).half(), "count": tensor(7)}`.
    const ZIP: &[u8] = include_bytes!("examples/zip.pth");
    /// The same as PyTorch wrote it before 1.6.
    const LEGACY: &[u8] = include_bytes!("examples/legacy.pth");

    fn tensor<'a>(tensors: &'a [StoredTensor], name: &str) -> &'a StoredTensor {
        tensors.iter().find(|tensor| tensor.name == name).unwrap()
    }

    fn floats(data: &[u8]) -> Vec<f32> {
        data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    #[test]
    fn both_containers_hold_the_same_tensors() {
        let tensors = read(ZIP).unwrap();
        assert_eq!(tensors, read(LEGACY).unwrap());
        let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["weight", "turned", "half", "count"]);
        let weight = tensor(&tensors, "weight");
        assert_eq!((weight.dtype, &weight.shape[..]), (Dtype::F32, &[2, 3][..]));
        assert_eq!(floats(&weight.data), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let turned = tensor(&tensors, "turned");
        assert_eq!((&turned.shape[..], floats(&turned.data)), (&[3, 2][..], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
        assert_eq!(tensor(&tensors, "half").data, [0x00, 0x3c, 0x00, 0x3c]);
        let count = tensor(&tensors, "count");
        assert_eq!((count.dtype, count.shape.len(), &count.data[..]), (Dtype::I64, 0, &7_i64.to_le_bytes()[..]));
    }

    #[test]
    fn files_that_end_anywhere_or_are_something_else_are_errors() {
        for cut in (0..LEGACY.len()).step_by(7) {
            assert!(read(&LEGACY[..cut]).is_err(), "{cut}");
        }
        for cut in (0..ZIP.len()).step_by(31) {
            assert!(read(&ZIP[..cut]).is_err(), "{cut}");
        }
        assert_eq!(read(b"\x89PNG").unwrap_err(), "it is no file of torch.save");
        assert!(read(b"PK\x03\x04").unwrap_err().contains("archive"));
    }

    #[test]
    fn a_view_may_not_leave_its_storage() {
        let id = ["storage", "", "0"].map(|text| Value::Text(text.into()));
        let [word, _, key] = id;
        let storage = Value::Storage(Box::new(Value::Tuple(vec![word, Value::Known("torch.FloatStorage"), key])));
        let storages = Storages::from([("0".to_owned(), vec![0; 16])]);
        let show = |offset, shape: &[i64], stride: &[i64]| {
            let (shape, stride) = (shape.to_vec(), stride.to_vec());
            view("w", &TensorRef { storage: storage.clone(), offset, shape, stride }, &storages)
        };
        assert_eq!(show(1, &[3], &[1]).unwrap().data.len(), 12);
        for (offset, shape, stride) in
            [(2, [3], [1]), (-1, [1], [1]), (0, [2], [4]), (0, [-1], [1]), (0, [i64::MAX], [0]), (i64::MAX, [1], [1])]
        {
            assert!(show(offset, &shape, &stride).unwrap_err().contains("beyond its storage"));
        }
    }
}
