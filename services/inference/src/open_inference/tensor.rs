//! Tensors as the protocol has them, and their raw form: little-endian, row-major, elements of BYTES after their length.

use bytes::{Buf as _, BufMut as _, Bytes};

use super::{IMAGE, PIXELS};
use crate::error::ServeError;
use crate::predict::Pictures;

/// Datatype of strings and files.
pub(super) const BYTES: &str = "BYTES";
/// Datatype of 32-bit floating-point numbers.
pub(super) const FP32: &str = "FP32";

/// The values of a tensor, flattened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Bytes(Vec<Bytes>),
    Fp32(Vec<f32>),
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<i64>,
    pub(super) values: Values,
}

impl Values {
    /// As the protocol names it.
    pub(super) fn datatype(&self) -> &'static str {
        match self {
            Self::Bytes(_) => BYTES,
            Self::Fp32(_) => FP32,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Bytes(elements) => elements.len(),
            Self::Fp32(numbers) => numbers.len(),
        }
    }

    /// Reads the raw form. Bytes are not copied.
    pub(super) fn from_raw(datatype: &str, mut raw: Bytes) -> Result<Self, ServeError> {
        match datatype {
            FP32 if raw.len().is_multiple_of(4) => Ok(Self::Fp32(
                raw.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect(),
            )),
            FP32 => Err(ServeError::Invalid(format!("raw FP32 values of {} bytes end within a number", raw.len()))),
            BYTES => {
                let mut elements = Vec::new();
                while !raw.is_empty() {
                    elements.push(element(&mut raw)?);
                }
                Ok(Self::Bytes(elements))
            }
            other => Err(unknown_datatype(other)),
        }
    }

    /// Writes the raw form.
    pub(super) fn to_raw(&self) -> Bytes {
        let mut raw = Vec::new();
        match self {
            Self::Fp32(numbers) => numbers.iter().for_each(|number| raw.put_f32_le(*number)),
            Self::Bytes(elements) => {
                for element in elements {
                    raw.put_u32_le(element.len() as u32);
                    raw.put_slice(element);
                }
            }
        }
        raw.into()
    }
}

fn element(raw: &mut Bytes) -> Result<Bytes, ServeError> {
    let broken =
        || ServeError::Invalid("raw BYTES values end within an element; each comes after its length (u32)".into());
    let length = raw.try_get_u32_le().map_err(|_| broken())? as usize;
    if raw.len() < length {
        return Err(broken());
    }
    Ok(raw.split_to(length))
}

/// The error of a type that no input has.
pub(super) fn unknown_datatype(name: &str) -> ServeError {
    ServeError::Invalid(format!("datatype {name:?} is not taken; {IMAGE:?} is {BYTES}, {PIXELS:?} is {FP32}"))
}

/// The pictures of a request: the one input it must have.
pub(super) fn pictures(inputs: Vec<Tensor>) -> Result<Pictures, ServeError> {
    let [input] = <[Tensor; 1]>::try_from(inputs).map_err(|inputs| {
        ServeError::Invalid(format!("there are {} inputs; give one, either {IMAGE:?} or {PIXELS:?}", inputs.len()))
    })?;
    check_shape(&input)?;
    match (input.name.as_str(), input.values) {
        (IMAGE, Values::Bytes(files)) => Ok(Pictures::Encoded(files)),
        (PIXELS, Values::Fp32(values)) => {
            let sides = input.shape.iter().map(|side| *side as usize).collect::<Vec<_>>();
            let shape = sides.try_into().map_err(|shape| {
                ServeError::Invalid(format!("{PIXELS:?} must have the shape [n, 3, size, size], not {shape:?}"))
            })?;
            Ok(Pictures::Normalised { shape, values })
        }
        (IMAGE | PIXELS, values) => Err(ServeError::Invalid(format!(
            "input {:?} has the datatype {}; {IMAGE:?} is {BYTES}, {PIXELS:?} is {FP32}",
            input.name,
            values.datatype()
        ))),
        (name, _) => {
            Err(ServeError::Invalid(format!("there is no input {name:?}; give either {IMAGE:?} or {PIXELS:?}")))
        }
    }
}

fn check_shape(input: &Tensor) -> Result<(), ServeError> {
    let elements =
        input.shape.iter().try_fold(1_usize, |product, side| product.checked_mul(usize::try_from(*side).ok()?));
    if elements == Some(input.values.len()) {
        return Ok(());
    }
    Err(ServeError::Invalid(format!(
        "input {:?} has the shape {:?} and {} values",
        input.name,
        input.shape,
        input.values.len()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(shape: &[i64], files: &[&'static str]) -> Tensor {
        let files = files.iter().map(|file| Bytes::from_static(file.as_bytes())).collect();
        Tensor { name: IMAGE.into(), shape: shape.to_vec(), values: Values::Bytes(files) }
    }

    #[test]
    fn raw_values_come_back_the_same() {
        for values in [
            Values::Fp32(vec![1.5, -0.25, f32::MAX]),
            Values::Bytes(vec![Bytes::from_static(b"abc"), Bytes::new(), Bytes::from_static(&[0, 255])]),
            Values::Bytes(vec![]),
        ] {
            assert_eq!(Values::from_raw(values.datatype(), values.to_raw()).unwrap(), values);
        }
    }

    #[test]
    fn raw_values_that_break_off_are_refused() {
        let whole = Values::Bytes(vec![Bytes::from_static(b"abcdef")]).to_raw();
        for cut in 1..whole.len() {
            assert!(Values::from_raw(BYTES, whole.slice(..cut)).is_err(), "cut at {cut}");
        }
        assert!(Values::from_raw(BYTES, Bytes::from_static(&[255; 8])).is_err());
        assert!(Values::from_raw(FP32, Bytes::from_static(&[0; 7])).is_err());
        assert!(Values::from_raw("UINT8", Bytes::new()).unwrap_err().to_string().contains("UINT8"));
    }

    #[test]
    fn the_shape_must_fit_the_values() {
        assert!(pictures(vec![image(&[2], &["a", "b"])]).is_ok());
        assert!(pictures(vec![image(&[2, 1], &["a", "b"])]).is_ok());
        for shape in [&[3][..], &[-1], &[i64::MAX, i64::MAX]] {
            assert!(pictures(vec![image(shape, &["a", "b"])]).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn there_is_one_input_of_a_known_name_and_its_type() {
        assert!(pictures(vec![]).is_err());
        assert!(pictures(vec![image(&[1], &["a"]), image(&[1], &["a"])]).is_err());
        let renamed = Tensor { name: "input".into(), ..image(&[1], &["a"]) };
        assert!(pictures(vec![renamed]).unwrap_err().to_string().contains("no input \"input\""));
        let mistyped = Tensor { name: PIXELS.into(), ..image(&[1], &["a"]) };
        assert!(pictures(vec![mistyped]).unwrap_err().to_string().contains("\"pixels\" is FP32"));
    }
}
